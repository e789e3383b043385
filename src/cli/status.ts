/** `kes status`: how servers are, each asked for itself and all at the same time. */

import type { Api, KesClient, Status } from '../client/index.ts'
import { KesClientError } from '../client/index.ts'
import { type ConnectionOptions, explain, withEveryClient } from './connect.ts'
import { bytes, span, took } from './figures.ts'
import { type OutputOptions, painter, print, printFields, printJson } from './output.ts'

interface StatusOptions extends ConnectionOptions {
  readonly short?: boolean
  readonly api?: boolean
}

type Seen = { readonly server: string } & (
  | {
      readonly status: Status
      /** Milliseconds of an answer on an open connection. */
      readonly latency: number
      readonly apis: readonly Api[] | undefined
    }
  | { readonly error: string }
)

/** Milliseconds for each of the calls: somebody waits, and a server that takes longer is as good as down. */
const PATIENCE = { timeout: 10_000 }

/** Exit code 1 unless every server is ready. */
export async function status(options: StatusOptions): Promise<void> {
  await withEveryClient(options, async (clients) => {
    const asked = clients.map((client) => look(client, options.api === true))
    for (const [index, answer] of asked.entries()) {
      const seen = await answer
      if (!isReady(seen)) process.exitCode = 1
      if (options.json === true) printJson(jsonOf(seen))
      else if (options.short === true) showShort(seen, options)
      else {
        if (index > 0) print('')
        show(seen, options)
      }
      if (options.json !== true && 'apis' in seen) showApis(seen.apis ?? [])
    }
  })
}

async function look(client: KesClient, withApis: boolean): Promise<Seen> {
  const server = client.endpoints.join()
  try {
    const status = await client.status(PATIENCE)
    const begin = performance.now()
    await client.version(PATIENCE)
    const latency = performance.now() - begin
    const apis = withApis ? await client.apis(PATIENCE) : undefined
    return { server, status, latency, apis }
  } catch (error) {
    if (!(error instanceof KesClientError)) throw error
    return { server, error: explain(error) }
  }
}

function isReady(seen: Seen): boolean {
  return 'status' in seen && seen.status.keyStore.isReachable
}

function jsonOf(seen: Seen): object {
  const state = { server: seen.server, ready: isReady(seen) }
  if ('error' in seen) return { ...state, error: seen.error }
  const { version, os, arch, uptime, cpus, usableCpus, heapUsed, stackUsed, keyStore } = seen.status
  return {
    ...state,
    version,
    os,
    arch,
    uptime,
    latency: Number(seen.latency.toFixed(3)),
    num_cpu: cpus,
    num_cpu_used: usableCpus,
    mem_heap_used: heapUsed,
    mem_stack_used: stackUsed,
    keystore: { reachable: keyStore.isReachable, latency: keyStore.latency },
    ...(seen.apis !== undefined && {
      apis: seen.apis.map(({ method, path, maxBody, timeout }) => ({
        method,
        path,
        max_body: maxBody,
        timeout,
      })),
    }),
  }
}

/** Ready, or the reason why not. */
function stateOf(seen: Seen, options: OutputOptions): string {
  const paint = painter(options)
  if ('error' in seen) return paint('red', 'not known')
  return isReady(seen) ? paint('green', 'ready') : paint('red', 'not ready')
}

function showShort(seen: Seen, options: OutputOptions): void {
  const facts = 'error' in seen ? [seen.error.split('\n', 1).join()] : factsOf(seen.status)
  const latency = 'latency' in seen ? [`answers in ${took(seen.latency)}`] : []
  print(`${stateOf(seen, options)}  ${[seen.server, ...facts, ...latency].join('  ')}`)
}

function factsOf({ version, uptime, keyStore }: Status): string[] {
  return [version, `up ${span(uptime)}`, `keystore ${keyStoreText(keyStore)}`]
}

function show(seen: Seen, options: OutputOptions): void {
  const state = { Server: seen.server, Status: stateOf(seen, options) }
  if ('error' in seen) return printFields({ ...state, Reason: seen.error.split('\n') }, options)
  const { version, os, arch, uptime, cpus, usableCpus, heapUsed, keyStore } = seen.status
  const platform = [os, arch].filter((word) => word !== '').join('/')
  printFields(
    {
      ...state,
      Version: platform === '' ? version : `${version} (${platform})`,
      Uptime: span(uptime),
      Latency: took(seen.latency),
      CPUs: usableCpus === cpus ? String(cpus) : `${usableCpus} of ${cpus}`,
      Memory: `${bytes(heapUsed)} heap`,
      Keystore: keyStoreText(keyStore),
    },
    options,
  )
}

function keyStoreText({ isReachable, latency }: Status['keyStore']): string {
  if (!isReachable) return 'unreachable'
  return latency === undefined || latency === 0 ? 'reachable' : `reachable, ${took(latency)}`
}

function showApis(apis: readonly Api[]): void {
  const width = Math.max(0, ...apis.map(({ path }) => path.length))
  for (const { method, path, maxBody, timeout } of apis) {
    const limits = [
      ...(maxBody > 0 ? [`body up to ${bytes(maxBody)}`] : []),
      timeout > 0 ? `within ${span(timeout)}` : 'no time limit',
    ]
    print(`${method.padEnd(6)}  ${path.padEnd(width)}  ${limits.join(', ')}`)
  }
}
