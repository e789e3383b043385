/** The life of a key (key-lifecycle.md) by way of the service, on a store in memory. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'

import fc from 'fast-check'

import { versionOf } from '#src/crypto/header.js'
import type { KesError } from '#src/errors.js'
import { KeyService, type KeyServiceOptions } from '#src/keys/service.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, PATIENT } from '../support/bytes.ts'
import { decodeKey } from '../support/keys.ts'
import { FakeStore, gate } from '../support/store.ts'

const EXPIRY = { any: 3_600_000, unused: 3_600_000, offline: 0, changes: 0 }
const BY = 'b'.repeat(64)
const NONE = Buffer.alloc(0)

interface Scene {
  readonly store: FakeStore
  readonly keys: KeyService
}

/** A service on a store with the key `a`. */
async function scene(t: TestContext, options: KeyServiceOptions = {}): Promise<Scene> {
  const store = new FakeStore()
  const keys = another(t, store, options)
  await keys.create('a', BY, PATIENT)
  return { store, keys }
}

/** One more service on a store: another server. */
function another(t: TestContext, store: FakeStore, options: KeyServiceOptions = {}): KeyService {
  const keys = new KeyService(store, EXPIRY, options)
  t.after(() => keys.close())
  return keys
}

function records(store: FakeStore): string[] {
  return [...store.entries.keys()].filter((name) => name.startsWith('-'))
}

test('what a key sealed before a rotation opens afterwards, here and on another server', async (t) => {
  const { store, keys } = await scene(t)
  const old = (await keys.get('a', PATIENT)).encrypt(bytes('old'), bytes('context'))
  const rotated = await keys.rotate('a', BY, PATIENT)
  assert.equal(rotated.version, 2)
  for (const service of [keys, another(t, store)]) {
    const key = await service.get('a', PATIENT)
    assert.equal(key.version, 2)
    assert.equal(key.decrypt(old, bytes('context')).toString(), 'old')
    const fresh = key.encrypt(bytes('new'), bytes('context'))
    assert.equal(rotated.decrypt(fresh, bytes('context')).toString(), 'new')
    assert.throws(() => key.decrypt(fresh, bytes('other')), { code: 'DECRYPT' })
  }
})

test('a rotation leaves the entry of the key as it was', async (t) => {
  const { store, keys } = await scene(t)
  const entry = store.entries.get('a')
  const old = (await keys.get('a', PATIENT)).encrypt(bytes('old'), NONE)
  await keys.rotate('a', BY, PATIENT)
  assert.equal(store.entries.get('a'), entry)
  const goReader = decodeKey(entry ?? assert.fail())
  assert.equal(goReader.decrypt(old, NONE).toString(), 'old')
})

test('a disabled key seals nothing, but opens', async (t) => {
  const { keys } = await scene(t)
  const sealed = (await keys.get('a', PATIENT)).encrypt(bytes('text'), NONE)
  const key = await keys.disable('a', BY, {}, PATIENT)
  const refused = { code: 'KEY_DISABLED', status: 409, message: 'key is disabled' }
  assert.throws(() => key.encrypt(NONE, NONE), refused)
  assert.throws(() => key.dataKey(NONE), refused)
  assert.throws(() => key.rewrap(sealed, NONE), refused)
  await assert.rejects(keys.rotate('a', BY, PATIENT), refused)
  assert.equal(key.decrypt(sealed, NONE).toString(), 'text')
  assert.equal(key.hmac(NONE).length, 32)
})

test('a key that denies decryption opens nothing until it is enabled', async (t) => {
  const { keys } = await scene(t)
  const sealed = (await keys.get('a', PATIENT)).encrypt(bytes('text'), NONE)
  await keys.disable('a', BY, { denyDecrypt: true }, PATIENT)
  const key = await keys.schedule('a', BY, 7, PATIENT)
  assert.equal(key.denyDecrypt, true)
  assert.throws(() => key.decrypt(sealed, NONE), { code: 'KEY_DISABLED' })
  assert.throws(() => key.hmac(NONE), { code: 'KEY_DISABLED' })
  await keys.restore('a', BY, PATIENT)
  const enabled = await keys.enable('a', BY, PATIENT)
  assert.equal(enabled.decrypt(sealed, NONE).toString(), 'text')
})

test('while its deletion is scheduled a key opens and is edited, nothing else', async (t) => {
  const { keys } = await scene(t)
  const sealed = (await keys.get('a', PATIENT)).encrypt(bytes('text'), NONE)
  const before = Math.floor(Date.now() / 1000)
  const key = await keys.schedule('a', BY, 7, PATIENT)
  assert.equal(key.state, 'pending-deletion')
  assert.ok((key.deletionDate?.seconds ?? 0) >= before + 7 * 86_400)
  assert.equal(key.decrypt(sealed, NONE).toString(), 'text')
  assert.equal(key.hmac(NONE).length, 32)
  await keys.edit('a', BY, { description: 'soon gone' }, PATIENT)
  const refused = { code: 'KEY_PENDING', status: 409, message: 'key is pending deletion' }
  assert.throws(() => key.encrypt(NONE, NONE), refused)
  assert.throws(() => key.rewrap(sealed, NONE), refused)
  for (const change of [
    keys.rotate('a', BY, PATIENT),
    keys.enable('a', BY, PATIENT),
    keys.disable('a', BY, {}, PATIENT),
    keys.schedule('a', BY, 8, PATIENT),
  ])
    await assert.rejects(change, refused)
  await assert.rejects(keys.create('a', BY, PATIENT), { code: 'KEY_EXISTS' })
})

test('a restored key is in the state that it had', async (t) => {
  const { keys } = await scene(t)
  await keys.disable('a', BY, {}, PATIENT)
  await keys.schedule('a', BY, 30, PATIENT)
  const key = await keys.restore('a', BY, PATIENT)
  assert.deepEqual([key.state, key.deletionDate], ['disabled', undefined])
  await assert.rejects(keys.restore('a', BY, PATIENT), {
    code: 'KEY_NOT_PENDING',
    status: 409,
    message: 'key is not pending deletion',
  })
})

test('a deletion in fewer than 7 or more than 30 days is refused', async (t) => {
  const { keys } = await scene(t)
  for (const days of [6, 31, 7.5, 0, -7, NaN])
    await assert.rejects(keys.schedule('a', BY, days, PATIENT), {
      code: 'BAD_REQUEST',
      status: 400,
    })
})

test('a change of nothing is not recorded', async (t) => {
  const { store, keys } = await scene(t)
  await keys.enable('a', BY, PATIENT)
  await keys.edit('a', BY, { tags: new Map([['gone', null]]), description: null }, PATIENT)
  assert.deepEqual(records(store), [])
  await keys.disable('a', BY, { denyDecrypt: true }, PATIENT)
  const key = await keys.disable('a', BY, {}, PATIENT)
  assert.equal(key.denyDecrypt, true)
  assert.equal(records(store).length, 1)
})

test('description and tags are changed one by one', async (t) => {
  const { keys } = await scene(t)
  const tags = new Map([
    ['team', 'a'],
    ['cost', '1'],
  ])
  await keys.edit('a', BY, { description: 'text', tags }, PATIENT)
  const key = await keys.edit('a', BY, { tags: new Map([['team', null]]) }, PATIENT)
  assert.deepEqual([key.description, [...key.tags]], ['text', [['cost', '1']]])
  assert.equal(key.isPlain, false)
})

test('a key is made with its description and tags, or not at all', async (t) => {
  const { store, keys } = await scene(t)
  const about = { description: 'text', tags: new Map([['team', 'a']]) }
  await keys.create('b', BY, PATIENT, about)
  const key = await another(t, store).get('b', PATIENT)
  assert.deepEqual([key.description, key.tags.get('team')], ['text', 'a'])
  const before = [...store.entries.keys()]
  await assert.rejects(keys.create('b', BY, PATIENT, about), { code: 'KEY_EXISTS' })
  assert.deepEqual([...store.entries.keys()], before)
})

test('a deleted key leaves nothing in the store', async (t) => {
  const { store, keys } = await scene(t)
  for (let i = 0; i < 20; i++) await keys.rotate('a', BY, PATIENT)
  await keys.delete('a', PATIENT)
  assert.deepEqual([...store.entries.keys()], [])
})

test('a key that is made anew has nothing of the one before', async (t) => {
  const { store, keys } = await scene(t)
  await keys.disable('a', BY, {}, PATIENT)
  // Deleted by a Go server: its record stays.
  store.entries.delete('a')
  await keys.create('a', BY, PATIENT)
  const key = await another(t, store).get('a', PATIENT)
  assert.equal(key.isPlain, true)
})

test('an HMAC stays the same by a rotation, and is to be had of each version', async (t) => {
  const { keys } = await scene(t)
  const before = (await keys.get('a', PATIENT)).hmac(bytes('m'))
  const key = await keys.rotate('a', BY, PATIENT)
  assert.deepEqual(key.hmac(bytes('m')), before)
  assert.deepEqual(key.hmac(bytes('m'), 1), before)
  assert.notDeepEqual(key.hmac(bytes('m'), 2), before)
  for (const version of [0, 3, -1])
    assert.throws(() => key.hmac(bytes('m'), version), { code: 'VERSION_NOT_FOUND', status: 404 })
})

test('a ciphertext of a version that this server has not seen yet opens at once', async (t) => {
  const { store, keys } = await scene(t)
  const other = another(t, store)
  await other.get('a', PATIENT)
  const sealed = (await keys.rotate('a', BY, PATIENT)).encrypt(bytes('text'), NONE)
  const key = await other.get('a', PATIENT, 2)
  assert.equal(key.decrypt(sealed, NONE).toString(), 'text')
})

test('without the right to records keys are plain, and changes are 501', async (t) => {
  const { store, keys } = await scene(t, { hasRecords: false })
  await keys.get('a', PATIENT)
  assert.equal(store.calls.record, 0)
  for (const change of [
    () => keys.rotate('a', BY, PATIENT),
    () => keys.create('b', BY, PATIENT, { description: 'text' }),
  ])
    await assert.rejects(change, (error: KesError) => {
      assert.deepEqual(
        [error.code, error.status, error.message],
        ['UNSUPPORTED', 501, 'operation not supported by the keystore'],
      )
      assert.ok(error.cause instanceof KeyStoreError)
      return true
    })
  await keys.delete('a', PATIENT)
  assert.equal(store.entries.size, 0)
})

test('1,000 sequences of rotations, rewraps and decryptions lose nothing', async () => {
  const step = fc.oneof(
    fc.constant('rotate' as const),
    fc.constant('rewrap' as const),
    fc.constant('seal' as const),
    fc.constant('open' as const),
  )
  const steps = fc.array(fc.tuple(step, fc.nat(1_000_000)), { maxLength: 12 })
  const cipher = fc.constantFrom('AES256' as const, 'ChaCha20' as const)
  await fc.assert(
    fc.asyncProperty(steps, cipher, async (sequence, cipher) => {
      const store = new FakeStore()
      const keys = new KeyService(store, EXPIRY)
      await keys.import('a', { cipher, secret: Buffer.alloc(32, 1) }, BY, PATIENT)
      const sealed: { ciphertext: Buffer; plaintext: Buffer; context: Buffer; version: number }[] =
        []
      let rotations = 0
      for (const [what, number] of sequence) {
        const key = await keys.get('a', PATIENT)
        const one = sealed[number % Math.max(sealed.length, 1)]
        if (what === 'rotate') {
          await keys.rotate('a', BY, PATIENT)
          rotations++
        } else if (what === 'seal' || one === undefined) {
          const [plaintext, context] = [bytes(`text ${number}`), bytes(`context ${number % 3}`)]
          const ciphertext = key.encrypt(plaintext, context)
          sealed.push({ ciphertext, plaintext, context, version: key.version })
        } else if (what === 'rewrap') {
          one.ciphertext = key.rewrap(one.ciphertext, one.context)
          one.version = key.version
        } else assert.deepEqual(key.decrypt(one.ciphertext, one.context), one.plaintext)
      }
      const last = new KeyService(store, EXPIRY)
      const key = await last.get('a', PATIENT)
      const goReader = decodeKey(store.entries.get('a') ?? assert.fail())
      assert.equal(key.version, 1 + rotations)
      for (const { ciphertext, plaintext, context, version } of sealed) {
        assert.equal(versionOf(ciphertext), version)
        assert.deepEqual(key.decrypt(ciphertext, context), plaintext)
        // Who knows Go's format only opens version 1, and nothing else.
        if (version === 1) assert.deepEqual(goReader.decrypt(ciphertext, context), plaintext)
        else assert.throws(() => goReader.decrypt(ciphertext, context), { code: 'DECRYPT' })
      }
      await keys.close()
      await last.close()
    }),
    { numRuns: 1000 },
  )
})

test('of 16 changes by two servers at once none is lost, and those that were not made are 409', async (t) => {
  for (let round = 0; round < 10; round++) {
    const { store, keys } = await scene(t)
    const other = another(t, store)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, index) => {
        const tags = new Map([[`tag-${index}`, 'x']])
        return (index % 2 === 0 ? keys : other).edit('a', BY, { tags }, PATIENT)
      }),
    )
    const { tags } = await another(t, store).get('a', PATIENT)
    for (const [index, outcome] of outcomes.entries()) {
      assert.equal(tags.has(`tag-${index}`), outcome.status === 'fulfilled', `${index}`)
      if (outcome.status === 'fulfilled') continue
      const { code, status, message } = outcome.reason as KesError
      assert.deepEqual([code, status, message], ['CONFLICT', 409, 'key was changed concurrently'])
    }
    assert.ok(tags.size >= 3)
    assert.equal(records(store).length, tags.size)
  }
})

test('a change whose answer was lost, and that the store tried again, is one change', async (t) => {
  const { store, keys } = await scene(t)
  const create = store.create.bind(store)
  store.create = async (name, value) => {
    await create(name, value)
    return create(name, value)
  }
  const key = await keys.rotate('a', BY, PATIENT)
  assert.equal(key.version, 2)
  assert.equal(records(store).length, 1)
})

test('nothing that was read for a rotation stays in memory, not even when its answer was lost', async (t) => {
  const { store, keys } = await scene(t)
  const get = store.get.bind(store)
  const read: Uint8Array[] = []
  store.get = async (name) => {
    const value = await get(name)
    read.push(value)
    return value
  }
  const create = store.create.bind(store)
  store.create = async (name, value) => {
    await create(name, value)
    await create(name, value)
  }
  await keys.rotate('a', BY, PATIENT)
  assert.equal(read.length, 2)
  for (const value of read) assert.ok(value.every((byte) => byte === 0))
})

test('a record that is made while the chain is read is no gap', async (t) => {
  const { store, keys } = await scene(t)
  for (let i = 0; i < 3; i++) await keys.rotate('a', BY, PATIENT)
  const name = records(store).find((record) => record.startsWith('-2-')) ?? assert.fail()
  const value = store.entries.get(name) ?? assert.fail()
  store.entries.delete(name)
  const get = store.get.bind(store)
  let isMissed = false
  store.get = (asked) => {
    if (asked === name && !isMissed) {
      isMissed = true
      const answer = get(asked)
      store.entries.set(name, value)
      return answer
    }
    return get(asked)
  }
  assert.equal((await another(t, store).get('a', PATIENT)).version, 4)
  store.entries.delete(name)
  await assert.rejects(async () => another(t, store).get('a', PATIENT), { code: 'KEYSTORE_READ' })
})

test('a key that is deleted while it is read is gone, never in an older state', async (t) => {
  const { store, keys } = await scene(t)
  await keys.rotate('a', BY, PATIENT)
  await keys.disable('a', BY, { denyDecrypt: true }, PATIENT)
  const reader = another(t, store)
  const get = store.get.bind(store)
  let reads = 0
  store.get = async (name) => {
    const value = await get(name)
    // After its entry and its first record the key is deleted, and half of its records.
    if (++reads === 2) {
      store.entries.delete('a')
      for (const record of records(store))
        if (record.startsWith('-2-')) store.entries.delete(record)
    }
    return value
  }
  await assert.rejects(async () => reader.get('a', PATIENT), { code: 'KEY_NOT_FOUND' })
})

test('a reader that stalls until a key and its changes are deleted has not found it unchanged', async (t) => {
  const { store, keys } = await scene(t)
  await keys.disable('a', BY, {}, PATIENT)
  const reader = another(t, store)
  const get = store.get.bind(store)
  const { passed, open } = gate()
  let stalled = 0
  store.get = async (name) => {
    if (name.startsWith('-') && stalled++ === 0) await passed
    return get(name)
  }
  const reading = Promise.resolve(reader.get('a', PATIENT))
  reading.catch(() => {})
  await setTimeout(0)
  assert.equal(stalled, 1)
  await keys.delete('a', PATIENT)
  assert.deepEqual([...store.entries.keys()], [])
  open()
  await assert.rejects(reading, { code: 'KEY_NOT_FOUND' })
})

test('changes of a deleted key stay for as long as somebody may have begun to read it', async (t) => {
  const { store, keys } = await scene(t)
  await keys.disable('a', BY, {}, PATIENT)
  const deleted: { name: string; at: number }[] = []
  const remove = store.delete.bind(store)
  store.delete = async (name) => {
    await remove(name)
    deleted.push({ name, at: performance.now() })
  }
  await keys.delete('a', PATIENT)
  assert.equal(deleted.length, 2)
  const [entry, record] = deleted
  assert.equal(entry?.name, 'a')
  // Timers may come a millisecond early.
  assert.ok((record?.at ?? 0) - entry.at >= 249)
})

test('a plain key is deleted without a wait', async (t) => {
  const { store, keys } = await scene(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await keys.delete('a', PATIENT)
  assert.deepEqual([...store.entries.keys()], [])
})

test('a plain key is fetched with two calls, and once it is known with two at the same time', async (t) => {
  const store = new FakeStore()
  const keys = new KeyService(store, { ...EXPIRY, any: 1 })
  t.after(() => keys.close())
  await keys.create('a', BY, PATIENT)
  await keys.get('a', PATIENT)
  assert.deepEqual([store.calls.get, store.calls.record], [1, 1])
  await setTimeout(5)
  const { passed, open } = gate()
  store.gate = passed
  const again = Promise.resolve(keys.get('a', PATIENT))
  await setTimeout(0)
  assert.deepEqual([store.calls.get, store.calls.record], [2, 2])
  open()
  await again
})

/** Two servers on one store of which the second looks for changes this often, and has the key in memory. */
async function fleet(
  t: TestContext,
  changes: number,
): Promise<Scene & { readonly other: KeyService }> {
  const { store, keys } = await scene(t)
  const other = new KeyService(store, { ...EXPIRY, changes })
  t.after(() => other.close())
  await other.get('a', PATIENT)
  return { store, keys, other }
}

test('a change by another server is seen within the time that is configured, however often the key is used', async (t) => {
  const { keys, other } = await fleet(t, 100)
  await keys.disable('a', BY, {}, PATIENT)
  const start = performance.now()
  for (;;) {
    const asked = performance.now()
    const key = await other.get('a', PATIENT)
    if (key.state === 'disabled') break
    assert.ok(asked - start <= 100, 'too late')
    await setTimeout(2)
  }
})

test('a change by another server is seen by whoever comes after that time', async (t) => {
  const { keys, other } = await fleet(t, 20)
  await keys.rotate('a', BY, PATIENT)
  await setTimeout(30)
  assert.equal((await other.get('a', PATIENT)).version, 2)
})

test('a key in use costs one read per check, and nobody waits for it', async (t) => {
  const { store, other } = await fleet(t, 3000)
  const before = { ...store.calls }
  const start = performance.now()
  while (performance.now() - start < 2700) {
    assert.ok(!(other.get('a', PATIENT) instanceof Promise))
    await setTimeout(5)
  }
  assert.equal(store.calls.get, before.get)
  assert.equal(store.calls.record, before.record + 1)
})

test('without a time for changes a key is not looked at again until it expires', async (t) => {
  const { store, keys, other } = await fleet(t, 0)
  await keys.disable('a', BY, {}, PATIENT)
  const before = store.calls.record
  await setTimeout(50)
  assert.equal((await other.get('a', PATIENT)).state, 'enabled')
  assert.equal(store.calls.record, before)
})

test('while the store is down a key in use is served without being looked at', async (t) => {
  const { store, other } = await fleet(t, 20)
  store.failure = new KeyStoreError('unreachable', 'nobody there')
  await setTimeout(30)
  assert.equal((await other.get('a', PATIENT)).state, 'enabled')
})

test('a store that begins to deny records is trouble within that time', async (t) => {
  const { store, other } = await fleet(t, 20)
  const get = store.get.bind(store)
  const denied = new KeyStoreError('denied', 'not allowed')
  store.get = (name) => (name.startsWith('-') ? Promise.reject(denied) : get(name))
  await setTimeout(30)
  await assert.rejects(async () => other.get('a', PATIENT), { code: 'KEYSTORE_READ', status: 502 })
})

test('a change by this server is seen at once', async (t) => {
  const { keys } = await scene(t)
  await keys.get('a', PATIENT)
  await keys.disable('a', BY, {}, PATIENT)
  assert.equal((await keys.get('a', PATIENT)).state, 'disabled')
})
