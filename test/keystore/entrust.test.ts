import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import { ConfigError, loadConfig } from '#src/config/load.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { failure } from '../support/failure.ts'
import { decodeKey } from '../support/keys.ts'
import { openStore } from '../support/stores.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'
import { FakeEntrust, PASSWORD } from './fakes/entrust.ts'
import { keyStoreOutages } from './outages.ts'
import { keyStoreTokens } from './tokens.ts'

keyStoreContract('entrust', async (t) => (await opened(t)).store, {
  shared: async (t) => (await FakeEntrust.start(t)).config(),
})

keyStoreOutages('entrust', async (t) => {
  const fake = await FakeEntrust.start(t)
  return { service: fake.service, at: (endpoint) => fake.config({ endpoint }) }
})

keyStoreTokens('entrust', (t) => FakeEntrust.start(t))

async function opened(t: TestContext): Promise<{ fake: FakeEntrust; store: KeyStore }> {
  const fake = await FakeEntrust.start(t)
  return { fake, store: await openStore(t, fake.config()) }
}

const LIST = { prefix: '', from: '' }

test('each operation makes the requests of the Go server', async (t) => {
  const { fake, store } = await opened(t)
  const requests = async (work: Promise<unknown>): Promise<string[]> => {
    await work
    return fake.service.requests
      .splice(0)
      .map(({ path, text }) => `${path.replace('/vault/1.0/', '')} ${text}`)
  }
  assert.deepEqual(await requests(Promise.resolve()), [
    `Login/1d7cbd39-4a4b-4a43-8b4c-2d6b5fb1ae86/ {"username":"kes","password":"${PASSWORD}"}`,
  ])
  assert.deepEqual(await requests(store.create('my-key', bytes('value'), SIGNAL)), [
    'CreateSecret/ {"box_id":"kes-box","name":"my-key","secret_data":"dmFsdWU="}',
  ])
  assert.deepEqual(await requests(store.get('my-key', SIGNAL)), [
    'CheckoutSecret/ {"box_id":"kes-box","secret_id":"my-key"}',
  ])
  assert.deepEqual(await requests(store.list(LIST, 10, SIGNAL)), [
    'ListSecretIds/ {"box_id":"kes-box","max_items":256}',
  ])
  assert.deepEqual(await requests(store.delete('my-key', SIGNAL)), [
    'DeleteSecret/ {"box_id":"kes-box","secret_id":"my-key"}',
  ])
  assert.deepEqual(await requests(store.status(SIGNAL)), ['GetBox/ {"box_id":"kes-box"}'])
})

test('keys that the Go server wrote are read, and ours are stored in its form', async (t) => {
  const { fake, store } = await opened(t)
  for (const { id, at_rest: value } of vectors.keys) {
    const data = Buffer.from(value).toString('base64')
    fake.secrets.set(id, { data, isExpired: false })
    assert.equal(Buffer.from(await store.get(id, SIGNAL)).toString(), value)
    decodeKey(await store.get(id, SIGNAL))
    await store.create(`our-${id}`, bytes(value), SIGNAL)
    assert.equal(fake.secrets.get(`our-${id}`)?.data, data)
  }
})

test('expired secrets are not listed, however the service spells the list', async (t) => {
  const { fake, store } = await opened(t)
  fake.secrets.set('old', { data: '', isExpired: true })
  fake.secrets.set('new', { data: '', isExpired: false })
  for (const field of ['Secrets', 'secrets']) {
    fake.listField = field
    assert.deepEqual(await store.list(LIST, 10, SIGNAL), { names: ['new'] })
  }
})

test('a box that is not there is a failure, not a missing key', async (t) => {
  const { fake, store } = await opened(t)
  fake.boxExists = false
  const missing = failure('failed', /status 404: Box not found/)
  await assert.rejects(store.get('my-key', SIGNAL), missing)
  await assert.rejects(store.delete('my-key', SIGNAL), missing)
  await assert.rejects(store.status(SIGNAL), failure('failed', /cannot see the box; check box_id/))
})

test('a wrong password is a denial that says where to look, and does not show it', async (t) => {
  const { fake, store } = await opened(t)
  fake.password = 'another'
  const error: unknown = await openStore(t, fake.config()).catch((reason: unknown) => reason)
  failure('denied', /check credentials\.username and credentials\.password.*Invalid user/)(error)
  assert.ok(!inspect([error, store], { depth: 20, showHidden: true }).includes(PASSWORD))
})

test('a missing right is a denial that says what could not be done', async (t) => {
  const { fake, store } = await opened(t)
  fake.isForbidden = true
  const denied = (what: RegExp) => failure('denied', what)
  await assert.rejects(store.get('my-key', SIGNAL), denied(/may the user check out/))
  await assert.rejects(store.status(SIGNAL), denied(/the user's rights/))
  await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), denied(/may the user create/))
  await assert.rejects(store.delete('my-key', SIGNAL), denied(/may the user delete/))
  await assert.rejects(store.list(LIST, 9, SIGNAL), denied(/may the user list/))
  assert.equal(fake.logins, 1)
})

test('tokens are renewed before they end; where that fails, by a login, again and again', async (t) => {
  const fake = await FakeEntrust.start(t)
  fake.ttl = 3000
  const store = await openStore(t, fake.config())
  while (fake.renewals < 2) await sleep(10)
  assert.equal(fake.logins, 1)
  fake.canRenew = false
  while (fake.logins < 3) await sleep(10)
  await store.status(SIGNAL)
})

test('a token without an end is taken for one of five minutes', async (t) => {
  const fake = await FakeEntrust.start(t)
  fake.ttl = 0
  await openStore(t, fake.config())
  await sleep(600)
  assert.deepEqual([fake.logins, fake.renewals], [1, 0])
})

test('a file without credentials says what is missing', () => {
  const text = `admin: { identity: disabled }
tls: { key: key, cert: cert }
keystore: { entrust: { keycontrol: { endpoint: "https://a", vault_id: v, box_id: b } } }`
  assert.throws(
    () => loadConfig(text, 'kes.yml'),
    (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(
        error.message,
        /keystore\.entrust\.keycontrol(?:\.credentials)?: a value is needed/,
      )
      return true
    },
  )
})
