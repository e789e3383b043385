import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import { loadConfig } from '#src/config/load.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { failure } from '../support/failure.ts'
import { decodeKey } from '../support/keys.ts'
import { openStore } from '../support/stores.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'
import { FakeGemalto, REFRESH_TOKEN } from './fakes/gemalto.ts'
import { keyStoreOutages } from './outages.ts'
import { keyStoreTokens } from './tokens.ts'

keyStoreContract('gemalto', async (t) => (await opened(t)).store, {
  deleteTells: false,
  shared: async (t) => (await FakeGemalto.start(t)).config(),
})

keyStoreOutages('gemalto', async (t) => {
  const fake = await FakeGemalto.start(t)
  return { service: fake.service, at: (endpoint) => fake.config({ endpoint }) }
})

keyStoreTokens('gemalto', (t) => FakeGemalto.start(t))

async function opened(
  t: TestContext,
  options: { domain?: string } = {},
): Promise<{ fake: FakeGemalto; store: KeyStore }> {
  const fake = await FakeGemalto.start(t, options)
  return { fake, store: await openStore(t, fake.config()) }
}

const LIST = { prefix: '', from: '' }

test('each operation makes the requests of the Go server', async (t) => {
  const { fake, store } = await opened(t, { domain: 'my-domain' })
  assert.equal(
    fake.service.requests[0]?.text,
    `{"grant_type":"refresh_token","refresh_token":"${REFRESH_TOKEN}","domain":"my-domain"}`,
  )
  assert.deepEqual(fake.service.taken(), ['POST /api/v1/auth/tokens'])
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(
    fake.service.requests[0]?.text,
    '{"dataType":"seed","material":"value","name":"my-key"}',
  )
  assert.deepEqual(fake.service.taken(), ['POST /api/v1/vault/secrets'])
  await store.get('my-key', SIGNAL)
  assert.deepEqual(fake.service.taken(), ['POST /api/v1/vault/secrets/my-key/export?type=name'])
  await store.list(LIST, 10, SIGNAL)
  assert.deepEqual(fake.service.taken(), ['GET /api/v1/vault/secrets?limit=200&skip=0'])
  await store.delete('my-key', SIGNAL)
  assert.deepEqual(fake.service.taken(), ['DELETE /api/v1/vault/secrets/my-key?type=name'])
  await store.status(SIGNAL)
  assert.deepEqual(fake.service.taken(), [
    'POST /api/v1/vault/secrets/-openkes-probe/export?type=name',
  ])
})

test('keys that the Go server wrote are read, and ours are stored in its form', async (t) => {
  const { fake, store } = await opened(t)
  for (const { id, at_rest: value } of vectors.keys) {
    fake.secrets.set(id, value)
    assert.equal(Buffer.from(await store.get(id, SIGNAL)).toString(), value)
    decodeKey(await store.get(id, SIGNAL))
    await store.create(`our-${id}`, bytes(value), SIGNAL)
    assert.equal(fake.secrets.get(`our-${id}`), value)
  }
})

test('the field retry of the Go server’s sample is ignored with a warning', () => {
  const { warnings } = loadConfig(
    `admin: { identity: disabled }
tls: { key: key, cert: cert }
keystore:
  gemalto:
    keysecure:
      endpoint: https://127.0.0.1
      credentials: { token: a, domain: "", retry: 15s }
      tls: { ca: "" }`,
    'kes.yml',
  )
  assert.deepEqual(warnings, [
    'kes.yml:7:44: keystore.gemalto.keysecure.credentials.retry: has no effect; it is ignored',
  ])
})

test('a wrong refresh token is a denial that says where to look, and does not show it', async (t) => {
  const { fake, store } = await opened(t)
  fake.refreshToken = 'another'
  const error: unknown = await openStore(t, fake.config()).catch((reason: unknown) => reason)
  failure('denied', /check credentials\.token and credentials\.domain.*NCERRInvalid/)(error)
  assert.ok(!inspect([error, store], { depth: 20, showHidden: true }).includes(REFRESH_TOKEN))
})

test('what is not allowed is a denial', async (t) => {
  const { fake, store } = await opened(t)
  fake.isForbidden = true
  const denied = (what: string) =>
    failure('denied', new RegExp(`cannot ${what} .*; is that allowed\\?`))
  await assert.rejects(store.get('my-key', SIGNAL), denied('export'))
  await assert.rejects(store.status(SIGNAL), denied('export'))
  await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), denied('create'))
  await assert.rejects(store.delete('my-key', SIGNAL), denied('delete'))
  await assert.rejects(store.list(LIST, 9, SIGNAL), denied('list'))
  assert.equal(fake.logins, 1)
})

test('tokens are replaced before they end', async (t) => {
  const fake = await FakeGemalto.start(t)
  fake.duration = 2
  const store = await openStore(t, fake.config())
  while (fake.logins < 3) await sleep(10)
  await store.status(SIGNAL)
  assert.equal(fake.logins, 3)
})

test('a login without a bearer token, or whose token ends at once, is a failure', async (t) => {
  const fake = await FakeGemalto.start(t)
  fake.duration = 0
  await assert.rejects(openStore(t, fake.config()), failure('failed', /no bearer token/))
})
