/** KeyControl as keystores.md 9 has it: every call is a POST whose path ends with a slash. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import type { Owner } from '../../support/server.ts'
import type { StoreConfig } from '../../support/stores.ts'
import { type FakeAnswer, type FakeRequest, FakeService } from './service.ts'

export const PASSWORD = 'a-password-of-the-fake'
const VAULT = '1d7cbd39-4a4b-4a43-8b4c-2d6b5fb1ae86'
const BOX = 'kes-box'

interface Secret {
  readonly data: string
  readonly isExpired: boolean
}

export class FakeEntrust {
  readonly service: FakeService
  /** By name. */
  readonly secrets = new Map<string, Secret>()
  readonly #tokens = new Map<string, number>()
  password = PASSWORD
  isForbidden = false
  boxExists = true
  /** Milliseconds; 0 = the end is not told. */
  ttl = 600_000
  canRenew = true
  logins = 0
  renewals = 0
  /** As some releases write it. */
  listField = 'Secrets'

  private constructor(service: FakeService) {
    this.service = service
  }

  static async start(t: Owner): Promise<FakeEntrust> {
    let fake: FakeEntrust | undefined
    const handle = (request: FakeRequest): FakeAnswer => {
      assert.ok(fake)
      return fake.#answer(request)
    }
    fake = new FakeEntrust(await FakeService.start(t, handle))
    return fake
  }

  config(more: Readonly<Record<string, unknown>> = {}): StoreConfig {
    const settings = {
      endpoint: this.service.url,
      vault_id: VAULT,
      box_id: BOX,
      credentials: { username: 'kes', password: PASSWORD },
      tls: { ca: this.service.ca },
      ...more,
    }
    return { kind: 'entrust.keycontrol', settings }
  }

  /** All tokens end now, before their time. */
  revoke(): void {
    this.#tokens.clear()
  }

  #answer({ method, path, query, headers, text, body }: FakeRequest): FakeAnswer {
    const operation = /^\/vault\/1\.0\/(.+)\/$/.exec(path)?.[1] ?? path
    assert.deepEqual([method, query], ['POST', ''])
    const isLogin = operation === `Login/${VAULT}`
    assert.equal(headers['content-type'], isLogin ? 'application/json' : undefined)
    const token = headers['x-vault-auth']
    if (isLogin) {
      assert.equal(token, undefined)
      assert.equal(text, JSON.stringify({ username: 'kes', password: PASSWORD }))
      if (this.password !== PASSWORD) return error(401, 'Invalid user name or password')
      this.logins++
      return this.#issue()
    }
    if ((this.#tokens.get(String(token)) ?? 0) < Date.now()) return error(401, 'Invalid token')
    if (operation === 'Renew') {
      assert.equal(text, '')
      if (!this.canRenew) return error(400, 'cannot renew')
      this.renewals++
      return this.#issue()
    }
    const { box_id: box, ...fields } = body as Readonly<Record<string, unknown>>
    assert.equal(box, BOX)
    if (this.isForbidden) return error(403, 'Permission denied')
    if (!this.boxExists) return error(404, 'Box not found')
    return this.#box(operation, fields)
  }

  #issue(): FakeAnswer {
    const token = `token-${randomUUID()}`
    const end = Date.now() + (this.ttl === 0 ? 300_000 : this.ttl)
    this.#tokens.set(token, end)
    const expiry = this.ttl === 0 ? {} : { expires_at: new Date(end).toISOString() }
    return { status: 200, json: { access_token: token, ...expiry } }
  }

  #box(operation: string, fields: Readonly<Record<string, unknown>>): FakeAnswer {
    const text = (field: string): string => {
      assert.equal(typeof fields[field], 'string', field)
      return String(fields[field])
    }
    const has = (...names: readonly string[]): void => {
      assert.deepEqual(Object.keys(fields), names, operation)
    }
    if (operation === 'GetBox') {
      has()
      return { status: 200, json: { box_id: BOX, name: BOX } }
    }
    if (operation === 'ListSecretIds') return this.#list(fields)
    if (operation === 'CreateSecret') {
      has('name', 'secret_data')
      if (this.secrets.has(text('name'))) return error(409, 'Secret already exists')
      const data = text('secret_data')
      assert.equal(Buffer.from(data, 'base64').toString('base64'), data)
      this.secrets.set(text('name'), { data, isExpired: false })
      return { status: 200, json: { secret_id: text('name') } }
    }
    assert.match(operation, /^(?:CheckoutSecret|DeleteSecret)$/)
    has('secret_id')
    const secret = this.secrets.get(text('secret_id'))
    if (secret === undefined) return error(404, 'Secret not found')
    if (operation === 'CheckoutSecret') return { status: 200, json: { secret_data: secret.data } }
    this.secrets.delete(text('secret_id'))
    return { status: 200, json: {} }
  }

  #list(fields: Readonly<Record<string, unknown>>): FakeAnswer {
    const { max_items: max, next_token: token } = fields
    assert.equal(max, 256)
    let from = ''
    if (token !== undefined) {
      const state = JSON.parse(Buffer.from(token as string, 'base64').toString()) as object
      assert.deepEqual(Object.keys(state), ['box_id', 'next_ctx'])
      from = (state as { next_ctx: string }).next_ctx
    }
    const names = [...this.secrets.keys()].sort().filter((name) => name >= from)
    const next = names[256]
    const page = names
      .slice(0, 256)
      .map((name) => ({ name, expired: this.secrets.get(name)?.isExpired }))
    const state = Buffer.from(JSON.stringify({ box_id: BOX, next_ctx: next })).toString('base64')
    return {
      status: 200,
      json: { [this.listField]: page, ...(next !== undefined && { next_token: state }) },
    }
  }
}

function error(status: number, text: string): FakeAnswer {
  return { status, json: { error: text } }
}
