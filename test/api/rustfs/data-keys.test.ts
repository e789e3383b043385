/** Data keys (rustfs-kms-admin.md, 15, cases 53 to 57). */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { contextOf } from '#src/api/rustfs/data-keys.js'
import { RUNS } from '../../support/bytes.ts'
import { type Owner, ask } from '../../support/server.ts'
import { type Called, type RustfsServer, startRustfs } from '../../support/rustfs.ts'

type Fields = Readonly<Record<string, unknown>>

async function withKeys(t: Owner): Promise<RustfsServer> {
  const server = await startRustfs(t)
  for (const name of ['k', 'other']) await server.call('POST', '/keys', { Tags: { name } })
  return server
}

function generate(server: RustfsServer, fields: Fields = {}): Promise<Called> {
  return server.call('POST', '/generate-data-key', { key_id: 'k', key_spec: 'AES_256', ...fields })
}

function open(server: RustfsServer, blob: unknown, fields: Fields = {}): Promise<Called> {
  return server.call('POST', '/decrypt-data-key', { key_id: 'k', ciphertext_blob: blob, ...fields })
}

function bytesOf(base64: unknown): Buffer {
  return Buffer.from(String(base64), 'base64')
}

test('53: a data key has the length that its kind has, and no two are the same', async (t) => {
  const server = await withKeys(t)
  for (const [key_spec, length] of [
    ['AES_256', 32],
    ['Aes256', 32],
    ['AES_128', 16],
    ['Aes128', 16],
    ['ChaCha20', 32],
    ['CHACHA20', 32],
  ] as const) {
    const [one, two] = [await generate(server, { key_spec }), await generate(server, { key_spec })]
    assert.deepEqual(Object.keys(one.json), ['key_id', 'plaintext_key', 'ciphertext_blob'])
    const [plaintext, blob] = [
      bytesOf(one.json['plaintext_key']),
      bytesOf(one.json['ciphertext_blob']),
    ]
    assert.equal(plaintext.length, length)
    assert.equal(blob.includes(plaintext), false)
    assert.notDeepEqual(bytesOf(two.json['plaintext_key']), plaintext)
    assert.notDeepEqual(bytesOf(two.json['ciphertext_blob']), blob)
    assert.equal(one.headers['cache-control'], 'no-store')
    const opened = await open(server, one.json['ciphertext_blob'])
    assert.deepEqual(opened.json, { key_id: 'k', plaintext_key: one.json['plaintext_key'] })
    assert.equal(opened.headers['cache-control'], 'no-store')
  }
})

test('53: an unknown kind, a missing key and whatever else is no request are 400', async (t) => {
  const server = await withKeys(t)
  for (const fields of [
    { key_spec: 'AES_512' },
    { key_spec: 'constructor' },
    { key_spec: null },
    { key_id: null },
    { key_id: 7 },
    { encryption_context: { a: 1 } },
    { encryption_context: [] },
    { more: true },
  ])
    assert.equal((await generate(server, fields)).status, 400, JSON.stringify(fields))
  for (const body of [undefined, '', 'x', '[]', '{"key_spec":"AES_256"}'])
    assert.equal((await server.call('POST', '/generate-data-key', body)).status, 400, body)
})

test('54: a blob opens in its context and in no other, not in more, not in less', async (t) => {
  const server = await withKeys(t)
  const context = { bucket: 'analytics-data', object: '2024/09/18/report.parquet' }
  const { json } = await generate(server, { encryption_context: context })
  const attempt = (encryption_context: unknown): Promise<Called> =>
    open(server, json['ciphertext_blob'], { encryption_context })
  const reversed = { object: context.object, bucket: context.bucket }
  for (const same of [context, reversed])
    assert.equal((await attempt(same)).json['plaintext_key'], json['plaintext_key'])
  const messages = new Set<unknown>()
  for (const other of [
    {},
    null,
    { bucket: context.bucket },
    { ...context, more: '' },
    { ...context, object: 'other' },
    { bucket: context.object, object: context.bucket },
  ]) {
    const { status, json: refusal } = await attempt(other)
    assert.deepEqual([status, refusal['code']], [400, 'InvalidRequest'], JSON.stringify(other))
    messages.add(refusal['message'])
  }
  const blob = bytesOf(json['ciphertext_blob'])
  for (const at of [0, 20, blob.length - 1]) {
    const damaged = Buffer.from(blob)
    damaged[at] = (damaged[at] ?? 0) ^ 1
    const { status, json: refusal } = await open(server, damaged.toString('base64'), {
      encryption_context: context,
    })
    assert.equal(status, 400)
    messages.add(refusal['message'])
  }
  for (const short of ['', 'AAAA', blob.subarray(1).toString('base64')]) {
    const { status, json: refusal } = await open(server, short, { encryption_context: context })
    assert.equal(status, 400)
    messages.add(refusal['message'])
  }
  assert.equal(messages.size, 1)
  assert.equal((await open(server, 'no base64')).status, 400)
})

test('54: W3: a context that is left out is the empty one, and no other', async (t) => {
  const server = await withKeys(t)
  const { json } = await generate(server)
  assert.equal(
    (await open(server, json['ciphertext_blob'], { encryption_context: {} })).status,
    200,
  )
  assert.equal(
    (await open(server, json['ciphertext_blob'], { encryption_context: { a: '' } })).status,
    400,
  )
})

test('55: a blob opens under its own key only', async (t) => {
  const server = await withKeys(t)
  const { json } = await generate(server)
  assert.equal((await open(server, json['ciphertext_blob'], { key_id: 'other' })).status, 400)
  assert.equal((await open(server, json['ciphertext_blob'], { key_id: 'missing' })).status, 404)
})

test('56: a missing key is 404, one that is to be deleted 409, and nothing runs is 503', async (t) => {
  const server = await withKeys(t)
  assert.equal((await generate(server, { key_id: 'missing' })).status, 404)
  await server.call('DELETE', '/keys/delete', { key_id: 'k' })
  const pending = await generate(server)
  assert.deepEqual([pending.status, pending.json['code']], [409, 'Conflict'])
  assert.equal((await server.call('POST', '/stop')).status, 200)
  const stopped = await generate(server, { key_id: 'other' })
  assert.deepEqual(
    [stopped.status, stopped.json['code'], stopped.json['message']],
    [503, 'ServiceUnavailable', 'kms service is not running'],
  )
  // The KES API goes on.
  const { status } = await ask(server.port, server.admin, 'PUT', '/v1/key/generate/other')
  assert.equal(status, 200)
})

test('57: 1,000 data keys at a time are 1,000 different ones', async (t) => {
  const server = await withKeys(t)
  const seen = new Set<unknown>()
  for (let round = 0; round < 10; round++) {
    const made = await Promise.all(Array.from({ length: 100 }, () => generate(server)))
    for (const { status, json, body } of made) {
      assert.equal(status, 200, body)
      seen.add(json['plaintext_key'])
      // Salt and nonce are the last 28 bytes.
      seen.add(bytesOf(json['ciphertext_blob']).subarray(-28).toString('hex'))
    }
  }
  assert.equal(seen.size, 2000)
})

test('W12: a blob opens over the KES API, with the context as text, and the other way round', async (t) => {
  const server = await withKeys(t)
  const context = { object: 'ä"\u2028', bucket: 'b' }
  const text = '{"bucket":"b","object":"ä\\"\u2028"}'
  const kes = async (path: string, body: Fields): Promise<Fields> =>
    JSON.parse(
      (await ask(server.port, server.admin, 'PUT', path, { body: JSON.stringify(body) })).body,
    )
  const base64 = Buffer.from(text).toString('base64')
  for (const path of ['/keys/enable', '/keys/rotate']) {
    await server.call('POST', path, { key_id: 'k' })
    const { json } = await generate(server, { encryption_context: context })
    const opened = await kes('/v1/key/decrypt/k', {
      ciphertext: json['ciphertext_blob'],
      context: base64,
    })
    assert.equal(opened['plaintext'], json['plaintext_key'])
    const made = await kes('/v1/key/generate/k', { context: base64 })
    const back = await open(server, made['ciphertext'], { encryption_context: context })
    assert.equal(back.json['plaintext_key'], made['plaintext'])
  }
})

test('without a key a blob is opened with the default key', async (t) => {
  const server = await startRustfs(t, {
    rustfs: 'start: { backend_type: keystore, default_key_id: k }',
  })
  await server.call('POST', '/keys', { Tags: { name: 'k' } })
  const { json } = await generate(server)
  const blob = { ciphertext_blob: json['ciphertext_blob'] }
  const opened = await server.call('POST', '/decrypt-data-key', blob)
  assert.deepEqual([opened.status, opened.json['key_id']], [200, 'k'])
  const other = await withKeys(t)
  assert.equal((await other.call('POST', '/decrypt-data-key', blob)).status, 400)
})

test('equal contexts are one text, and different ones are two', () => {
  const texts = fc.array(
    fc.tuple(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
    {
      maxLength: 5,
    },
  )
  fc.assert(
    fc.property(texts, texts, (a, b) => {
      const [one, two] = [new Map(a), new Map(b)]
      const shuffled = new Map([...one].toReversed())
      assert.deepEqual(contextOf(one), contextOf(shuffled))
      const isSame =
        one.size === two.size && [...one].every(([name, value]) => two.get(name) === value)
      assert.equal(contextOf(one).equals(contextOf(two)), isSame)
      assert.deepEqual(
        new Map(Object.entries(JSON.parse(contextOf(one).toString()))),
        new Map(Object.entries(Object.fromEntries(one))),
      )
    }),
    RUNS,
  )
})

test('a context is sorted by the bytes of its names', () => {
  // In UTF-16 the second would come first.
  const context = new Map([
    ['\u{1f511}', '1'],
    ['\uff5e', '2'],
    ['b', '3'],
    ['a', '4'],
  ])
  assert.equal(contextOf(context).toString(), '{"a":"4","b":"3","\uff5e":"2","\u{1f511}":"1"}')
  assert.equal(contextOf(new Map()).toString(), '{}')
})
