/** What becomes due, by a clock that the tests turn (key-lifecycle.md, "Destruction"). */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import fc from 'fast-check'

import { parseIdentity } from '#src/crypto/identity.js'
import { EnclaveStore, enclavePrefix } from '#src/keys/enclave-store.js'
import { Enclaves } from '#src/keys/enclaves.js'
import { KeyService } from '#src/keys/service.js'
import { Sweep } from '#src/keys/sweep.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, PATIENT } from '../support/bytes.ts'
import { FakeStore, gate } from '../support/store.ts'

const EXPIRY = { any: 3_600_000, unused: 3_600_000, offline: 0, changes: 0 }
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Both of its clocks go by `pass`; `jump` sets the wall clock alone. */
class TestClock {
  #wall = Date.now()
  #monotonic = 0

  wall(): number {
    return this.#wall
  }

  monotonic(): number {
    return this.#monotonic
  }

  pass(millis: number): void {
    this.#wall += millis
    this.#monotonic += millis
  }

  jump(millis: number): void {
    this.#wall += millis
  }
}

interface Host {
  readonly keys: KeyService
  readonly sweep: Sweep
  readonly clock: TestClock
  /** What it logged: level and message. */
  readonly log: string[]
  readonly enclaves: Enclaves
  /** Time passes, and a round is done. */
  round(millis: number): Promise<void>
}

/** A server on a store. */
function host(t: Pick<TestContext, 'after'>, store: FakeStore, clock = new TestClock()): Host {
  const keys = new KeyService(store, EXPIRY)
  const log: string[] = []
  const { health } = keys
  const counts = { hits: 0, misses: 0 }
  const enclaves = new Enclaves({ store, health, expiry: EXPIRY, counts, hasRecords: true })
  const sweep = new Sweep({
    store,
    withKeys: (prefix, work) => (prefix === '' ? work(keys) : enclaves.withKeys(prefix, work)),
    destroyEnclave: (name, at, deadline) => enclaves.destroy(name, at, deadline),
    hasRecords: true,
    log: { write: (level, message) => void log.push(`${level} ${message}`) },
    clock,
  })
  t.after(() => sweep.close())
  t.after(() => keys.close())
  const round = (millis: number): Promise<void> => {
    clock.pass(millis)
    return sweep.run()
  }
  return { keys, sweep, clock, log, enclaves, round }
}

/** A server, and the key `a`, which is to be destroyed in 7 days. */
async function pending(t: TestContext): Promise<Host & { readonly store: FakeStore }> {
  const store = new FakeStore()
  const made = host(t, store)
  await made.keys.create('a', '', PATIENT)
  await made.keys.schedule('a', '', 7, PATIENT)
  return { ...made, store }
}

const DONE = 'INFO destroyed, as scheduled'

test('a key is destroyed one hour after its date, and not earlier', async (t) => {
  const { store, round, log } = await pending(t)
  await round(0)
  await round(7 * DAY - MINUTE)
  await round(MINUTE + HOUR - 5000)
  assert.ok(store.entries.has('a'))
  await round(10_000)
  assert.deepEqual([...store.entries.keys()], [])
  assert.deepEqual(log, [DONE])
})

test('a key is not destroyed when it is seen for the first time, nor within a minute', async (t) => {
  const { store, round } = await pending(t)
  await round(8 * DAY)
  await round(MINUTE - 1)
  assert.ok(store.entries.has('a'))
  await round(1)
  assert.equal(store.entries.size, 0)
})

test('whoever has the key in memory does not serve it any more', async (t) => {
  const { keys, round } = await pending(t)
  await keys.get('a', PATIENT)
  await round(8 * DAY)
  await round(MINUTE)
  await assert.rejects(Promise.resolve(keys.get('a', PATIENT)), { code: 'KEY_NOT_FOUND' })
})

test('a key whose deletion was cancelled is not destroyed, however late it is', async (t) => {
  const { store, keys, round } = await pending(t)
  await round(8 * DAY)
  await keys.restore('a', '', PATIENT)
  await round(MINUTE)
  await round(100 * DAY)
  await round(MINUTE)
  assert.ok(store.entries.has('a'))
})

test('a deletion that is scheduled anew counts from the beginning', async (t) => {
  const { store, keys, clock, round } = await pending(t)
  await round(8 * DAY)
  await keys.restore('a', '', PATIENT)
  const { deletionDate } = await keys.schedule('a', '', 30, PATIENT)
  await round(MINUTE)
  await round(MINUTE)
  assert.ok(store.entries.has('a'))
  await round((deletionDate?.seconds ?? 0) * 1000 - clock.wall() + HOUR + 1000)
  assert.ok(!store.entries.has('a'))
})

test('of a destruction and a cancellation at the same moment one wins, and the other learns it', async (t) => {
  for (let delay = 0; delay < 12; delay++) {
    const { store, keys, round } = await pending(t)
    await round(8 * DAY)
    const destroyed = round(MINUTE)
    for (let i = 0; i < delay; i++) await Promise.resolve()
    const restored = await keys.restore('a', '', PATIENT).then(
      () => true,
      (error: { code: string }) => {
        assert.match(error.code, /^(CONFLICT|KEY_NOT_FOUND)$/)
        return false
      },
    )
    await destroyed
    assert.equal(store.entries.has('a'), restored, `${delay}`)
    if (restored) assert.equal((await keys.get('a', PATIENT)).isPlain, true)
  }
})

test('who is about to claim a key that is restored meanwhile leaves it alone', async (t) => {
  const { store, round, log } = await pending(t)
  await round(8 * DAY)
  const other = host(t, store)
  // The claim waits at the door of the store while somebody else restores the key.
  const { passed, open } = gate()
  const create = store.create.bind(store)
  store.create = async (name, value) => {
    await passed
    return create(name, value)
  }
  const destroyed = round(MINUTE)
  await new Promise((resolve) => setTimeout(resolve, 20))
  store.create = create
  await other.keys.restore('a', '', PATIENT)
  open()
  await destroyed
  assert.ok(store.entries.has('a'))
  assert.deepEqual(log, [])
  assert.equal((await other.keys.get('a', PATIENT)).state, 'enabled')
})

test('of several servers one destroys a key, once', async (t) => {
  const { store, round, log } = await pending(t)
  const others = [host(t, store), host(t, store)]
  const logs = [log, ...others.map((other) => other.log)]
  const all = [round, ...others.map((other) => other.round)]
  await Promise.all(all.map((one) => one(8 * DAY)))
  await Promise.all(all.map((one) => one(MINUTE)))
  assert.equal(store.entries.size, 0)
  assert.equal(logs.flat().filter((line) => line === DONE).length, 1)
})

test('a destruction that was cut off is ended by whoever finds it', async (t) => {
  const { store, round } = await pending(t)
  await round(8 * DAY)
  const remove = store.delete.bind(store)
  store.delete = () => Promise.reject(new KeyStoreError('unreachable', 'killed'))
  await round(MINUTE)
  store.delete = remove
  assert.ok(store.entries.has('a'))
  // Nobody gets it any more, and nobody can bring it back.
  const other = host(t, store)
  await assert.rejects(Promise.resolve(other.keys.get('a', PATIENT)), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(other.keys.restore('a', '', PATIENT), { code: 'CONFLICT' })
  await other.round(8 * DAY)
  await other.round(3 * MINUTE)
  assert.equal(store.entries.size, 0)
})

test('whoever asks for a key whose destruction was cut off long ago ends it', async (t) => {
  const store = new FakeStore()
  const { keys } = host(t, store)
  await keys.create('a', '', PATIENT)
  await keys.schedule('a', '', 7, PATIENT)
  const remove = store.delete.bind(store)
  store.delete = () => Promise.reject(new KeyStoreError('unreachable', 'killed'))
  const long = Math.floor(Date.now() / 1000)
  // By a server whose clock said so.
  const at = { seconds: long + 8 * 86_400, nanos: 0 }
  await assert.rejects(keys.destroy('a', at, PATIENT), { code: 'KEYSTORE_DELETE' })
  store.delete = remove
  const other = host(t, store, new TestClock())
  await assert.rejects(Promise.resolve(other.keys.get('a', PATIENT)), { code: 'KEY_NOT_FOUND' })
  assert.ok(store.entries.has('a'), 'the claim is too young')
  t.mock.timers.enable({ apis: ['Date'], now: (at.seconds + 61) * 1000 })
  await assert.rejects(Promise.resolve(other.keys.get('a', PATIENT)), { code: 'KEY_NOT_FOUND' })
  assert.equal(store.entries.size, 0)
})

test('a clock that jumps destroys nothing, and is told of once', async (t) => {
  const { store, round, clock, log } = await pending(t)
  await round(0)
  clock.jump(8 * DAY)
  for (let i = 0; i < 5; i++) await round(MINUTE)
  assert.ok(store.entries.has('a'))
  assert.equal(log.length, 1)
  assert.match(log[0] ?? '', /^WARN the clock was changed by 691200 s since the start: no key is/)
})

test('a clock that was set back to where it should be is trusted again, from the beginning', async (t) => {
  const { store, round, clock, log } = await pending(t)
  await round(0)
  clock.jump(HOUR)
  await round(8 * DAY)
  clock.jump(-HOUR)
  await round(MINUTE)
  assert.ok(store.entries.has('a'), 'first sight')
  await round(MINUTE)
  assert.ok(!store.entries.has('a'))
  assert.match(log.join('\n'), /WARN the clock was changed by 3600 s.*\nWARN the clock agrees/)
})

test('a clock that is corrected little by little is trusted', async (t) => {
  const { store, round, clock } = await pending(t)
  clock.jump(59_000)
  await round(8 * DAY)
  await round(MINUTE)
  assert.ok(!store.entries.has('a'))
})

test('plain keys are not read, and records once each', async (t) => {
  const { store, keys, round } = await pending(t)
  for (let i = 0; i < 50; i++) await keys.create(`plain-${i}`, '', PATIENT)
  for (let i = 0; i < 3; i++) await keys.rotate('plain-0', '', PATIENT)
  const before = { ...store.calls }
  for (let i = 0; i < 5; i++) await round(MINUTE)
  assert.equal(store.calls.get, before.get)
  assert.equal(store.calls.record, before.record + 2)
  assert.equal(store.calls.list, before.list + 5)
})

test('a key of an enclave is destroyed, and one of its name elsewhere is not', async (t) => {
  const { store, round } = await pending(t)
  const inner = new KeyService(new EnclaveStore(store, enclavePrefix('tenant')), EXPIRY)
  t.after(() => inner.close())
  await inner.create('b', '', PATIENT)
  await inner.schedule('b', '', 7, PATIENT)
  await host(t, store).keys.create('b', '', PATIENT)
  await round(8 * DAY)
  await round(MINUTE)
  assert.deepEqual([...store.entries.keys()], ['b'])
})

const ADMIN = parseIdentity('a'.repeat(64)) ?? assert.fail()

test('the keys of a deleted enclave are kept until its date, hidden, and its name is taken', async (t) => {
  const store = new FakeStore()
  const { enclaves, round, log } = host(t, store)
  await enclaves.create('tenant', ADMIN, PATIENT)
  const realm = (await enclaves.find('tenant', PATIENT)) ?? assert.fail()
  await realm.keys.create('a', '', PATIENT)
  await enclaves.delete('tenant', 7, PATIENT)
  assert.equal(await enclaves.find('tenant', PATIENT), undefined)
  await assert.rejects(enclaves.delete('tenant', 7, PATIENT), { code: 'ENCLAVE_NOT_FOUND' })
  await assert.rejects(enclaves.create('tenant', ADMIN, PATIENT), { code: 'ENCLAVE_EXISTS' })
  await round(0)
  await round(7 * DAY)
  assert.ok(store.entries.has(`${enclavePrefix('tenant')}a`))
  await round(HOUR + MINUTE)
  assert.deepEqual([...store.entries.keys()], [])
  assert.deepEqual(log, [DONE])
  await enclaves.create('tenant', ADMIN, PATIENT)
})

test('an enclave whose end was scheduled is deleted at once where deletions do not wait any more', async (t) => {
  const store = new FakeStore()
  const { enclaves } = host(t, store)
  await enclaves.create('tenant', ADMIN, PATIENT)
  await enclaves.delete('tenant', 30, PATIENT)
  await enclaves.delete('tenant', 0, PATIENT)
  assert.deepEqual([...store.entries.keys()], [])
})

test('records whose key is not there are left alone', async (t) => {
  const { store, round, log } = await pending(t)
  store.entries.delete('a')
  const before = [...store.entries.keys()]
  await round(8 * DAY)
  await round(MINUTE)
  await round(MINUTE)
  assert.deepEqual([...store.entries.keys()], before)
  assert.deepEqual(log, [])
})

test('a damaged record, or trouble with one key, is no trouble for another', async (t) => {
  const { store, keys, round, log } = await pending(t)
  store.entries.set('-1-00000000-b', bytes('damaged'))
  await keys.create('c', '', PATIENT)
  await keys.schedule('c', '', 7, PATIENT)
  // Its own entry is damaged, its record is fine.
  store.entries.set('a', bytes('damaged'))
  await round(8 * DAY)
  await round(MINUTE)
  assert.ok(store.entries.has('a') && !store.entries.has('c'))
  assert.deepEqual(
    log.filter((line) => line.startsWith('INFO')),
    [DONE],
  )
  assert.match(
    log.find((line) => line.startsWith('WARN')) ?? '',
    /^WARN what is due cannot be done: failed to read key: keystore entry/,
  )
})

test('a store that cannot be listed is told of, and asked again', async (t) => {
  const { store, round, log } = await pending(t)
  store.failure = new KeyStoreError('unreachable', 'nobody there')
  await round(8 * DAY)
  await round(MINUTE)
  assert.deepEqual(log, ['WARN what is due cannot be done: nobody there'])
  store.failure = undefined
  await round(MINUTE)
  await round(MINUTE)
  assert.ok(!store.entries.has('a'))
})

test('whatever happens in whatever order: no key is destroyed early, or after a cancellation', async () => {
  const step = fc.oneof(
    fc.constant('restore' as const),
    fc.constant('schedule' as const),
    fc.constant('edit' as const),
    fc.record({ host: fc.nat(1), minutes: fc.constantFrom(0, 1, 30, 60, 24 * 60, 8 * 24 * 60) }),
    fc.record({ host: fc.nat(1), jump: fc.constantFrom(-HOUR, HOUR, 10 * DAY) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const ends: (() => unknown)[] = []
      const owner = { after: (end: () => unknown) => void ends.push(end) } as TestContext
      const store = new FakeStore()
      const hosts = [host(owner, store), host(owner, store)] as const
      const [{ keys }] = hosts
      // What really is the time: nobody sets it.
      const truth = new TestClock()
      await keys.create('a', '', PATIENT)
      let date: number | undefined
      for (const next of steps) {
        if (!store.entries.has('a')) break
        if (next === 'restore') {
          if (date !== undefined) await keys.restore('a', '', PATIENT)
          date = undefined
        } else if (next === 'schedule') {
          if (date !== undefined) continue
          const { deletionDate } = await keys.schedule('a', '', 7, PATIENT)
          date = (deletionDate?.seconds ?? 0) * 1000
        } else if (next === 'edit') {
          const description = String(truth.monotonic())
          await keys.edit('a', '', { description }, PATIENT)
        } else if ('jump' in next) hosts[next.host]?.clock.jump(next.jump)
        else {
          for (const { clock } of [...hosts, { clock: truth }]) clock.pass(next.minutes * MINUTE)
          await hosts[next.host]?.sweep.run()
          if (store.entries.has('a')) continue
          assert.ok(date !== undefined, 'it was cancelled')
          assert.ok(truth.wall() >= date + HOUR, 'it is too early')
        }
      }
      for (const end of ends) await end()
    }),
    { numRuns: 300 },
  )
})

const YEAR = { keys: [{ name: 'a', rotateEvery: 365 * DAY }], by: 'f'.repeat(64) }

test('a key is rotated when it is as old as it may become', async (t) => {
  const store = new FakeStore()
  const { keys, sweep, round, log } = host(t, store)
  await keys.create('a', '', PATIENT)
  sweep.configure(YEAR)
  await round(365 * DAY - MINUTE)
  assert.equal((await keys.get('a', PATIENT)).version, 1)
  await round(2 * MINUTE)
  const key = await keys.get('a', PATIENT)
  assert.equal(key.version, 2)
  assert.equal(key.versions[1]?.createdBy, YEAR.by)
  assert.deepEqual(log, ['INFO rotated, by age'])
})

test('of several servers one rotates a key, once', async (t) => {
  const store = new FakeStore()
  const first = host(t, store)
  await first.keys.create('a', '', PATIENT)
  // Of a year ago.
  const age = 366 * DAY
  const hosts = [first, host(t, store), host(t, store)]
  for (const { sweep } of hosts) sweep.configure(YEAR)
  await Promise.all(hosts.map(({ round }) => round(age)))
  assert.equal((await host(t, store).keys.get('a', PATIENT)).version, 2)
  assert.equal(hosts.flatMap(({ log }) => log).length, 1)
})

test('a key that is disabled, or to be destroyed, is not rotated', async (t) => {
  const store = new FakeStore()
  const { keys, sweep, round, log } = host(t, store)
  sweep.configure({ ...YEAR, keys: [...YEAR.keys, { name: 'b', rotateEvery: 365 * DAY }] })
  for (const name of ['a', 'b']) await keys.create(name, '', PATIENT)
  await keys.disable('a', '', {}, PATIENT)
  await keys.schedule('b', '', 30, PATIENT)
  await round(365 * DAY + MINUTE)
  assert.deepEqual(log, [])
  assert.equal((await keys.get('a', PATIENT)).version, 1)
})

test('a key without a limit of age is never rotated', async (t) => {
  const store = new FakeStore()
  const { keys, sweep, round } = host(t, store)
  await keys.create('a', '', PATIENT)
  sweep.configure({ keys: [{ name: 'a', rotateEvery: 0 }], by: '' })
  await round(10_000 * DAY)
  assert.equal((await keys.get('a', PATIENT)).version, 1)
})

test('a key that somebody refers to is spared, which is told, and destroyed once nobody does', async (t) => {
  const { sweep, round, keys, log } = await pending(t)
  let isNeeded = true
  sweep.spare((name) => isNeeded && name === 'a')
  await round(8 * DAY)
  await round(2 * MINUTE)
  await keys.peek('a', PATIENT)
  assert.deepEqual(log.filter((line) => /is not destroyed on its date/.test(line)).length, 1)
  isNeeded = false
  await round(2 * MINUTE)
  await assert.rejects(async () => keys.peek('a', PATIENT), { code: 'KEY_NOT_FOUND' })
})
