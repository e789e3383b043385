import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'

import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { failure } from '../support/failure.ts'
import { decodeKey } from '../support/keys.ts'
import { openStore } from '../support/stores.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'
import { API_KEY, FakeFortanix } from './fakes/fortanix.ts'
import { keyStoreOutages } from './outages.ts'

keyStoreContract('fortanix', async (t) => (await opened(t)).store, {
  shared: async (t) => (await FakeFortanix.start(t)).config(),
})

keyStoreOutages('fortanix', async (t) => {
  const fake = await FakeFortanix.start(t)
  return { service: fake.service, at: (endpoint) => fake.config({ endpoint }) }
})

async function opened(
  t: TestContext,
  options: { group?: string } = {},
): Promise<{ fake: FakeFortanix; store: KeyStore }> {
  const fake = await FakeFortanix.start(t, options)
  return { fake, store: await openStore(t, fake.config()) }
}

const LIST = { prefix: '', from: '' }

test('each operation makes the requests of the Go server', async (t) => {
  const { fake, store } = await opened(t, { group: 'my-group' })
  assert.deepEqual(fake.service.taken(), [
    'GET /sys/v1/health',
    'POST /sys/v1/session/auth',
    'POST /sys/v1/session/terminate',
  ])
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(
    fake.service.requests[0]?.text,
    '{"obj_type":"OPAQUE","name":"my-key","group_id":"my-group","key_ops":["EXPORT","APPMANAGEABLE"],"value":"dmFsdWU=","enabled":true}',
  )
  assert.deepEqual(fake.service.taken(), ['PUT /crypto/v1/keys'])
  await store.get('my-key', SIGNAL)
  assert.equal(fake.service.requests[0]?.text, '{"name":"my-key"}')
  assert.deepEqual(fake.service.taken(), ['POST /crypto/v1/keys/export'])
  await store.list(LIST, 10, SIGNAL)
  assert.deepEqual(fake.service.taken(), [
    'GET /crypto/v1/keys?sort=name:asc&limit=100',
    'GET /crypto/v1/keys?sort=name:asc&limit=100&start=my-key',
  ])
  const kid = fake.objects.get('my-key')?.kid
  await store.delete('my-key', SIGNAL)
  assert.deepEqual(fake.service.taken(), [
    'POST /crypto/v1/keys/export',
    `DELETE /crypto/v1/keys/${kid}`,
  ])
  await store.status(SIGNAL)
  assert.deepEqual(fake.service.taken(), ['POST /crypto/v1/keys/export'])
})

test('keys that the Go server wrote are read, and ours are stored in its form', async (t) => {
  const { fake, store } = await opened(t)
  for (const { id, at_rest: value } of vectors.keys) {
    const stored = Buffer.from(value).toString('base64')
    fake.put(id, stored)
    assert.equal(Buffer.from(await store.get(id, SIGNAL)).toString(), value)
    decodeKey(await store.get(id, SIGNAL))
    await store.create(`our-${id}`, bytes(value), SIGNAL)
    assert.equal(fake.objects.get(`our-${id}`)?.value, stored)
  }
})

test('a listing has every name once, whether a page starts with the name asked for or behind it', async (t) => {
  const { fake, store } = await opened(t)
  const all = Array.from({ length: 250 }, (_, index) => `key-${String(index).padStart(3, '0')}`)
  for (const name of all) fake.put(name, '')
  for (const isInclusive of [true, false]) {
    fake.startIsInclusive = isInclusive
    assert.deepEqual(await store.list(LIST, 1000, SIGNAL), { names: all })
  }
})

test('a disabled object is a failure, not a missing key', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key', 'dmFsdWU=', false)
  await assert.rejects(store.get('my-key', SIGNAL), failure('failed', /'my-key' is disabled/))
})

test('an object without base64 is a failure, not a missing key', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key', 'no base64!')
  await assert.rejects(store.get('my-key', SIGNAL), failure('failed', /no value in base64/))
})

test('a wrong API key is a denial that says where to look, and does not show it', async (t) => {
  const { fake, store } = await opened(t)
  fake.apiKey = 'another'
  const error: unknown = await openStore(t, fake.config()).catch((reason: unknown) => reason)
  failure('denied', /cannot log in; check credentials\.key.* status 401: unauthorized$/)(error)
  await assert.rejects(store.status(SIGNAL), failure('denied', /status 401/))
  assert.ok(!inspect([error, store], { depth: 20, showHidden: true }).includes(API_KEY))
})

test('a missing right is named', async (t) => {
  const { fake, store } = await opened(t)
  fake.isForbidden = true
  const denied = (right: string) =>
    failure('denied', new RegExp(`the right to ${right}.*status 403: app does not have permission`))
  await assert.rejects(store.get('my-key', SIGNAL), denied('export'))
  await assert.rejects(store.status(SIGNAL), denied('export'))
  await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), denied('create'))
  await assert.rejects(store.delete('my-key', SIGNAL), denied('export'))
  await assert.rejects(store.list(LIST, 9, SIGNAL), denied('read'))
})
