/** What happens to a keystore that is a service when the service, or the way to it, has trouble: one suite for all. */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'

import { KeyStoreError, type KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { ChaosProxy, movingName } from '../support/chaos-proxy.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import type { FakeService } from './fakes/service.ts'

export interface Subject {
  readonly service: FakeService
  /** Settings for the service at this URL. */
  at(url: string): StoreConfig
}

interface Scene extends Subject {
  readonly proxy: ChaosProxy
  /** Behind the proxy; has the entry `there`. */
  readonly store: KeyStore
}

/** @param start gives a fresh fake with a certificate for 127.0.0.1 and `keys.test`. */
export function keyStoreOutages(name: string, start: (t: TestContext) => Promise<Subject>): void {
  const outage = (fact: string, check: (scene: Scene, t: TestContext) => Promise<void>): void => {
    test(`${name}: ${fact}`, async (t) => {
      const subject = await start(t)
      const proxy = await ChaosProxy.start(t, { port: subject.service.port })
      const store = await openStore(t, subject.at(`https://127.0.0.1:${proxy.port}`))
      await store.create('there', bytes('value'), SIGNAL)
      const { service } = subject
      await check({ service, at: (url) => subject.at(url), proxy, store }, t)
    })
  }

  outage(
    'a service that was killed is unreachable, and back with the next request',
    async (scene) => {
      const { proxy, store } = scene
      for (let round = 0; round < 3; round++) {
        await proxy.become('refuse')
        await assert.rejects(store.get('there', SIGNAL), isUnreachable)
        await assert.rejects(store.create('new', bytes('v'), SIGNAL), isUnreachable)
        await assert.rejects(store.status(SIGNAL), isUnreachable)
        await proxy.become('pass')
        await isWell(store)
      }
    },
  )

  outage('a service that hangs costs the deadline, and no more', async ({ proxy, store }) => {
    await proxy.become('hang')
    const calls = [
      (signal: AbortSignal) => store.get('there', signal),
      (signal: AbortSignal) => store.create('new', bytes('v'), signal),
      (signal: AbortSignal) => store.delete('there', signal),
      (signal: AbortSignal) => store.list({ prefix: '', from: '' }, 9, signal),
      (signal: AbortSignal) => store.status(signal),
    ]
    const outcomes = await Promise.allSettled(calls.map((call) => call(AbortSignal.timeout(150))))
    for (const outcome of outcomes) {
      assert.equal(outcome.status, 'rejected')
      assert.equal((outcome.reason as Error).name, 'TimeoutError')
    }
    // What was given up must not happen later.
    proxy.cut()
    await proxy.become('pass')
    await isWell(store)
  })

  outage('a slow service is waited for', async ({ proxy, store }) => {
    await proxy.become({ delay: 100 })
    await isWell(store)
  })

  outage(
    'connections that break under load: each request ends, the next one works',
    async (scene) => {
      const { proxy, store } = scene
      let isOver = false
      const load = Array.from({ length: 8 }, async () => {
        while (!isOver) {
          const outcome = await store.get('there', AbortSignal.timeout(5000)).then(
            (value) => Buffer.from(value).toString(),
            (error: unknown) => error,
          )
          if (outcome !== 'value') assert.ok(isUnreachable(outcome), String(outcome))
        }
      })
      for (const mode of ['reset', 'pass', 'refuse', 'pass', 'reset', 'pass'] as const) {
        await proxy.become(mode)
        await sleep(40)
      }
      isOver = true
      await Promise.all(load)
      await isWell(store)
    },
  )

  outage('a service that moves behind its name is found at its new address', async (scene, t) => {
    const { service, proxy, at } = scene
    const moving = movingName(t, 'keys.test', '127.0.0.1')
    const elsewhere = await ChaosProxy.start(
      t,
      { port: service.port },
      { host: '127.0.0.2', port: proxy.port },
    )
    const store = await openStore(t, at(`https://keys.test:${proxy.port}`))
    await isWell(store)
    await proxy.become('refuse')
    moving.address = '127.0.0.2'
    await isWell(store)
    assert.ok(elsewhere.accepted > 0)
  })

  outage('a service out of order for a moment is asked again', async ({ service, store }) => {
    for (const fault of ['error', 'reset', 'half', 'lost'] as const) {
      service.fail(fault, { times: 1 })
      await isWell(store)
      service.fail(fault, { times: 2, only: /^(?:GET|PUT|DELETE) / })
      await isWell(store)
    }
  })

  outage('whatever answer is lost, what was asked for is done once', async (scene) => {
    const { service, store } = scene
    service.taken()
    await isWell(store)
    const requests = service.taken().length
    for (let skip = 0; skip < requests; skip++) {
      service.fail('lost', { times: 1, skip })
      await isWell(store)
    }
  })

  outage('a web page instead of an answer is a failure, never a missing key', async (scene) => {
    const { service, store } = scene
    service.fail('type')
    const isFailure = { name: 'KeyStoreError', failure: 'failed' }
    await assert.rejects(store.get('there', SIGNAL), isFailure)
    await assert.rejects(store.get('absent', SIGNAL), isFailure)
    await assert.rejects(store.create('new', bytes('v'), SIGNAL), isFailure)
    await assert.rejects(store.delete('there', SIGNAL), isFailure)
    await assert.rejects(store.list({ prefix: '', from: '' }, 9, SIGNAL), isFailure)
    service.heal()
    await isWell(store)
  })

  outage('1,000 new connections leave no descriptor and no timer', async ({ proxy, store }) => {
    const before = open()
    for (let count = 0; count < 1000; count++) {
      proxy.cut()
      await store.get('there', SIGNAL)
    }
    assert.ok(proxy.accepted >= 1000)
    proxy.cut()
    await until(() => open() <= before)
  })

  test(`${name}: a closed keystore leaves nothing open`, async (t) => {
    const { service, at } = await start(t)
    const before = open()
    for (let count = 0; count < 5; count++) {
      const config = at(service.url)
      const ends: (() => unknown)[] = []
      const store = await openStore({ after: (end) => void ends.push(end) }, config)
      await Promise.all(Array.from({ length: 4 }, () => store.status(SIGNAL)))
      for (const end of ends) await end()
    }
    await until(() => open() <= before)
    service.fail('error')
    await assert.rejects(openStore(t, at(service.url)), { name: 'KeyStoreError' })
    await until(() => open() <= before)
  })
}

/** Reads, writes, lists and deletes at the first try. */
async function isWell(store: KeyStore): Promise<void> {
  assert.equal(Buffer.from(await store.get('there', SIGNAL)).toString(), 'value')
  await store.create('well', bytes('v'), SIGNAL)
  const { names } = await store.list({ prefix: '', from: '' }, 9, SIGNAL)
  assert.deepEqual(names, ['there', 'well'])
  await store.delete('well', SIGNAL)
  await assert.rejects(store.get('absent', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await store.status(SIGNAL)
}

function isUnreachable(error: unknown): boolean {
  return error instanceof KeyStoreError && error.failure === 'unreachable'
}

/** Descriptors and timers of this process. */
function open(): number {
  const timers = process.getActiveResourcesInfo().filter((type) => type === 'Timeout')
  return readdirSync('/proc/self/fd').length + timers.length
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}
