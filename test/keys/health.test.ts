import assert from 'node:assert/strict'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'

import { KeyStoreHealth } from '#src/keys/health.js'
import { fs } from '#src/keystore/fs.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { eventually } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { FakeStore, gate } from '../support/store.ts'

const DOWN = new KeyStoreError('unreachable', 'nobody there')

function healthOf(t: TestContext): { store: FakeStore; health: KeyStoreHealth } {
  const store = new FakeStore()
  const health = new KeyStoreHealth(store)
  t.after(() => health.close())
  return { store, health }
}

test('a store that answers has a latency', async (t) => {
  const { health } = healthOf(t)
  const probe = await health.probe()
  assert.ok('latency' in probe && probe.latency >= 0)
  assert.equal(health.downSince, undefined)
})

test('a store that fails is down, and a probe says why', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = DOWN
  assert.deepEqual(await health.probe(), { error: DOWN })
  assert.ok(health.downSince !== undefined)
})

test('a process that is busy itself does not take its keystore for down', async (t) => {
  const store = await fs.open({ path: tempDir(t) }, new AbortController().signal)
  const health = new KeyStoreHealth(store)
  t.after(() => health.close())
  const probe = health.probe()
  for (let turn = 0; turn < 5; turn++) {
    // Nothing is done in this process meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, turn === 0 ? 2000 : 500)
    await setImmediate()
  }
  assert.deepEqual(Object.keys(await probe), ['latency'])
  assert.equal(health.downSince, undefined)
})

test('everybody who asks at the same time shares one probe', async (t) => {
  const { store, health } = healthOf(t)
  const { passed, open } = gate()
  store.gate = passed
  const probes = Array.from({ length: 50 }, () => health.probe())
  open()
  await Promise.all(probes)
  assert.equal(store.calls.status, 1)
})

test('a probe that has just been made is not repeated', async (t) => {
  const { store, health } = healthOf(t)
  await health.probe()
  await health.probe()
  assert.equal(store.calls.status, 1)
})

test('a probe that is older than a second is repeated', async (t) => {
  const { store, health } = healthOf(t)
  await health.probe()
  await setTimeout(1100)
  await health.probe()
  assert.equal(store.calls.status, 2)
})

test('a store that comes back is up again', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = DOWN
  await health.probe()
  store.failure = undefined
  await setTimeout(1100)
  assert.ok('latency' in (await health.probe()))
  assert.equal(health.downSince, undefined)
})

test('a store that comes back is found out by the server itself, soon', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = DOWN
  health.reportDown()
  await eventually('a few probes', () => store.calls.status >= 3)
  store.failure = undefined
  await eventually('it is up', () => health.downSince === undefined)
})

test('a store that refuses us is not down: it has answered', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = new KeyStoreError('denied', 'go away')
  assert.deepEqual(await health.probe(), { error: store.failure })
  assert.equal(health.downSince, undefined)
  health.reportDown()
  await eventually('it is up', () => health.downSince === undefined)
})

test('a closed health asks no more', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = DOWN
  const { passed, open } = gate()
  store.gate = passed
  health.reportDown()
  await eventually('a probe', () => store.calls.status === 1)
  health.close()
  open()
  await setTimeout(600)
  assert.equal(store.calls.status, 1)
})

test('a store that stays down is down since the first failure', async (t) => {
  const { store, health } = healthOf(t)
  store.failure = DOWN
  await health.probe()
  const since = health.downSince
  assert.ok(since !== undefined)
  await setTimeout(1100)
  await health.probe()
  health.reportDown()
  assert.equal(health.downSince, since)
})

test('a store that does not answer is given up after 1.5 s', async (t) => {
  const { store, health } = healthOf(t)
  store.gate = new Promise(() => {})
  const start = performance.now()
  const probe = await health.probe()
  assert.ok(performance.now() - start >= 1450)
  assert.ok('error' in probe && probe.error instanceof KeyStoreError)
  assert.equal(probe.error.failure, 'unreachable')
  assert.ok(health.downSince !== undefined)
})

test('a request that found the store down need not wait for a probe', (t) => {
  const { health } = healthOf(t)
  health.reportDown()
  assert.ok(health.downSince !== undefined)
})
