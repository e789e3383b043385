/**
 * A Vault as far as the keystore sees it (keystores.md 2 and 3 of its part 2): KV v1 and v2 with check-and-set and soft
 * deletion, AppRole and Kubernetes, tokens that end, renewal, transit with key versions, policies, namespaces, seal,
 * standby and health. Every request is checked: method, path, headers, body.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import type { Owner } from '../../support/server.ts'
import type { StoreConfig } from '../../support/stores.ts'
import { type FakeAnswer, type FakeOptions, type FakeRequest, FakeService } from './service.ts'

export type Capability = 'create' | 'read' | 'update' | 'delete' | 'list'

export interface FakeVaultOptions extends FakeOptions {
  readonly version?: 'v1' | 'v2'
  readonly engine?: string
  readonly prefix?: string
  readonly namespace?: string
  readonly login?: 'approle' | 'kubernetes'
  /** Where it is mounted. */
  readonly loginEngine?: string
  readonly loginNamespace?: string
  readonly transit?: boolean
}

export const ROLE_ID = '59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8'
export const SECRET_ID = '84896a0c-1347-aa90-a4f6-aca8b7558780'

interface Version {
  readonly data: string
  isDeleted: boolean
}

interface Token {
  readonly ttl: number
  endsAt: number
}

export class FakeVault {
  readonly service: FakeService
  readonly options: Required<Omit<FakeVaultOptions, keyof FakeOptions>>
  /** Stored JSON objects by path behind the engine: of version 1, and the versions of version 2. */
  readonly v1 = new Map<string, string>()
  readonly v2 = new Map<string, Version[]>()
  /** By the longest prefix; as the Go server's documents have it. */
  policy: Record<string, readonly Capability[]>
  isSealed = false
  isInitialized = true
  hasActiveNode = true
  /** Seconds; 0 = tokens do not end. */
  ttl = 3600
  isRenewable = true
  hasDefaultPolicy = true
  secretId = SECRET_ID
  jwt = 'a.service-account.token'
  transitVersion = 1
  logins = 0
  renewals = 0
  /** Sends every request there, as a standby does. */
  active: FakeVault | undefined
  readonly #tokens = new Map<string, Token>()

  private constructor(service: FakeService, options: FakeVaultOptions) {
    this.service = service
    const { login = 'approle', namespace = '' } = options
    this.options = {
      version: 'v2',
      engine: 'kv',
      prefix: '',
      transit: false,
      login,
      loginEngine: login,
      namespace,
      loginNamespace: namespace,
      ...options,
    }
    const { engine } = this.options
    this.policy = {
      ...(this.options.version === 'v1'
        ? { [`${engine}/`]: ['create', 'read', 'delete', 'list'] }
        : {
            [`${engine}/data/`]: ['create', 'read'],
            [`${engine}/metadata/`]: ['list', 'delete'],
          }),
      ...(this.options.transit && {
        'transit/encrypt/my-key': ['update'],
        'transit/decrypt/my-key': ['update'],
      }),
    }
  }

  static async start(t: Owner, options: FakeVaultOptions = {}): Promise<FakeVault> {
    let vault: FakeVault | undefined
    const handle = (request: FakeRequest): FakeAnswer => {
      assert.ok(vault)
      return vault.#answer(request)
    }
    vault = new FakeVault(await FakeService.start(t, handle, options), options)
    return vault
  }

  /** What the config file says of it. @param more further settings */
  config(more: Readonly<Record<string, unknown>> = {}): StoreConfig {
    const { version, engine, prefix, namespace, login, loginEngine, loginNamespace } = this.options
    const method = { engine: loginEngine, namespace: loginNamespace || '/' }
    const settings = {
      endpoint: this.service.url,
      version,
      engine,
      prefix,
      namespace,
      ...(login === 'approle'
        ? { approle: { ...method, id: ROLE_ID, secret: SECRET_ID } }
        : { kubernetes: { ...method, role: 'kes', jwt: this.jwt } }),
      ...(this.options.transit && { transit: { key: 'my-key' } }),
      tls: { ca: this.service.ca },
      ...more,
    }
    return { kind: 'vault', settings }
  }

  /** A token that was made elsewhere. @param ttl seconds; 0 = it does not end */
  grant(text: string, ttl = 0): void {
    this.#issue(text, ttl)
  }

  /** All tokens end now, before their time. */
  revoke(): void {
    this.#tokens.clear()
  }

  #answer(request: FakeRequest): FakeAnswer {
    const { method, path, query } = request
    this.#checkHeaders(request)
    if (this.active !== undefined && path !== '/v1/sys/health') {
      const location = `${this.active.service.url}${path}${query}`
      return { status: 307, headers: { location } }
    }
    if (path === '/v1/sys/health') return this.#health(request)
    if (this.isSealed || !this.isInitialized) return errors(503, 'Vault is sealed')
    if (!this.hasActiveNode)
      return errors(500, 'local node not active but active cluster node not found')
    if (path.startsWith('/v1/auth/') && path.endsWith('/login')) return this.#login(request)
    const token = this.#token(request)
    if (token === undefined) return errors(403, 'permission denied')
    if (path.startsWith('/v1/auth/token/')) return this.#self(request, token)
    const rest = path.replace('/v1/', '')
    if (rest.startsWith('transit/')) return this.#transit(request, rest)
    assert.ok(rest.startsWith(`${this.options.engine}/`) || rest === this.options.engine, path)
    assert.match(`${method} ${query}`, /^(?:GET (?:\?list=true|\?version=1)?|(?:PUT|DELETE) )$/)
    return this.options.version === 'v1' ? this.#kv1(request, rest) : this.#kv2(request, rest)
  }

  #checkHeaders({ path, headers, text }: FakeRequest): void {
    const { namespace, loginNamespace } = this.options
    const isHealth = path === '/v1/sys/health'
    const isLogin = path.endsWith('/login')
    const expected = isHealth ? '' : isLogin ? loginNamespace : namespace
    assert.equal(headers['x-vault-namespace'] ?? '', expected, 'namespace')
    assert.equal(headers['x-vault-request'], 'true')
    assert.equal(headers['x-vault-token'] === undefined, isHealth || isLogin, 'token')
    assert.equal(headers['content-type'], text === '' ? undefined : 'application/json')
  }

  #health({ method, query }: FakeRequest): FakeAnswer {
    assert.equal(method, 'GET')
    const codes = new URLSearchParams(query)
    const states = ['uninit', 'sealed', 'standby', 'drsecondary', 'performancestandby']
    assert.deepEqual(
      [...codes.keys()],
      states.map((state) => `${state}code`),
    )
    assert.ok([...codes.values()].every((code) => code === '299'))
    const { isInitialized, isSealed } = this
    const isWell = isInitialized && !isSealed && this.active === undefined
    return {
      status: isWell ? 200 : 299,
      json: { initialized: isInitialized, sealed: isSealed, standby: this.active !== undefined },
    }
  }

  #login({ method, path, body }: FakeRequest): FakeAnswer {
    assert.equal(method, 'PUT')
    assert.equal(path, `/v1/auth/${this.options.loginEngine}/login`)
    if (this.options.login === 'approle') {
      assert.deepEqual(body, { role_id: ROLE_ID, secret_id: SECRET_ID })
      if (this.secretId !== SECRET_ID) return errors(400, 'invalid role or secret ID')
    } else {
      assert.deepEqual(Object.keys(body as object), ['role', 'jwt'])
      const { role, jwt } = body as { role: string; jwt: string }
      assert.equal(role, 'kes')
      if (jwt !== this.jwt) return errors(403, 'permission denied')
    }
    this.logins++
    return { status: 200, json: this.#issue(`hvs.${randomUUID()}`, this.ttl) }
  }

  #issue(text: string, ttl: number): object {
    this.#tokens.set(text, { ttl, endsAt: ttl === 0 ? Infinity : Date.now() + ttl * 1000 })
    const auth = { client_token: text, lease_duration: ttl, renewable: this.isRenewable }
    return { auth, data: null, warnings: null }
  }

  #token({ headers }: FakeRequest): string | undefined {
    const text = String(headers['x-vault-token'])
    const token = this.#tokens.get(text)
    return token !== undefined && token.endsAt > Date.now() ? text : undefined
  }

  #self({ method, path, body }: FakeRequest, token: string): FakeAnswer {
    if (!this.hasDefaultPolicy) return errors(403, 'permission denied')
    if (path === '/v1/auth/token/lookup-self') {
      assert.deepEqual([method, body], ['GET', undefined])
      const { ttl = 0 } = this.#tokens.get(token) ?? {}
      const data = { policies: ['default', 'kes'], ttl, renewable: this.isRenewable }
      return { status: 200, json: { data } }
    }
    assert.deepEqual([method, path, body], ['PUT', '/v1/auth/token/renew-self', {}])
    if (!this.isRenewable) return errors(400, 'lease is not renewable')
    this.renewals++
    return { status: 200, json: this.#issue(token, this.ttl) }
  }

  #may(capability: Capability, path: string): boolean {
    const [longest] = Object.keys(this.policy)
      .filter((prefix) => `${path}/`.startsWith(prefix))
      .sort((a, b) => b.length - a.length)
    return longest !== undefined && this.policy[longest]?.includes(capability) === true
  }

  #kv1({ method, query, body, text }: FakeRequest, path: string): FakeAnswer {
    const stored = this.v1.get(path)
    const capability: Capability =
      method === 'DELETE'
        ? 'delete'
        : method === 'PUT'
          ? stored === undefined
            ? 'create'
            : 'update'
          : query === '?list=true'
            ? 'list'
            : 'read'
    if (!this.#may(capability, path)) return errors(403, 'permission denied')
    if (capability === 'list') return listing(this.v1.keys(), path)
    if (capability === 'delete') this.v1.delete(path)
    if (method === 'PUT') {
      checkSecret(body, path)
      this.v1.set(path, text)
    }
    if (method !== 'GET') return { status: 204 }
    return stored === undefined
      ? errors(404)
      : { status: 200, json: { lease_duration: 2764800, data: JSON.parse(stored), auth: null } }
  }

  #kv2(request: FakeRequest, rest: string): FakeAnswer {
    const { method, query, body } = request
    const [, area, path = ''] =
      /^\/(data|metadata)(?:\/(.*))?$/.exec(rest.slice(this.options.engine.length)) ?? []
    const versions = this.v2.get(path) ?? []
    if (area === 'metadata') {
      const capability = query === '?list=true' ? 'list' : 'delete'
      assert.equal(method, capability === 'list' ? 'GET' : 'DELETE')
      if (!this.#may(capability, rest)) return errors(403, 'permission denied')
      if (capability === 'list') return listing(this.v2.keys(), path)
      this.v2.delete(path)
      return { status: 204 }
    }
    if (area === undefined)
      return {
        status: 404,
        json: { warnings: ['Invalid path for a versioned K/V secrets engine'] },
      }
    if (method === 'GET') {
      if (!this.#may('read', rest)) return errors(403, 'permission denied')
      const number = query === '?version=1' ? 1 : versions.length
      const version = versions[number - 1]
      if (version === undefined) return errors(404)
      const metadata = { version: number, destroyed: false, deletion_time: '' }
      const data = version.isDeleted ? null : (JSON.parse(version.data) as unknown)
      return { status: data === null ? 404 : 200, json: { data: { data, metadata } } }
    }
    assert.equal(method, 'PUT')
    if (!this.#may(versions.length === 0 ? 'create' : 'update', rest))
      return errors(403, 'permission denied')
    const { options, data } = body as { options: unknown; data: unknown }
    assert.deepEqual(body, { options: { cas: 0 }, data })
    assert.deepEqual(options, { cas: 0 })
    checkSecret(data, path)
    if (versions.length > 0)
      return errors(400, 'check-and-set parameter did not match the current version')
    this.v2.set(path, [{ data: JSON.stringify(data), isDeleted: false }])
    return { status: 200, json: { data: { version: 1, destroyed: false } } }
  }

  #transit({ method, body }: FakeRequest, path: string): FakeAnswer {
    assert.equal(method, 'POST')
    if (!this.#may('update', path)) return errors(403, 'permission denied')
    if (path === 'transit/encrypt/my-key') {
      const { plaintext } = body as { plaintext: string }
      assert.deepEqual(body, { plaintext })
      const hidden = Buffer.from(plaintext, 'base64').toReversed()
      const ciphertext = `vault:v${this.transitVersion}:${Buffer.from(hidden).toString('base64')}`
      return { status: 200, json: { data: { ciphertext, key_version: this.transitVersion } } }
    }
    assert.equal(path, 'transit/decrypt/my-key')
    const { ciphertext } = body as { ciphertext: string }
    assert.deepEqual(body, { ciphertext })
    const match = /^vault:v(\d+):(.*)$/.exec(ciphertext)
    if (match === null || Number(match[1]) > this.transitVersion)
      return errors(400, 'invalid ciphertext: version is too new')
    const plaintext = Buffer.from(Buffer.from(match[2] ?? '', 'base64').toReversed())
    return { status: 200, json: { data: { plaintext: plaintext.toString('base64') } } }
  }
}

function errors(status: number, ...list: readonly string[]): FakeAnswer {
  return { status, json: { errors: list } }
}

/** One member, named after the last part of the path, whose value is a text. */
function checkSecret(data: unknown, path: string): void {
  const name = path.slice(path.lastIndexOf('/') + 1)
  assert.deepEqual(Object.keys(data as object), [name])
  assert.equal(typeof Object.values(data as object)[0], 'string')
}

function listing(paths: Iterable<string>, folder: string): FakeAnswer {
  const start = folder === '' ? '' : `${folder}/`
  const keys = new Set<string>()
  for (const path of paths) {
    if (!path.startsWith(start)) continue
    const [name = '', ...below] = path.slice(start.length).split('/')
    keys.add(below.length > 0 ? `${name}/` : name)
  }
  return keys.size === 0 ? errors(404) : { status: 200, json: { data: { keys: [...keys].sort() } } }
}
