import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'

import { KesError } from '#src/errors.js'
import type { CacheExpiry } from '#src/keys/cache.js'
import type { Key } from '#src/keys/key.js'
import { KeyService } from '#src/keys/service.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, PATIENT } from '../support/bytes.ts'
import { entry } from '../support/keys.ts'
import { eventually } from '../support/process.ts'
import { FakeStore, gate } from '../support/store.ts'

const DOWN = new KeyStoreError('unreachable', 'nobody there')
const LONG = 3_600_000
/** Generous beside the times of 60 ms that tests configure. */
const PATIENCE = 200

interface Scene {
  readonly store: FakeStore
  readonly keys: KeyService
  readonly get: (name?: string) => Promise<Key>
}

/** A service on a store that has the key `a`. */
function scene(t: TestContext, expiry: Partial<CacheExpiry> = {}): Scene {
  const store = new FakeStore()
  store.entries.set('a', entry())
  const keys = new KeyService(store, { any: LONG, unused: LONG, offline: 0, changes: 0, ...expiry })
  t.after(() => keys.close())
  return { store, keys, get: async (name = 'a') => keys.get(name, PATIENT) }
}

/** Nobody but the server itself asks whether the store is back. */
async function untilUp(keys: KeyService): Promise<void> {
  await eventually('the store is back', () => keys.health.downSince === undefined)
}

test('a cached key is there at once', async (t) => {
  const { keys, get } = scene(t)
  const key = await get()
  assert.equal(keys.get('a', PATIENT), key)
})

test('100 concurrent requests for one key make one fetch', async (t) => {
  const { store, get } = scene(t)
  const keys = await Promise.all(Array.from({ length: 100 }, () => get()))
  assert.equal(store.calls.get, 1)
  assert.equal(new Set(keys).size, 1)
})

test('requests for different keys do not wait for each other', async (t) => {
  const { store, get } = scene(t)
  const { passed, open } = gate()
  t.after(open)
  store.gate = passed
  const slow = get()
  store.gate = undefined
  store.entries.set('b', entry())
  await get('b')
  open()
  await slow
})

test('a failed fetch is not remembered', async (t) => {
  const { store, get } = scene(t)
  store.failure = DOWN
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
  store.failure = undefined
  await get()
})

test('a key that does not exist is asked for each time', async (t) => {
  const { store, get } = scene(t)
  await assert.rejects(get('b'), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(get('b'), { code: 'KEY_NOT_FOUND' })
  assert.equal(store.calls.get, 2)
})

const SOON = { timeout: 30_000 }

test(
  'a key is fetched again when it was cached for too long, however often it is used',
  SOON,
  async (t) => {
    const { store, get } = scene(t, { any: 60 })
    await get()
    while (store.calls.get < 2) {
      await get()
      await setTimeout(5)
    }
  },
)

test('a key is fetched again when it was not used for too long', async (t) => {
  const { store, get } = scene(t, { unused: 60 })
  await get()
  await setTimeout(PATIENCE)
  await get()
  assert.equal(store.calls.get, 2)
})

test('a key that is used all the time stays', async (t) => {
  const { store, get } = scene(t, { unused: 2000 })
  for (let i = 0; i < 15; i++) {
    await get()
    await setTimeout(10)
  }
  assert.equal(store.calls.get, 1)
})

test('expired keys leave the memory although nobody asks for them', async (t) => {
  const { keys, get } = scene(t, { unused: 60 })
  await get()
  assert.equal(keys.cache.size, 1)
  await eventually('they go', () => keys.cache.size === 0)
})

test('without an offline time an expired key is gone while the store is down', async (t) => {
  const { store, get } = scene(t, { any: 60 })
  await get()
  store.failure = DOWN
  await setTimeout(PATIENCE)
  await assert.rejects(get(), { code: 'KEYSTORE_READ', status: 502, message: 'failed to read key' })
})

test('without an offline time a fresh key is served while the store is down', async (t) => {
  const { store, get } = scene(t)
  await get()
  store.failure = DOWN
  await get()
})

for (const expiry of ['any', 'unused'] as const) {
  test(`while the store is down a key is served beyond ${expiry}`, async (t) => {
    const { store, get } = scene(t, { [expiry]: 60, offline: LONG })
    const key = await get()
    store.failure = DOWN
    await setTimeout(PATIENCE)
    assert.equal(await get(), key)
  })
}

test('while the store is down requests do not ask it again and again', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  await get()
  store.failure = DOWN
  await setTimeout(PATIENCE)
  for (let i = 0; i < 20; i++) await get()
  assert.equal(store.calls.get, 2)
})

test('a key that was never cached is not served while the store is down', async (t) => {
  const { store, get } = scene(t, { offline: LONG })
  await get()
  store.failure = DOWN
  await assert.rejects(get('b'), { code: 'KEYSTORE_READ' })
})

test('a store that is down for longer than configured ends it', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: 600 })
  const key = await get()
  store.failure = DOWN
  await setTimeout(100)
  assert.equal(await get(), key)
  await setTimeout(900)
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
})

test('expired keys stay in memory while the store is down, and go when it is back', async (t) => {
  const { store, keys, get } = scene(t, { any: 60, offline: LONG })
  await get()
  store.failure = DOWN
  await setTimeout(5300)
  assert.equal(keys.cache.size, 1)
  store.failure = undefined
  await eventually('they go', () => keys.cache.size === 0)
  assert.equal(keys.health.downSince, undefined)
})

test('a key that has just expired is there when the store goes down next', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  const key = await get()
  // The sweeper came by meanwhile.
  await setTimeout(1300)
  store.failure = DOWN
  assert.equal(await get(), key)
})

test('a store that is back is asked again', async (t) => {
  const { store, keys, get } = scene(t, { any: 60, offline: LONG })
  const old = await get()
  store.failure = DOWN
  await setTimeout(PATIENCE)
  assert.equal(await get(), old)
  store.failure = undefined
  await untilUp(keys)
  assert.notEqual(await get(), old)
})

test('a store that denies is not down: no key is served beyond its time', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  await get()
  await setTimeout(PATIENCE)
  store.failure = new KeyStoreError('denied', 'go away')
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
})

test('a key that the store says is gone is gone, also when the store is down next', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  await get()
  store.entries.delete('a')
  await setTimeout(PATIENCE)
  await assert.rejects(get(), { code: 'KEY_NOT_FOUND' })
  store.failure = DOWN
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
})

test('a key that the store says is gone is gone, also when somebody just found the store down', async (t) => {
  const { store, keys, get } = scene(t, { any: 60, offline: LONG })
  await get()
  store.entries.delete('a')
  await setTimeout(PATIENCE)
  const { passed, open } = gate()
  store.answerGate = passed
  const outcome = get()
  keys.health.reportDown()
  open()
  await assert.rejects(outcome, { code: 'KEY_NOT_FOUND' })
})

test('a key whose entry is damaged is not served from memory when the store is down next', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  await get()
  store.entries.set('a', bytes('damaged'))
  await setTimeout(PATIENCE)
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
  store.failure = DOWN
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
})

test('a deleted key is gone at once', async (t) => {
  const { keys, get } = scene(t)
  await get()
  await keys.delete('a', PATIENT)
  await assert.rejects(get(), { code: 'KEY_NOT_FOUND' })
})

test('a key that is deleted while it is fetched is gone at once', async (t) => {
  const { store, keys, get } = scene(t)
  const { passed, open } = gate()
  store.answerGate = passed
  const early = get()
  store.answerGate = undefined
  await keys.delete('a', PATIENT)
  await assert.rejects(get(), { code: 'KEY_NOT_FOUND' })
  open()
  // Who asked before the deletion may still get it; who asks afterwards may not.
  await Promise.allSettled([early])
  await assert.rejects(get(), { code: 'KEY_NOT_FOUND' })
})

test('a key that could not be deleted is served while the store is down, and asked for when it is back', async (t) => {
  const { store, keys, get } = scene(t)
  const key = await get()
  store.failure = DOWN
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEYSTORE_DELETE' })
  assert.equal(await get(), key)
  // The second is the deletion's own.
  assert.equal(store.calls.get, 2)
  store.failure = undefined
  await untilUp(keys)
  assert.notEqual(await get(), key)
  assert.equal(store.calls.get, 3)
})

test('a deletion that failed keeps no key for longer than configured', async (t) => {
  const { store, keys, get } = scene(t, { any: 60 })
  await get()
  store.failure = DOWN
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEYSTORE_DELETE' })
  await setTimeout(PATIENCE)
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
})

test('a deletion whose answer was lost takes effect here when the store is back', async (t) => {
  const { store, keys, get } = scene(t, { any: 60, offline: LONG })
  const key = await get()
  store.entries.delete('a')
  store.failure = DOWN
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEYSTORE_DELETE' })
  await setTimeout(PATIENCE)
  assert.equal(await get(), key)
  store.failure = undefined
  await untilUp(keys)
  await assert.rejects(get(), { code: 'KEY_NOT_FOUND' })
})

test('a key that a store refused to delete is asked for again', async (t) => {
  const { store, keys, get } = scene(t)
  await get()
  store.failure = new KeyStoreError('failed', 'disk full')
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEYSTORE_DELETE' })
  await assert.rejects(get(), { code: 'KEYSTORE_READ' })
  store.failure = undefined
  await get()
  // One of them is the deletion's own.
  assert.equal(store.calls.get, 4)
})

test('a deletion that is done after its request was given up takes effect all the same', async (t) => {
  const { store, keys, get } = scene(t)
  await get()
  const { passed, open } = gate()
  store.answerGate = passed
  const aborter = new AbortController()
  const deletion = keys.delete('a', aborter)
  aborter.abort(new KesError('TIMEOUT'))
  await assert.rejects(deletion, { code: 'TIMEOUT' })
  keys.health.reportDown()
  await get()
  open()
  await setTimeout(0)
  assert.equal(keys.cache.size, 0)
})

test('a key that is fetched while its deletion fails is not taken for certain', async (t) => {
  const { store, keys, get } = scene(t)
  const { passed, open } = gate()
  store.answerGate = passed
  const early = get()
  store.answerGate = undefined
  await setTimeout(0)
  store.failure = new KeyStoreError('failed', 'no idea')
  await assert.rejects(keys.delete('a', PATIENT), { code: 'KEYSTORE_DELETE' })
  store.failure = undefined
  open()
  await early
  await get()
  // One of them is the deletion's own.
  assert.equal(store.calls.get, 3)
})

test('a key is served soon when the store has begun to hang, long before the store is given up', async (t) => {
  const { store, keys, get } = scene(t, { any: 60, offline: LONG })
  const key = await get()
  await setTimeout(PATIENCE)
  const { passed, open } = gate()
  t.after(open)
  store.gate = passed
  // The fetch itself is given up after 10 s.
  const served: Key[] = []
  for (let i = 0; i < 20; i++) {
    const hasty = { signal: AbortSignal.timeout(6000) }
    void Promise.resolve(keys.get('a', hasty)).then((one) => served.push(one))
  }
  await eventually('all are served', () => served.length === 20)
  assert.deepEqual(new Set(served), new Set([key]))
  assert.deepEqual([store.calls.get, store.calls.status], [2, 1])
  assert.equal(keys.get('a', PATIENT), key)
})

test('a store that is slow, but there, is waited for', async (t) => {
  const { store, get } = scene(t, { any: 60, offline: LONG })
  const key = await get()
  await setTimeout(PATIENCE)
  const { passed, open } = gate()
  store.answerGate = passed
  store.status = async () => {}
  const anew = get()
  await setTimeout(1000)
  open()
  assert.notEqual(await anew, key)
})

test('a key made anew under the name of a deleted one does not open its ciphertexts', async (t) => {
  const { keys, get } = scene(t)
  const sealed = (await get()).encrypt(bytes('plaintext'), bytes(''))
  await keys.delete('a', PATIENT)
  await keys.create('a', '', PATIENT)
  const anew = await get()
  assert.throws(() => anew.decrypt(sealed, bytes('')), { code: 'DECRYPT' })
})

test('a key made anew under a name that another server deleted takes the old one’s place', async (t) => {
  const { store, keys, get } = scene(t)
  const old = await get()
  store.entries.delete('a')
  await keys.create('a', '', PATIENT)
  assert.notEqual(await get(), old)
})

test('a key that was just created is found, also by who joins a search from before', async (t) => {
  const { store, keys, get } = scene(t)
  const { passed, open } = gate()
  store.answerGate = passed
  const early = get('b')
  store.answerGate = undefined
  await keys.create('b', '', PATIENT)
  const late = get('b')
  open()
  await assert.rejects(early, { code: 'KEY_NOT_FOUND' })
  await late
})

test('who gives up waiting does not end the fetch of the others', async (t) => {
  const { store, keys, get } = scene(t)
  const { passed, open } = gate()
  store.gate = passed
  const aborter = new AbortController()
  const hasty = Promise.resolve(keys.get('a', aborter))
  const patient = get()
  aborter.abort(new Error('too late'))
  await assert.rejects(hasty, /too late/)
  open()
  await patient
  assert.equal(store.calls.get, 1)
})

test('hits and misses are counted', async (t) => {
  const store = new FakeStore()
  store.entries.set('a', entry())
  const counts = { hits: 10, misses: 20 }
  const keys = new KeyService(
    store,
    { any: LONG, unused: LONG, offline: 0, changes: 0 },
    { counts },
  )
  t.after(() => keys.close())
  for (let i = 0; i < 3; i++) await keys.get('a', PATIENT)
  assert.deepEqual(counts, { hits: 12, misses: 21 })
})

test('a closed cache holds no keys', async (t) => {
  const { keys, get } = scene(t)
  await get()
  keys.cache.close()
  assert.equal(keys.cache.size, 0)
})

test('beyond its limit the cache forgets the key that was fetched longest ago', async (t) => {
  const store = new FakeStore()
  for (const name of ['a', 'b', 'c']) store.entries.set(name, entry())
  const keys = new KeyService(
    store,
    { any: LONG, unused: LONG, offline: 0, changes: 0 },
    { maxKeys: 2 },
  )
  t.after(() => keys.close())
  for (const name of ['a', 'b', 'c']) await keys.get(name, PATIENT)
  assert.deepEqual([keys.cache.size, keys.cache.evictions], [2, 1])
  assert.equal(keys.cache.peek('a'), undefined)
  assert.notEqual(keys.cache.peek('b'), undefined)
  assert.notEqual(keys.cache.peek('c'), undefined)
})

test('a cleared cache asks the keystore again', async (t) => {
  const { store, keys, get } = scene(t)
  await get()
  keys.cache.clear()
  assert.equal(keys.cache.size, 0)
  await get()
  assert.equal(store.calls.get, 2)
})

test('while the keystore is down, clearing takes no key away', async (t) => {
  const { store, keys, get } = scene(t)
  const key = await get()
  store.failure = DOWN
  keys.health.reportDown()
  keys.cache.clear()
  assert.equal(await get(), key)
  store.failure = undefined
  await untilUp(keys)
  await get()
  assert.equal(store.calls.get, 2)
})
