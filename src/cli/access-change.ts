/** What changes who may do what until a server restarts: `kes policy create|assign|rm`, `kes identity rm`. */

import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'

import type { KesClient } from '../client/index.ts'
import { type Identity, parseIdentity } from '../crypto/identity.ts'
import { CommandError, UsageError } from './command.ts'
import { attempt, attemptEach, type ConnectionOptions, withEveryClient } from './connect.ts'
import { quoted, say } from './output.ts'
import { parsePolicy, type PolicyFile } from './policy-file.ts'

interface Change {
  /** Completes `failed to …`. */
  readonly what: string
  readonly make: (client: KesClient) => Promise<void>
}

/** @param path of a file, or `-` */
export async function create(
  name: string,
  path: string,
  options: ConnectionOptions,
): Promise<void> {
  const what = `create policy ${quoted(name)}`
  const policy = await read(path, what)
  for (const warning of policy.warnings) say(`Warning: ${warning}`)
  await withEveryClient(options, async (clients) => {
    await changeAll(clients, [{ what, make: (client) => client.writePolicy(name, policy) }])
    await changeAll(
      clients,
      policy.identities.map((identity) => assignment(name, identity)),
    )
  })
}

async function read(path: string, what: string): Promise<PolicyFile> {
  try {
    return path === '-'
      ? parsePolicy(await text(process.stdin), 'standard input')
      : parsePolicy(readFileSync(path, 'utf8'), path)
  } catch (error) {
    const isOfFile = error instanceof Error && 'syscall' in error
    if (!isOfFile && !(error instanceof CommandError)) throw error
    throw new CommandError(`failed to ${what}: ${error.message}`)
  }
}

export async function assign(name: string, who: string, options: ConnectionOptions): Promise<void> {
  const change = assignment(name, checkIdentity(who))
  await withEveryClient(options, (clients) => changeAll(clients, [change]))
}

function assignment(name: string, identity: Identity): Change {
  return {
    what: `assign policy ${quoted(name)} to identity ${quoted(identity)}`,
    make: (client) => client.assignPolicy(name, identity),
  }
}

export async function removePolicies(
  names: readonly string[],
  options: ConnectionOptions,
): Promise<void> {
  const changes = names.map((name) => ({
    what: `remove policy ${quoted(name)}`,
    make: (client: KesClient) => client.deletePolicy(name),
  }))
  await withEveryClient(options, (clients) => changeAll(clients, changes))
}

export async function removeIdentities(
  words: readonly string[],
  options: ConnectionOptions,
): Promise<void> {
  const changes = words.map(checkIdentity).map((identity) => ({
    what: `remove identity ${quoted(identity)}`,
    make: (client: KesClient) => client.deleteIdentity(identity),
  }))
  await withEveryClient(options, (clients) => changeAll(clients, changes))
}

/** Every change on every server: each has its own policies. @throws CommandError that names all failures */
async function changeAll(clients: readonly KesClient[], changes: readonly Change[]): Promise<void> {
  const steps = clients.flatMap((client) => changes.map((change) => ({ client, ...change })))
  await attemptEach(steps, ({ client, what, make }) => {
    const where = clients.length === 1 ? '' : ` on ${client.endpoints.join()}`
    return attempt(what + where, make(client))
  })
}

/** @throws UsageError */
export function checkIdentity(word: string): Identity {
  const identity = parseIdentity(word)
  if (identity !== undefined) return identity
  throw new UsageError(
    `'${word}' is no identity, which has 64 hex digits; kes identity of prints that of an API key or certificate`,
  )
}
