/** The KES API in its current form (kes-api.md). */

import { availableParallelism, cpus } from 'node:os'

import type { Policy, PolicyRules } from '../auth/policy.ts'
import { parseIdentity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import { stringify } from '../json.ts'
import { cipherNamed } from '../keys/codec.ts'
import { type Key, SECRET_SIZE } from '../keys/key.ts'
import { KeyStoreError } from '../keystore/keystore.ts'
import { checkName, continueAt, firstPage, PAGE, pageOf, parseListing } from '../names.ts'
import { memory } from '../telemetry/metrics.ts'
import { rfc3339 } from '../time.ts'
import { COMMIT, VERSION } from '../version.ts'
import { Body } from './body.ts'
import { type Call, EMPTY, json, JSON_TYPE, type Reply, type Route } from './route.ts'

const MIB = 1_048_576
const TIMEOUT = 15_000
const NO_BYTES = Buffer.alloc(0)

const SECRET_HEADERS = { 'cache-control': 'no-store' }

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8; escaping=underscores'
/** Who names one of these knows labelled families; the KES SDK does not. */
const PROMETHEUS = /application\/openmetrics-text|text\/plain\s*;\s*version=0\.0\.4/

const version: Route = {
  operation: 'version',
  method: 'GET',
  path: '/version',
  access: 'anyone',
  timeout: TIMEOUT,
  handle: () => json(stringify({ version: VERSION, commit: COMMIT })),
}

const ready: Route = {
  operation: 'ready',
  method: 'GET',
  path: '/v1/ready',
  access: 'permitted',
  canSkipAuth: true,
  timeout: TIMEOUT,
  async handle({ services }) {
    const probe = await services.keys.health.probe()
    if ('latency' in probe) return EMPTY
    throw new KesError(
      isUnreachable(probe.error) ? 'KEYSTORE_UNREACHABLE' : 'KEYSTORE_UNAVAILABLE',
      { cause: probe.error },
    )
  },
}

const GO_OS: Readonly<Record<string, string>> = { win32: 'windows', sunos: 'solaris' }
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }

const status: Route = {
  operation: 'status',
  method: 'GET',
  path: '/v1/status',
  access: 'permitted',
  canSkipAuth: true,
  timeout: TIMEOUT,
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
        mem_heap_used: memory().heapUsed,
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
}

const metrics: Route = {
  operation: 'metrics',
  method: 'GET',
  path: '/v1/metrics',
  access: 'permitted',
  canSkipAuth: true,
  timeout: TIMEOUT,
  async handle(call) {
    const { audit, log, keys } = call.services
    const full = PROMETHEUS.test(call.header('accept') ?? '')
    const gauges = {
      auditEvents: () => audit.events,
      errorEvents: () => log.events,
      cachedKeys: () => keys.cache.size,
      cacheHits: () => keys.cache.hits,
      cacheMisses: () => keys.cache.misses,
      keyStoreUp: () => (keys.health.downSince === undefined ? 1 : 0),
    }
    return { status: 200, type: METRICS_TYPE, body: await call.services.metrics.text(gauges, full) }
  },
}

const api: Route = {
  operation: 'api',
  method: 'GET',
  path: '/v1/api',
  access: 'permitted',
  canSkipAuth: true,
  timeout: TIMEOUT,
  handle({ services }) {
    const routes = services.routes.map(({ route, timeout }) => ({
      method: route.method,
      path: route.path,
      max_body: route.maxBody ?? 0,
      timeout: timeout / 1000,
    }))
    return json(stringify(routes))
  },
}

const createKey: Route = {
  operation: 'key:create',
  method: 'PUT',
  path: '/v1/key/create/',
  access: 'permitted',
  timeout: TIMEOUT,
  async handle(call) {
    await call.services.keys.create(keyName(call), call.caller, call)
    return EMPTY
  },
}

/** `{"key"|"bytes", "cipher"?, "hmac_key"?}` */
const importKey: Route = {
  operation: 'key:import',
  method: 'PUT',
  path: '/v1/key/import/',
  access: 'permitted',
  maxBody: MIB,
  timeout: TIMEOUT,
  async handle(call) {
    const name = keyName(call)
    const body = new Body(call.body, 'invalid import key request body')
    const spelling = body.optionalString('cipher') ?? 'AES256'
    const secret = body.optionalBytes('key') ?? body.bytes('bytes')
    const hmacKey = body.optionalBytes('hmac_key')
    const cipher = cipherNamed(spelling)
    if (cipher === undefined) refuseImport(`algorithm '${spelling}' is not supported`)
    if (secret.length !== SECRET_SIZE) refuseImport(`invalid key size for '${cipher}'`)
    if (hmacKey !== undefined && hmacKey.length !== SECRET_SIZE) {
      refuseImport(`invalid HMAC key size for '${cipher}'`)
    }
    await call.services.keys.import(name, { cipher, secret, hmacKey }, call.caller, call)
    return EMPTY
  },
}

function refuseImport(message: string): never {
  throw new KesError('BAD_CIPHER', { message })
}

const describeKey: Route = {
  operation: 'key:describe',
  method: 'GET',
  path: '/v1/key/describe/',
  access: 'permitted',
  timeout: TIMEOUT,
  async handle(call) {
    const name = keyName(call)
    const key = await call.services.keys.get(name, call)
    return json(
      stringify({
        name,
        algorithm: key.cipher,
        created_at: rfc3339(key.createdAt),
        created_by: key.createdBy || undefined,
      }),
    )
  },
}

const deleteKey: Route = {
  operation: 'key:delete',
  method: 'DELETE',
  path: '/v1/key/delete/',
  access: 'permitted',
  timeout: TIMEOUT,
  async handle(call) {
    await call.services.keys.delete(keyName(call), call)
    return EMPTY
  },
}

const listKeys: Route = {
  operation: 'key:list',
  method: 'GET',
  path: '/v1/key/list/',
  access: 'permitted',
  timeout: TIMEOUT,
  judged: firstPage,
  async handle(call) {
    const listing = parseListing(call.param)
    const page = await call.services.keys.list(listing, call)
    // Unlike the other listings, this one leaves an empty continue_at out, as the Go server does.
    return json(
      stringify({ names: page.names, continue_at: continueAt(listing, page) || undefined }),
    )
  },
}

/** A new data key, in the clear and sealed under the named key. */
const generateKey: Route = {
  operation: 'key:generate',
  method: 'PUT',
  path: '/v1/key/generate/',
  access: 'permitted',
  maxBody: MIB,
  timeout: TIMEOUT,
  handle(call) {
    const name = keyName(call)
    const context = call.hasNoBody ? NO_BYTES : new Body(call.body).bytes('context')
    return withKey(call, name, (key) => {
      const { plaintext, ciphertext } = key.dataKey(context)
      const reply = secretJson(
        `{"plaintext":"${plaintext.toString('base64')}","ciphertext":"${ciphertext.toString('base64')}"}`,
      )
      plaintext.fill(0)
      return reply
    })
  },
}

/** Seal a small plaintext under the named key. */
const encryptKey: Route = {
  operation: 'key:encrypt',
  method: 'PUT',
  path: '/v1/key/encrypt/',
  access: 'permitted',
  maxBody: MIB,
  timeout: TIMEOUT,
  handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const plaintext = body.bytes('plaintext')
    const context = body.bytes('context')
    return withKey(call, name, (key) =>
      json(`{"ciphertext":"${key.encrypt(plaintext, context).toString('base64')}"}`),
    )
  },
}

/**
 * Open a ciphertext. Its limit is twice that of the others: whatever could be sealed can be sent back to be
 * opened, in base64 and with the same context.
 */
const decryptKey: Route = {
  operation: 'key:decrypt',
  method: 'PUT',
  path: '/v1/key/decrypt/',
  access: 'permitted',
  maxBody: 2 * MIB,
  timeout: TIMEOUT,
  handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const ciphertext = body.bytes('ciphertext')
    const context = body.bytes('context')
    return withKey(call, name, (key) => {
      const plaintext = key.decrypt(ciphertext, context)
      const reply = secretJson(`{"plaintext":"${plaintext.toString('base64')}"}`)
      plaintext.fill(0)
      return reply
    })
  },
}

const hmacKey: Route = {
  operation: 'key:hmac',
  method: 'PUT',
  path: '/v1/key/hmac/',
  access: 'permitted',
  maxBody: MIB,
  timeout: TIMEOUT,
  handle(call) {
    const name = keyName(call)
    const message = new Body(call.body).bytes('message')
    return withKey(call, name, (key) =>
      secretJson(`{"hmac":"${key.hmac(message).toString('base64')}"}`),
    )
  },
}

const describePolicy: Route = {
  operation: 'policy:describe',
  method: 'GET',
  path: '/v1/policy/describe/',
  access: 'permitted',
  timeout: TIMEOUT,
  handle(call) {
    const policy = policyNamed(call)
    return json(stringify({ name: policy.name, ...origin(policy) }))
  },
}

const readPolicy: Route = {
  operation: 'policy:read',
  method: 'GET',
  path: '/v1/policy/read/',
  access: 'permitted',
  timeout: TIMEOUT,
  handle(call) {
    const policy = policyNamed(call)
    return json(stringify({ name: policy.name, ...ruleSets(policy.rules), ...origin(policy) }))
  },
}

const listPolicies: Route = {
  operation: 'policy:list',
  method: 'GET',
  path: '/v1/policy/list/',
  access: 'permitted',
  timeout: TIMEOUT,
  judged: firstPage,
  handle(call) {
    const listing = parseListing(call.param)
    const page = pageOf(call.services.access.policyNames, listing, PAGE)
    return json(stringify({ names: page.names, continue_at: continueAt(listing, page) }))
  },
}

const describeIdentity: Route = {
  operation: 'identity:describe',
  method: 'GET',
  path: '/v1/identity/describe/',
  access: 'permitted',
  timeout: TIMEOUT,
  handle(call) {
    const { access } = call.services
    const identity = parseIdentity(checkName(call.param, 'identity'))
    if (identity !== undefined && identity === access.admin) {
      return json(stringify({ policy: '', admin: true, created_at: rfc3339(access.createdAt) }))
    }
    const policy = identity && access.policyOf(identity)
    if (policy === undefined) throw new KesError('IDENTITY_NOT_FOUND')
    return json(stringify({ policy: policy.name, admin: false, ...origin(policy) }))
  },
}

/** For everybody, also an identity without a policy; in the shape that the Go SDK decodes. */
const describeSelf: Route = {
  operation: 'identity:self-describe',
  method: 'GET',
  path: '/v1/identity/self/describe',
  access: 'anyone',
  timeout: TIMEOUT,
  handle(call) {
    const { access } = call.services
    const identity = call.caller
    const admin = identity === access.admin
    const policy = admin ? undefined : access.policyOf(identity)
    return json(
      stringify({
        identity,
        policy: policy?.name ?? '',
        policy_name: policy?.name ?? '',
        admin,
        ...(admin && { created_at: rfc3339(access.createdAt) }),
        ...(policy !== undefined && { ...origin(policy), ...ruleSets(policy.rules) }),
      }),
    )
  },
}

const listIdentities: Route = {
  operation: 'identity:list',
  method: 'GET',
  path: '/v1/identity/list/',
  access: 'permitted',
  timeout: TIMEOUT,
  judged: firstPage,
  handle(call) {
    const listing = parseListing(call.param)
    const page = pageOf(call.services.access.identities, listing, PAGE)
    return json(stringify({ identities: page.names, continue_at: continueAt(listing, page) }))
  },
}

const NDJSON_TYPE = 'application/x-ndjson'

const followAudit: Route = {
  operation: 'log:audit',
  method: 'GET',
  path: '/v1/log/audit',
  access: 'permitted',
  timeout: 0,
  handle: ({ services }) => ({ status: 200, type: NDJSON_TYPE, stream: services.audit.stream }),
}

const followErrors: Route = {
  operation: 'log:error',
  method: 'GET',
  path: '/v1/log/error',
  access: 'permitted',
  timeout: 0,
  handle: ({ services }) => ({ status: 200, type: NDJSON_TYPE, stream: services.log.stream }),
}

/** Sorted by path, as `/v1/api` lists them. */
export const KES_ROUTES: readonly Route[] = [
  version,
  ready,
  status,
  metrics,
  api,
  createKey,
  importKey,
  describeKey,
  deleteKey,
  listKeys,
  generateKey,
  encryptKey,
  decryptKey,
  hmacKey,
  describePolicy,
  readPolicy,
  listPolicies,
  describeIdentity,
  describeSelf,
  listIdentities,
  followAudit,
  followErrors,
].sort((a, b) => (a.path < b.path ? -1 : 1))

function keyName(call: Call): string {
  return checkName(call.param, 'key name')
}

/** Answers at once when the key is cached. */
function withKey(call: Call, name: string, use: (key: Key) => Reply): Reply | Promise<Reply> {
  const key = call.services.keys.get(name, call)
  return key instanceof Promise ? key.then(use) : use(key)
}

/** An answer that holds a secret: nothing between us and the caller may keep it. */
function secretJson(body: string): Reply {
  return { status: 200, type: JSON_TYPE, body: `${body}\n`, headers: SECRET_HEADERS }
}

function policyNamed(call: Call): Policy {
  const policy = call.services.access.policy(checkName(call.param, 'policy name'))
  if (policy === undefined) throw new KesError('POLICY_NOT_FOUND')
  return policy
}

/** When and by whom a policy, and so its assignments, were made. */
function origin({ createdAt, createdBy }: Policy): object {
  return { created_at: rfc3339(createdAt), created_by: createdBy || undefined }
}

/** `{"allow":{"<rule>":{}},"deny":…}`; an empty one is left out. */
function ruleSets(rules: PolicyRules): object {
  const set = (list: readonly string[]) =>
    list.length === 0 ? undefined : Object.fromEntries(list.map((rule) => [rule, {}]))
  return { allow: set(rules.allow), deny: set(rules.deny) }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof KeyStoreError && error.failure === 'unreachable'
}
