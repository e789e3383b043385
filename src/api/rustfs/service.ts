/** The life of the service behind the API: configure, start, stop, and how it is (rustfs-kms-admin.md, 3 to 6). */

import { KesError } from '../../errors.ts'
import type { ManagedKeys } from '../../keys/managed.ts'
import type { Reply } from '../route.ts'
import { answer, badRequest, kmsRoute, type KmsRoute } from './route.ts'
import { cacheOf, statusOf } from './service-status.ts'

/** Milliseconds: a backend may take its own time to start, which its configuration says. */
const PATIENT = 310_000

const STOPPED_FOR_NOW =
  'KMS service stopped, but that cannot be saved: it runs again after a restart of the server'

const refusal = (managed: ManagedKeys) => ({ status: managed.status })

const configure = kmsRoute({
  operation: 'kms:configure',
  method: 'POST',
  path: '/kms/configure',
  right: { service: 'configure' },
  refusal,
  timeout: PATIENT,
  async handle(call) {
    checkBody(call)
    await call.managed.configure(call.fields, call)
    return done(call.managed, 'KMS configured successfully')
  },
})

const reconfigure = kmsRoute({
  operation: 'kms:reconfigure',
  method: 'POST',
  path: '/kms/reconfigure',
  right: { service: 'configure' },
  refusal,
  timeout: PATIENT,
  async handle(call) {
    checkBody(call)
    const isRunning = await call.managed.reconfigure(call.fields, call)
    return done(call.managed, `KMS reconfigured${isRunning ? ' and restarted' : ''} successfully`)
  },
})

const start = kmsRoute({
  operation: 'kms:start',
  method: 'POST',
  path: '/kms/start',
  right: { service: 'start' },
  refusal,
  timeout: PATIENT,
  async handle(call) {
    const isForced = call.fields.boolean('force') === true
    call.fields.end()
    const ran = await call.managed.start(isForced, call)
    return done(call.managed, `KMS service ${ran ? 'restarted' : 'started'} successfully`)
  },
})

const stop = kmsRoute({
  operation: 'kms:stop',
  method: 'POST',
  path: '/kms/stop',
  right: { service: 'stop' },
  refusal,
  timeout: PATIENT,
  async handle(call) {
    const isSaved = await call.managed.stop(call)
    const message = isSaved ? 'KMS service stopped successfully' : STOPPED_FOR_NOW
    return done(call.managed, message)
  },
})

const statusRoute = {
  operation: 'kms:status',
  path: '/kms/status',
  right: { service: 'status' },
  handle: async ({ managed, services }) => answer(await statusOf(managed, services.keys)),
} as const satisfies Partial<KmsRoute>

const status = kmsRoute({ ...statusRoute, method: 'GET', aliases: ['/kms/service-status'] })
const postedStatus = kmsRoute({ ...statusRoute, method: 'POST' })

const config = kmsRoute({
  operation: 'kms:config',
  method: 'GET',
  path: '/kms/config',
  right: { service: 'config' },
  handle({ managed: { snapshot }, services }) {
    const { configuration } = snapshot
    if (configuration === undefined)
      throw new KesError('SERVICE_CONFLICT', { message: 'KMS not configured' })
    const { settings } = configuration
    const cache = cacheOf(settings, services.keys)
    return answer({
      backend: settings.backend.kind,
      cache_enabled: cache.isOn,
      cache_max_keys: cache.maxKeys,
      cache_ttl_seconds: cache.ttl,
      default_key_id: settings.defaultKeyId ?? null,
    })
  },
})

const clearCache = kmsRoute({
  operation: 'kms:clear-cache',
  method: 'POST',
  path: '/kms/clear-cache',
  right: { service: 'clear-cache' },
  handle({ running }) {
    running.keys.cache.clear()
    return { status: 204 }
  },
})

export const SERVICE_ROUTES: readonly KmsRoute[] = [
  configure,
  reconfigure,
  start,
  stop,
  status,
  postedStatus,
  config,
  clearCache,
]

function checkBody({ hasBody }: { readonly hasBody: boolean }): void {
  if (!hasBody) throw badRequest('Request body is required')
}

function done({ status }: ManagedKeys, message: string): Reply {
  return answer({ success: true, message, status })
}
