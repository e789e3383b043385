/** What a keystore does when the service no longer takes its token: one suite for all that log in. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { bytes, SIGNAL } from '../support/bytes.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import type { FakeService } from './fakes/service.ts'

/** A fake that gives tokens. */
export interface TokenGiver {
  readonly service: FakeService
  readonly logins: number
  config(): StoreConfig
  /** All tokens end now, before their time. */
  revoke(): void
}

export function keyStoreTokens(name: string, start: (t: TestContext) => Promise<TokenGiver>): void {
  test(`${name}: a token that was revoked early is replaced by one login for all, and nobody notices`, async (t) => {
    const fake = await start(t)
    const store = await openStore(t, fake.config())
    await store.create('my-key', bytes('value'), SIGNAL)
    for (let round = 1; round <= 3; round++) {
      fake.revoke()
      await Promise.all(Array.from({ length: 20 }, () => store.get('my-key', SIGNAL)))
      assert.equal(fake.logins, 1 + round)
    }
    fake.revoke()
    await store.create('other', bytes('value'), SIGNAL)
    fake.revoke()
    await store.delete('other', SIGNAL)
    fake.revoke()
    await store.list({ prefix: '', from: '' }, 9, SIGNAL)
    fake.revoke()
    await store.status(SIGNAL)
    assert.equal(fake.logins, 8)
  })

  test(`${name}: a restart that breaks connections and forgets tokens costs one login, and no request`, async (t) => {
    const fake = await start(t)
    const store = await openStore(t, fake.config())
    await store.create('my-key', bytes('value'), SIGNAL)
    fake.revoke()
    fake.service.fail('reset', { times: 1 })
    assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
    fake.revoke()
    fake.service.fail('error', { times: 1 })
    await store.create('other', bytes('value'), SIGNAL)
    assert.equal(fake.logins, 3)
  })
}
