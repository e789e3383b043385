/** `kes key|policy|identity ls` and `kes ls`: names, one per line. */

import type { KesClient } from '../client/index.ts'
import { UsageError } from './command.ts'
import { attempt, type ConnectionOptions, withClient } from './connect.ts'
import { print, printJson } from './output.ts'

export type Listable = 'keys' | 'policies' | 'identities'

interface AnyOptions extends ConnectionOptions {
  readonly identities?: boolean
  readonly policies?: boolean
}

/** @param pattern a prefix; a `*` at its end changes nothing */
export async function list(
  what: Listable,
  pattern: string | undefined,
  options: ConnectionOptions,
): Promise<void> {
  await withClient(options, (client) =>
    attempt(`list ${what}`, show(client, what, pattern, options)),
  )
}

export async function listAny(pattern: string | undefined, options: AnyOptions): Promise<void> {
  const { identities, policies } = options
  if (identities === true && policies === true) throw new UsageError('choose one of -i and -p')
  await list(identities ? 'identities' : policies ? 'policies' : 'keys', pattern, options)
}

async function show(
  client: KesClient,
  what: Listable,
  pattern: string | undefined,
  { json }: ConnectionOptions,
): Promise<void> {
  for await (const name of client[what](pattern)) {
    if (json === true) printJson(name)
    else print(name)
  }
}
