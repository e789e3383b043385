/** The calls about a key's life: what they send, what they make of the answer, and what is never sent twice. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import {
  AnswerError,
  ConnectionError,
  type KesClient,
  type KeyInfo,
  ServerError,
} from '#src/client/index.js'
import { bytes } from '../support/bytes.ts'
import { adminClient, thrownBy } from '../support/client.ts'
import { answer, type Asked, http2Peer } from '../support/peers.ts'

const DESCRIBED = {
  name: 'a',
  algorithm: 'AES256',
  created_at: '2024-01-01T00:00:00.5Z',
  created_by: 'a'.repeat(64),
}

/** A client of a server that answers everything with this body, and what that has been asked. */
async function answered(t: TestContext, body: unknown): Promise<[KesClient, Asked[]]> {
  const asked: Asked[] = []
  const peer = await http2Peer(t, (stream, request) => {
    asked.push(request)
    answer(stream, body === undefined ? '' : JSON.stringify(body))
  })
  return [await adminClient(t, peer.url), asked]
}

test('what a server does not tell of a key is as for one that nobody has changed', async (t) => {
  const [client] = await answered(t, DESCRIBED)
  const origin = { createdAt: new Date('2024-01-01T00:00:00.500Z'), createdBy: 'a'.repeat(64) }
  const expected: KeyInfo = {
    name: 'a',
    algorithm: 'AES256',
    ...origin,
    state: 'enabled',
    version: 1,
    versions: [{ version: 1, ...origin }],
    deletionDate: undefined,
    description: undefined,
    tags: {},
  }
  assert.deepEqual(await client.describeKey('a'), expected)
})

test('all that a server tells of a key is read', async (t) => {
  const [client] = await answered(t, {
    ...DESCRIBED,
    state: 'pending-deletion',
    version: 2,
    versions: [
      { version: 1, created_at: '2024-01-01T00:00:00.5Z', created_by: 'a'.repeat(64) },
      { version: 2, created_at: '2025-01-01T00:00:00Z' },
    ],
    deletion_date: '2026-01-01T00:00:00Z',
    description: 'of the shop',
    tags: { team: 'shop', __proto__x: '' },
  })
  const key = await client.describeKey('a')
  assert.equal(key.state, 'pending-deletion')
  assert.equal(key.version, 2)
  assert.deepEqual(key.versions[1], {
    version: 2,
    createdAt: new Date('2025-01-01T00:00:00Z'),
    createdBy: undefined,
  })
  assert.deepEqual(key.deletionDate, new Date('2026-01-01T00:00:00Z'))
  assert.equal(key.description, 'of the shop')
  assert.deepEqual(key.tags, { team: 'shop', __proto__x: '' })
})

test('a description of a key that no KES server gives is an error that says where', async (t) => {
  for (const [field, value] of [
    ['state', 'broken'],
    ['state', 1],
    ['version', '2'],
    ['versions', {}],
    ['versions', [1]],
    ['deletion_date', 'tomorrow'],
    ['description', 1],
    ['tags', ['a']],
    ['tags', { a: 1 }],
  ] as const) {
    const [client] = await answered(t, { ...DESCRIBED, [field]: value })
    const error = await thrownBy(client.describeKey('a'))
    assert.ok(error instanceof AnswerError, `${field}: ${JSON.stringify(value)}`)
  }
})

test('each call sends what the API wants', async (t) => {
  const [client, asked] = await answered(t, { ...DESCRIBED, ciphertext: 'AAAA', hmac: 'AAAA' })
  const context = bytes('c')
  const calls: [() => Promise<unknown>, string, string][] = [
    [() => client.rotateKey('a'), 'PUT /v1/key/rotate/a', ''],
    [() => client.disableKey('a'), 'PUT /v1/key/disable/a', '{}'],
    [
      () => client.disableKey('a', { denyDecrypt: true }),
      'PUT /v1/key/disable/a',
      '{"deny_decrypt":true}',
    ],
    [() => client.enableKey('a'), 'PUT /v1/key/enable/a', ''],
    [
      () => client.editKey('a', { description: null, tags: { team: 'x', old: null } }),
      'PUT /v1/key/edit/a',
      '{"description":null,"tags":{"team":"x","old":null}}',
    ],
    [
      () => client.editKey('a', { description: 'text' }),
      'PUT /v1/key/edit/a',
      '{"description":"text"}',
    ],
    [() => client.deleteKey('a'), 'DELETE /v1/key/delete/a', ''],
    [() => client.deleteKey('a', { days: 7 }), 'DELETE /v1/key/delete/a?days=7', ''],
    [() => client.restoreKey('a'), 'PUT /v1/key/restore/a', ''],
    [
      () => client.rewrap('a', bytes('s'), { context }),
      'PUT /v1/key/rewrap/a',
      '{"ciphertext":"cw==","context":"Yw=="}',
    ],
    [() => client.rewrap('a', bytes('s')), 'PUT /v1/key/rewrap/a', '{"ciphertext":"cw=="}'],
    [() => client.hmac('a', bytes('m')), 'PUT /v1/key/hmac/a', '{"message":"bQ=="}'],
    [
      () => client.hmac('a', bytes('m'), { version: 2 }),
      'PUT /v1/key/hmac/a',
      '{"message":"bQ==","version":2}',
    ],
  ]
  for (const [call, line, body] of calls) {
    await call()
    const { method, path, body: sent } = asked.at(-1) ?? assert.fail()
    assert.equal(`${method} ${path}`, line)
    assert.equal(sent.toString(), body, line)
  }
  assert.equal(asked.length, calls.length)
})

/** What is done twice must not be: a version too many, or an error for what has been done. */
const ONCE: readonly [string, (client: KesClient) => Promise<unknown>][] = [
  ['rotate', (client) => client.rotateKey('a')],
  ['restore', (client) => client.restoreKey('a')],
  ['delete', (client) => client.deleteKey('a', { days: 7 })],
]
/** Twice is as once. */
const OFTEN: readonly [string, (client: KesClient) => Promise<unknown>][] = [
  ['disable', (client) => client.disableKey('a')],
  ['enable', (client) => client.enableKey('a')],
  ['edit', (client) => client.editKey('a', { description: 'x' })],
  ['rewrap', (client) => client.rewrap('a', bytes('s'))],
]

for (const [name, call] of ONCE) {
  test(`${name} is sent once when it may have been done`, async (t) => {
    let asked = 0
    const peer = await http2Peer(t, (stream) => {
      asked++
      stream.session?.destroy()
    })
    const cut = await thrownBy(call(await adminClient(t, peer.url)))
    assert.ok(cut instanceof ConnectionError && !cut.isUnprocessed)
    assert.equal(asked, 1)

    const busy = await http2Peer(t, (stream) => {
      asked++
      answer(stream, '{"message":"failed to change key"}', 502)
    })
    const failed = await thrownBy(call(await adminClient(t, busy.url)))
    assert.ok(failed instanceof ServerError && failed.code === 'KEYSTORE_CHANGE')
    assert.equal(asked, 2)
  })
}

for (const [name, call] of OFTEN) {
  test(`${name} is sent again when nobody knows whether it was done`, async (t) => {
    let asked = 0
    const peer = await http2Peer(t, (stream) => {
      if (++asked === 1) stream.session?.destroy()
      else answer(stream, JSON.stringify({ ...DESCRIBED, ciphertext: 'AAAA', version: 2 }))
    })
    await call(await adminClient(t, peer.url))
    assert.equal(asked, 2)
  })
}
