/** CipherTrust Manager as keystores.md 5 has it: tokens that end, and secrets that are made, exported, deleted, listed. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import type { Owner } from '../../support/server.ts'
import type { StoreConfig } from '../../support/stores.ts'
import { type FakeAnswer, type FakeRequest, FakeService } from './service.ts'

export const REFRESH_TOKEN = 'CEvk5cdHLCnsfVoPYNpPZs0Uk2ejmkUk'
const SECRETS = '/api/v1/vault/secrets'

export class FakeGemalto {
  readonly service: FakeService
  readonly domain: string
  /** Materials by name. */
  readonly secrets = new Map<string, string>()
  readonly #tokens = new Map<string, number>()
  refreshToken = REFRESH_TOKEN
  isForbidden = false
  /** Seconds. */
  duration = 300
  logins = 0

  private constructor(service: FakeService, domain: string) {
    this.service = service
    this.domain = domain
  }

  static async start(t: Owner, { domain = '' } = {}): Promise<FakeGemalto> {
    let fake: FakeGemalto | undefined
    const handle = (request: FakeRequest): FakeAnswer => {
      assert.ok(fake)
      return fake.#answer(request)
    }
    fake = new FakeGemalto(await FakeService.start(t, handle), domain)
    return fake
  }

  config(more: Readonly<Record<string, unknown>> = {}): StoreConfig {
    const settings = {
      endpoint: this.service.url,
      credentials: { token: REFRESH_TOKEN, domain: this.domain },
      tls: { ca: this.service.ca },
      ...more,
    }
    return { kind: 'gemalto.keysecure', settings }
  }

  /** All tokens end now, before their time. */
  revoke(): void {
    this.#tokens.clear()
  }

  #answer({ method, path, query, headers, text, body }: FakeRequest): FakeAnswer {
    assert.equal(headers['content-type'], text === '' ? undefined : 'application/json')
    if (path === '/api/v1/auth/tokens') {
      assert.deepEqual([method, query, headers.authorization], ['POST', '', undefined])
      return this.#login(text)
    }
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
    assert.notEqual(token, '')
    if ((this.#tokens.get(token) ?? 0) < Date.now()) return error(401, 'NCERRUnauthorized')
    if (this.isForbidden) return error(403, 'NCERRForbidden: not enough permissions')
    if (method === 'GET') {
      assert.deepEqual([path, text], [SECRETS, ''])
      return this.#list(query)
    }
    if (path === SECRETS) {
      assert.deepEqual([method, query], ['POST', ''])
      return this.#create(text, body)
    }
    assert.deepEqual([query, text], ['?type=name', ''])
    const match = /^\/api\/v1\/vault\/secrets\/([\w-]+)(\/export)?$/.exec(path)
    assert.ok(match, path)
    const [, name = '', isExport] = match
    const material = this.secrets.get(name)
    assert.equal(method, isExport ? 'POST' : 'DELETE')
    if (material === undefined) return error(404, 'NCERRResourceNotFound: Resource not found')
    if (isExport) return { status: 200, json: { name, dataType: 'seed', material } }
    this.secrets.delete(name)
    return { status: 204 }
  }

  #login(text: string): FakeAnswer {
    const { domain } = this
    // Also the order, which is the Go server's.
    assert.equal(
      text,
      JSON.stringify({ grant_type: 'refresh_token', refresh_token: REFRESH_TOKEN, domain }),
    )
    if (this.refreshToken !== REFRESH_TOKEN) return error(401, 'NCERRInvalidRefreshToken')
    this.logins++
    const jwt = `jwt.${randomUUID()}`
    this.#tokens.set(jwt, Date.now() + this.duration * 1000)
    return { status: 200, json: { jwt, duration: this.duration, token_type: 'Bearer' } }
  }

  #create(text: string, body: unknown): FakeAnswer {
    const { name, material } = body as { name: string; material: string }
    assert.equal(text, JSON.stringify({ dataType: 'seed', material, name }))
    if (this.secrets.has(name)) return error(409, 'NCERRConflict')
    this.secrets.set(name, material)
    return { status: 201, json: { name } }
  }

  #list(query: string): FakeAnswer {
    const { limit, skip = '' } = Object.fromEntries(new URLSearchParams(query))
    assert.equal(limit, '200')
    assert.match(skip, /^\d+$/)
    const resources = [...this.secrets.keys()]
      .slice(Number(skip), Number(skip) + 200)
      .map((name) => ({ name, dataType: 'seed' }))
    return { status: 200, json: { skip: Number(skip), total: this.secrets.size, resources } }
  }
}

function error(status: number, codeDesc: string): FakeAnswer {
  return { status, json: { code: status, codeDesc } }
}
