/** The KES API's calls about the server itself: what it is, how it is, what it does. */

import { availableParallelism, cpus } from 'node:os'

import { KesError } from '../../errors.ts'
import { stringify } from '../../json.ts'
import { KeyStoreError } from '../../keystore/keystore.ts'
import type { Form } from '../../telemetry/metrics.ts'
import type { EventStream } from '../../telemetry/stream.ts'
import { COMMIT, VERSION } from '../../version.ts'
import { type Call, EMPTY, json, type Reply, type Route, route } from '../route.ts'

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8; escaping=underscores'
/** Who names one of these knows labelled families; the KES SDK does not. */
const PROMETHEUS = /application\/openmetrics-text|text\/plain\s*;\s*version=0\.0\.4/

const version = route({
  operation: 'version',
  method: 'GET',
  path: '/version',
  access: 'anyone',
  handle: () => json(stringify({ version: VERSION, commit: COMMIT })),
})

const ready = route({
  operation: 'ready',
  method: 'GET',
  path: '/v1/ready',
  // As the document's overview prints it.
  aliases: ['/ready'],
  access: 'permitted',
  canSkipAuth: true,
  async handle({ services }) {
    const probe = await services.keys.health.probe()
    if ('latency' in probe) return EMPTY
    throw new KesError(
      isUnreachable(probe.error) ? 'KEYSTORE_UNREACHABLE' : 'KEYSTORE_UNAVAILABLE',
      { cause: probe.error },
    )
  },
})

const GO_OS: Readonly<Record<string, string>> = { win32: 'windows', sunos: 'solaris' }
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }

const status = route({
  operation: 'status',
  method: 'GET',
  path: '/v1/status',
  access: 'permitted',
  canSkipAuth: true,
  async handle({ services }) {
    const probe = await services.keys.health.probe()
    // Whole milliseconds: the Go SDK decodes an integer, and takes 0 for "unknown".
    const latency = 'latency' in probe ? Math.max(1, Math.round(probe.latency)) : undefined
    return json(
      stringify({
        version: VERSION,
        os: GO_OS[process.platform] ?? process.platform,
        arch: GO_ARCH[process.arch] ?? process.arch,
        uptime: Math.floor(services.metrics.uptime),
        num_cpu: cpus().length,
        num_cpu_used: availableParallelism(),
        mem_heap_used: await services.metrics.heapUsed(),
        mem_stack_used: 0,
        ...(latency === undefined
          ? {
              keystore_unreachable: true,
              keystore_unavailable: true,
              kms: { state: 'unreachable' },
            }
          : { keystore_latency: latency, kms: { state: 'reachable', latency } }),
      }),
    )
  },
})

const metrics = route({
  operation: 'metrics',
  method: 'GET',
  path: '/v1/metrics',
  access: 'permitted',
  canSkipAuth: true,
  handle: (call) => scrape(call, { plain: 'plain', full: 'full' }),
})

/** @param forms for those who know the Go server's families only, and for others */
export async function scrape(call: Call, forms: Record<'plain' | 'full', Form>): Promise<Reply> {
  const form = PROMETHEUS.test(call.header('accept') ?? '') ? forms.full : forms.plain
  return { status: 200, type: METRICS_TYPE, body: await call.services.metrics.text(form) }
}

const api = route({
  operation: 'api',
  method: 'GET',
  path: '/v1/api',
  access: 'permitted',
  canSkipAuth: true,
  handle({ services }) {
    const routes = services.routes.map(({ route, timeout }) => ({
      method: route.method,
      path: route.path,
      max_body: route.maxBody ?? 0,
      timeout: timeout / 1000,
    }))
    return json(stringify(routes))
  },
})

const NDJSON_TYPE = 'application/x-ndjson'

const followAudit = route({
  operation: 'log:audit',
  method: 'GET',
  path: '/v1/log/audit',
  aliases: ['/v1/log/audit/'],
  access: 'permitted',
  timeout: 0,
  handle: ({ realm }) => followed(realm.events),
})

const followErrors = route({
  operation: 'log:error',
  method: 'GET',
  path: '/v1/log/error',
  // As the document's sample prints it.
  aliases: ['/v1/log/error/'],
  access: 'permitted',
  timeout: 0,
  handle: ({ services }) => followed(services.log.stream),
})

async function followed(stream: EventStream): Promise<Reply> {
  await stream.gather()
  return { status: 200, type: NDJSON_TYPE, stream }
}

/** Of v0.7; judged by its own path, and denied where today's is. */
const traceAudit = route({
  ...followAudit,
  path: '/v1/log/audit/trace',
  aliases: [],
  twins: () => [followAudit.path],
})

const traceErrors = route({
  ...followErrors,
  path: '/v1/log/error/trace',
  aliases: [],
  twins: () => [followErrors.path],
})

export const SYSTEM_ROUTES: readonly Route[] = [
  version,
  ready,
  status,
  metrics,
  api,
  followAudit,
  followErrors,
  traceAudit,
  traceErrors,
]

function isUnreachable(error: unknown): boolean {
  return error instanceof KeyStoreError && error.failure === 'unreachable'
}
