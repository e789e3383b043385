/**
 * A process that makes one call and then has nothing more to do: whether it ends by itself shows what the client
 * leaves behind. Prints `{"outcome","left"}` when the call is over.
 */

import { KesClient, type KesClientOptions } from '#src/client/index.js'

export interface ChildTask {
  readonly options: KesClientOptions
  readonly call: 'version' | 'create' | 'log' | 'read-log' | 'crowd'
  /** Milliseconds after which the call is aborted. */
  readonly abort?: number
  /** Before the call that is aborted, one that is not. */
  readonly warmUp?: boolean
  readonly close?: boolean
}

/** Milliseconds: less than what a forgotten timer or connection would live for. */
const LIMIT = 2000

const { options, call, abort, warmUp, close }: ChildTask = JSON.parse(process.argv[2] ?? '')
const client = new KesClient(options)
if (warmUp) await client.version()
const controller = new AbortController()
const { signal } = controller
const timer = abort === undefined ? undefined : setTimeout(() => controller.abort(), abort)
const calls: Record<ChildTask['call'], () => Promise<unknown>> = {
  version: () => client.version({ signal }),
  create: () => client.createKey('a', { signal }),
  log: () => client.auditLog({ signal }),
  'read-log': async () => (await client.auditLog({ signal })).next(),
  crowd: () => Promise.all(Array.from({ length: 100 }, () => client.version({ signal }))),
}
const outcome = await calls[call]().then(
  () => 'done',
  (error: Error) => error.name,
)
clearTimeout(timer)
if (close) await client.close()
// What was given up is closed within a few turns, and nobody can end a lookup; after close() it must be.
else
  for (const end = performance.now() + LIMIT; left().length > 0 && performance.now() < end;)
    await new Promise((resolve) => setImmediate(resolve))
process.stdout.write(`${JSON.stringify({ outcome, left: left() })}\n`)

/** Of what keeps a process alive, what a client may have made. */
function left(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter((name) => /TCP|TLS|Timeout|HTTP|GetAddrInfo/i.test(name))
}
