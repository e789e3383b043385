/** What happens to a keystore that is a service over HTTP when the service has trouble; the way to it is outage.ts. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import type { FakeService } from './fakes/service.ts'
import { isWell, openResources, type OutageOptions, storeOutages, until } from './outage.ts'

/** A fake that can be put out of order. */
export type Troubled = Pick<FakeService, 'url' | 'port' | 'fail' | 'heal' | 'taken'>

export interface Subject {
  readonly service: Troubled
  /** Settings for the service at this URL. */
  at(url: string): StoreConfig
}

interface Scene {
  readonly service: Troubled
  /** Has the entry `there`. */
  readonly store: KeyStore
}

/**
 * @param start gives a fresh fake with a certificate for 127.0.0.1 and `keys.test`.
 */
export function keyStoreOutages(
  name: string,
  start: (t: TestContext) => Promise<Subject>,
  options: Omit<OutageOptions, 'skip'> = {},
): void {
  storeOutages(
    name,
    async (t) => {
      const { service, at } = await start(t)
      return { port: service.port, at: (host, port) => at(`https://${host}:${port}`) }
    },
    options,
  )

  const outage = (fact: string, check: (scene: Scene) => Promise<void>): void => {
    test(`${name}: ${fact}`, async (t) => {
      const { service, at } = await start(t)
      const store = await openStore(t, at(service.url))
      await store.create('there', bytes('value'), SIGNAL)
      await check({ service, store })
    })
  }

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

  test(`${name}: a closed keystore leaves nothing open`, async (t) => {
    const { service, at } = await start(t)
    const before = openResources()
    for (let count = 0; count < 5; count++) {
      const config = at(service.url)
      const ends: (() => unknown)[] = []
      const store = await openStore({ after: (end) => void ends.push(end) }, config)
      await Promise.all(Array.from({ length: 4 }, () => store.status(SIGNAL)))
      for (const end of ends) await end()
    }
    await until(() => openResources() <= before)
    service.fail('error')
    const ends: (() => unknown)[] = []
    const opened = openStore({ after: (end) => void ends.push(end) }, at(service.url))
    // Not all ask the service anything yet when they are opened.
    const status = opened.then((store) => store.status(SIGNAL))
    await assert.rejects(status, { name: 'KeyStoreError' })
    for (const end of ends) await end()
    await until(() => openResources() <= before)
  })
}
