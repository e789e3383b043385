/** Fortanix SDKMS as keystores.md 4 has it: import, export, delete and listing of opaque objects, and sessions. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'

import type { Owner } from '../../support/server.ts'
import type { StoreConfig } from '../../support/stores.ts'
import { type FakeAnswer, type FakeRequest, FakeService } from './service.ts'

export const API_KEY = 'YzE1MmE2OTktOTQ4YS00MmI1LWJhYjUtZmFrZQ=='
const TOKEN = 'session-token-of-the-fake'
const PAGE = 100

interface Sobject {
  readonly kid: string
  readonly value: string
  enabled: boolean
}

export class FakeFortanix {
  readonly service: FakeService
  readonly group: string
  /** By name. */
  readonly objects = new Map<string, Sobject>()
  /** Names whose calls are forbidden. */
  isForbidden = false
  apiKey = API_KEY
  /** Whether a page starts with the name that it is asked to start with. */
  startIsInclusive = true

  private constructor(service: FakeService, group: string) {
    this.service = service
    this.group = group
  }

  static async start(t: Owner, { group = '' } = {}): Promise<FakeFortanix> {
    let fake: FakeFortanix | undefined
    const handle = (request: FakeRequest): FakeAnswer => {
      assert.ok(fake)
      return fake.#answer(request)
    }
    fake = new FakeFortanix(await FakeService.start(t, handle), group)
    return fake
  }

  config(more: Readonly<Record<string, unknown>> = {}): StoreConfig {
    const settings = {
      endpoint: this.service.url,
      group_id: this.group,
      credentials: { key: API_KEY },
      tls: { ca: this.service.ca },
      ...more,
    }
    return { kind: 'fortanix.sdkms', settings }
  }

  /** As the Go server, or somebody else, stored it. */
  put(name: string, value: string, enabled = true): void {
    this.objects.set(name, { kid: randomUUID(), value, enabled })
  }

  #answer(request: FakeRequest): FakeAnswer {
    const { method, path, query, headers, text, body } = request
    const operation = `${method} ${path}`
    assert.equal(headers['content-type'], text === '' ? undefined : 'application/json')
    if (operation === 'POST /sys/v1/session/terminate') {
      assert.deepEqual([headers.authorization, text, query], [`Bearer ${TOKEN}`, '', ''])
      return { status: 204 }
    }
    assert.equal(headers.authorization, `Basic ${API_KEY}`)
    if (operation === 'GET /sys/v1/health') {
      assert.deepEqual([text, query], ['', ''])
      return { status: 204 }
    }
    if (this.apiKey !== API_KEY) return { status: 401, text: 'unauthorized' }
    if (operation === 'POST /sys/v1/session/auth') {
      assert.deepEqual([text, query], ['', ''])
      return { status: 200, json: { token_type: 'Bearer', access_token: TOKEN } }
    }
    if (this.isForbidden) return message(403, 'app does not have permission')
    if (operation === 'PUT /crypto/v1/keys') return this.#import(body)
    if (operation === 'POST /crypto/v1/keys/export') return this.#export(body)
    if (operation === 'GET /crypto/v1/keys') return this.#list(query)
    return this.#delete(operation)
  }

  #import(body: unknown): FakeAnswer {
    const { name, value } = body as { name: string; value: string }
    const group = this.group === '' ? {} : { group_id: this.group }
    // Also the order, which is the Go server's.
    assert.equal(
      JSON.stringify(body),
      JSON.stringify({
        obj_type: 'OPAQUE',
        name,
        ...group,
        key_ops: ['EXPORT', 'APPMANAGEABLE'],
        value,
        enabled: true,
      }),
    )
    assert.equal(Buffer.from(value, 'base64').toString('base64'), value)
    if (this.objects.has(name)) return message(409, 'sobject already exists')
    this.put(name, value)
    return { status: 201, json: { kid: this.objects.get(name)?.kid, name } }
  }

  #export(body: unknown): FakeAnswer {
    const { name } = body as { name: string }
    assert.deepEqual(body, { name })
    const object = this.objects.get(name)
    return object === undefined
      ? message(404, 'sobject does not exist')
      : { status: 200, json: { name, obj_type: 'OPAQUE', ...object } }
  }

  #delete(operation: string): FakeAnswer {
    const id = /^DELETE \/crypto\/v1\/keys\/([0-9a-f-]+)$/.exec(operation)?.[1]
    assert.ok(id, operation)
    const name = [...this.objects].find(([, { kid }]) => kid === id)?.[0]
    if (name === undefined) return message(404, 'sobject does not exist')
    this.objects.delete(name)
    return { status: 204 }
  }

  #list(query: string): FakeAnswer {
    const { start = '', ...rest } = Object.fromEntries(new URLSearchParams(query))
    assert.deepEqual(rest, { sort: 'name:asc', limit: String(PAGE) })
    const names = [...this.objects.keys()]
      .sort()
      .filter((name) => (this.startIsInclusive ? name >= start : name > start))
    const page = names.slice(0, PAGE).map((name) => ({ name, kid: this.objects.get(name)?.kid }))
    return { status: 200, json: page }
  }
}

function message(status: number, text: string): FakeAnswer {
  return { status, json: { message: text } }
}
