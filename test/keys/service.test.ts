import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { KesError } from '#src/errors.js'
import { DamagedKeyError } from '#src/keys/codec.js'
import { KeyService } from '#src/keys/service.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { parseListing } from '#src/names.js'
import { bytes, PATIENT } from '../support/bytes.ts'
import { decodeKey, entry } from '../support/keys.ts'
import { FakeStore } from '../support/store.ts'

const EXPIRY = { any: 3_600_000, unused: 3_600_000, offline: 0, changes: 0 }
const DOWN = new KeyStoreError('unreachable', 'nobody there')

function scene(t: TestContext): { store: FakeStore; keys: KeyService } {
  const store = new FakeStore()
  const keys = new KeyService(store, EXPIRY)
  t.after(() => keys.close())
  return { store, keys }
}

test('a new key is an AES256 key with an HMAC key, a date and a maker', async (t) => {
  const { store, keys } = scene(t)
  const before = Math.floor(Date.now() / 1000)
  await keys.create('a', 'b'.repeat(64), PATIENT)
  const key = decodeKey(store.entries.get('a') ?? assert.fail())
  assert.equal(key.cipher, 'AES256')
  assert.equal(key.createdBy, 'b'.repeat(64))
  assert.ok(key.createdAt.seconds >= before)
  assert.equal(key.hmac(bytes('m')).length, 32)
})

test('two new keys have nothing in common', async (t) => {
  const { store, keys } = scene(t)
  for (const name of ['a', 'b']) await keys.create(name, '', PATIENT)
  const [a, b] = ['a', 'b'].map((name) => decodeKey(store.entries.get(name) ?? assert.fail()))
  assert.notDeepEqual(a?.hmac(bytes('m')), b?.hmac(bytes('m')))
  const sealed = a?.encrypt(bytes('p'), bytes('')) ?? assert.fail()
  assert.throws(() => b?.decrypt(sealed, bytes('')), { code: 'DECRYPT' })
})

test('a key that exists is not made anew', async (t) => {
  const { store, keys } = scene(t)
  store.entries.set('a', entry())
  await assert.rejects(keys.create('a', '', PATIENT), { code: 'KEY_EXISTS', status: 400 })
})

test('an imported key has the secret, the cipher and the HMAC key that were given', async (t) => {
  const { keys } = scene(t)
  const parts = { secret: Buffer.alloc(32, 1), hmacKey: Buffer.alloc(32, 2) }
  await keys.import('a', { cipher: 'ChaCha20', ...parts }, '', PATIENT)
  const twin = decodeKey(entry({ cipher: 'ChaCha20' }))
  const key = await keys.get('a', PATIENT)
  assert.deepEqual(key.hmac(bytes('m')), twin.hmac(bytes('m')))
  assert.equal(key.decrypt(twin.encrypt(bytes('p'), bytes('')), bytes('')).toString(), 'p')
})

test('keys imported without an HMAC key get random ones', async (t) => {
  const { keys } = scene(t)
  const secret = Buffer.alloc(32, 1)
  for (const name of ['a', 'b']) await keys.import(name, { cipher: 'AES256', secret }, '', PATIENT)
  const [a, b] = [await keys.get('a', PATIENT), await keys.get('b', PATIENT)]
  assert.notDeepEqual(a.hmac(bytes('m')), b.hmac(bytes('m')))
})

test('a deleted key is gone from the store', async (t) => {
  const { store, keys } = scene(t)
  await keys.create('a', '', PATIENT)
  await keys.delete('a', PATIENT)
  assert.equal(store.entries.size, 0)
})

test('a delete of what is not there says so', async (t) => {
  const { keys } = scene(t)
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEY_NOT_FOUND', status: 404 })
})

test('trouble with the store has a code for each kind of request, and the trouble as its cause', async (t) => {
  const { store, keys } = scene(t)
  store.failure = DOWN
  const requests = {
    KEYSTORE_CREATE: keys.create('a', '', PATIENT),
    KEYSTORE_READ: Promise.resolve(keys.get('a', PATIENT)),
    KEYSTORE_DELETE: keys.delete('a', PATIENT),
    KEYSTORE_LIST: keys.list(parseListing(''), PATIENT),
  }
  for (const [code, request] of Object.entries(requests))
    await assert.rejects(request, { name: 'KesError', code, status: 502, cause: DOWN })
})

test('a store that cannot be reached is down at once', async (t) => {
  const { store, keys } = scene(t)
  store.failure = DOWN
  await assert.rejects(keys.list(parseListing(''), PATIENT))
  assert.ok(keys.health.downSince !== undefined)
})

test('a store that denies is not down', async (t) => {
  const { store, keys } = scene(t)
  store.failure = new KeyStoreError('denied', 'go away')
  await assert.rejects(keys.list(parseListing(''), PATIENT))
  assert.equal(keys.health.downSince, undefined)
})

test('a damaged entry is 502, and the cause names it without any part of it', async (t) => {
  const { store, keys } = scene(t)
  for (const text of ['', 'geheim', '{"bytes":"Z2VoZWlt"}', '{"geheim"']) {
    store.entries.set('my-key', bytes(text))
    await assert.rejects(Promise.resolve(keys.get('my-key', PATIENT)), (error) => {
      assert.ok(error instanceof KesError && error.cause instanceof DamagedKeyError)
      assert.deepEqual([error.code, error.message], ['KEYSTORE_READ', 'failed to read key'])
      assert.match(error.cause.message, /keystore entry 'my-key' is damaged/)
      assert.ok(!error.cause.message.includes('geheim'))
      return true
    })
  }
})

test('a damaged entry does not make the store count as down', async (t) => {
  const { store, keys } = scene(t)
  store.entries.set('a', bytes('damaged'))
  await assert.rejects(Promise.resolve(keys.get('a', PATIENT)))
  assert.equal(keys.health.downSince, undefined)
})

test('a request that is past its deadline fails with the deadline’s reason', async (t) => {
  const { store, keys } = scene(t)
  store.gate = new Promise(() => {})
  const aborter = new AbortController()
  const requests = [
    keys.create('a', '', aborter),
    Promise.resolve(keys.get('a', aborter)),
    keys.delete('a', aborter),
    keys.list(parseListing(''), aborter),
  ]
  aborter.abort(new KesError('TIMEOUT'))
  for (const request of requests) await assert.rejects(request, { code: 'TIMEOUT', status: 504 })
})

test('a request that is past its deadline from the start harms nobody', async (t) => {
  const { store, keys } = scene(t)
  store.failure = DOWN
  const late = { signal: AbortSignal.abort(new KesError('TIMEOUT')) }
  await assert.rejects(keys.create('a', '', late), { code: 'TIMEOUT' })
  await assert.rejects(keys.list(parseListing(''), late), { code: 'TIMEOUT' })
  await assert.rejects(Promise.resolve(keys.get('a', late)), { code: 'TIMEOUT' })
})

test('a fetch that its store has given up after its limit is trouble with the store', async (t) => {
  const { store, keys } = scene(t)
  store.failure = new DOMException('The operation was aborted due to timeout', 'TimeoutError')
  await assert.rejects(Promise.resolve(keys.get('a', PATIENT)), (error) => {
    assert.ok(error instanceof KesError && error.cause instanceof KeyStoreError)
    assert.deepEqual([error.code, error.cause.failure], ['KEYSTORE_READ', 'unreachable'])
    return true
  })
  assert.ok(keys.health.downSince !== undefined)
})

test('entries that are no keys are not listed', async (t) => {
  const { store, keys } = scene(t)
  const strange = ['-1-0a1b2c3d-a', '_', 'a-', 'a.b', 'x'.repeat(81), '.hidden', 'ä']
  for (const name of ['a', 'b', ...strange]) store.entries.set(name, entry())
  assert.deepEqual(await keys.list(parseListing(''), PATIENT), { names: ['a', 'b'] })
})

test('entries that are no keys do not make a page shorter', async (t) => {
  const { store, keys } = scene(t)
  const name = (index: number): string => `key${String(index).padStart(5, '0')}`
  for (let index = 0; index < 3000; index++) store.entries.set(`${name(index)}-`, entry())
  for (let index = 0; index < 1500; index++) store.entries.set(name(index), entry())
  const first = await keys.list(parseListing('key'), PATIENT)
  assert.deepEqual([first.names.length, first.next], [1024, name(1024)])
  const rest = await keys.list({ prefix: 'key', from: first.next ?? '' }, PATIENT)
  assert.deepEqual([rest.names.length, rest.next], [476, undefined])
})

test('exactly one page of keys is all there is', async (t) => {
  const { store, keys } = scene(t)
  for (let index = 0; index < 1024; index++) store.entries.set(`key${index}`, entry())
  for (let index = 0; index < 100; index++) store.entries.set(`key-${index}-`, entry())
  const page = await keys.list(parseListing(''), PATIENT)
  assert.deepEqual([page.names.length, page.next], [1024, undefined])
})

test('closing the service closes the store', async () => {
  const store = new FakeStore()
  await new KeyService(store, EXPIRY).close()
  assert.equal(store.isClosed, true)
})
