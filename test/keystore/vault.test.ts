import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { failure } from '../support/failure.ts'
import { decodeKey } from '../support/keys.ts'
import { openStore } from '../support/stores.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'
import { type FakeVaultOptions, FakeVault } from './fakes/vault.ts'
import { keyStoreOutages } from './outages.ts'

const VARIANTS: Readonly<Record<string, FakeVaultOptions>> = {
  'vault, KV v1': { version: 'v1' },
  'vault, KV v2': { version: 'v2' },
  'vault, KV v2 with everything': {
    engine: 'secret/kes',
    prefix: 'team/a',
    namespace: 'ns1',
    login: 'kubernetes',
    transit: true,
  },
}

for (const [name, options] of Object.entries(VARIANTS)) {
  keyStoreContract(name, async (t) => (await opened(t, options)).store, {
    deleteTells: false,
    // A check and a write; what makes it atomic nevertheless is a policy without the capability 'update'.
    createIsAtomic: options.version !== 'v1',
    shared: async (t) => (await FakeVault.start(t, options)).config(),
  })
}

keyStoreOutages('vault', async (t) => {
  const vault = await FakeVault.start(t)
  return { service: vault.service, at: (endpoint) => vault.config({ endpoint }) }
})

async function opened(
  t: TestContext,
  options: FakeVaultOptions = {},
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ vault: FakeVault; store: KeyStore }> {
  const vault = await FakeVault.start(t, options)
  return { vault, store: await openStore(t, vault.config(settings)) }
}

const LIST = { prefix: '', from: '' }

async function text(store: KeyStore, name: string): Promise<string> {
  return Buffer.from(await store.get(name, SIGNAL)).toString()
}

test('each operation makes exactly the requests of the Go server', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { vault, store } = await opened(t, { version, prefix: 'p' })
    const data = version === 'v1' ? '/v1/kv/p' : '/v1/kv/data/p'
    const metadata = version === 'v1' ? '/v1/kv/p' : '/v1/kv/metadata/p'
    assert.deepEqual(vault.service.taken(), ['PUT /v1/auth/approle/login'])
    await store.create('my-key', bytes('value'), SIGNAL)
    const body =
      version === 'v1' ? '{"my-key":"value"}' : '{"options":{"cas":0},"data":{"my-key":"value"}}'
    assert.equal(vault.service.requests.at(-1)?.text, body)
    assert.deepEqual(vault.service.taken(), [`GET ${data}/my-key`, `PUT ${data}/my-key`])
    await store.get('my-key', SIGNAL)
    const query = version === 'v1' ? '' : '?version=1'
    assert.deepEqual(vault.service.taken(), [`GET ${data}/my-key${query}`])
    await store.list(LIST, 10, SIGNAL)
    assert.deepEqual(vault.service.taken(), [`GET ${metadata}?list=true`])
    await store.delete('my-key', SIGNAL)
    assert.deepEqual(vault.service.taken(), [`DELETE ${metadata}/my-key`])
    await store.status(SIGNAL)
    assert.deepEqual(vault.service.taken(), [
      'GET /v1/sys/health?uninitcode=299&sealedcode=299&standbycode=299&drsecondarycode=299&performancestandbycode=299',
      `GET ${data}/-openkes-probe`,
    ])
  }
})

test('keys that the Go server wrote are read, and ours are stored in its form', async (t) => {
  const one = await opened(t, { version: 'v1' })
  const two = await opened(t, { version: 'v2' })
  for (const { id, at_rest: value } of vectors.keys) {
    one.vault.v1.set(`kv/${id}`, `{"${id}":"${value}"}`)
    two.vault.v2.set(id, [{ data: `{"${id}":"${value}"}`, isDeleted: false }])
    for (const { store } of [one, two]) {
      assert.equal(await text(store, id), value)
      decodeKey(await store.get(id, SIGNAL))
    }
    for (const { store } of [one, two]) await store.create(`our-${id}`, bytes(value), SIGNAL)
    assert.equal(one.vault.v1.get(`kv/our-${id}`), `{"our-${id}":"${value}"}`)
    assert.equal(two.vault.v2.get(`our-${id}`)?.[0]?.data, `{"our-${id}":"${value}"}`)
  }
})

test('names that objects have by themselves are names like others', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { store } = await opened(t, { version })
    for (const name of ['__proto__', 'constructor', 'toString', '0']) {
      await assert.rejects(store.get(name, SIGNAL), { code: 'KEY_NOT_FOUND' })
      await store.create(name, bytes(name), SIGNAL)
      assert.equal(await text(store, name), name)
    }
  }
})

test('of KV v2 the first version counts, whatever came later', async (t) => {
  const { vault, store } = await opened(t)
  const versions = ['first', 'second'].map((value) => ({
    data: `{"my-key":"${value}"}`,
    isDeleted: false,
  }))
  vault.v2.set('my-key', versions)
  assert.equal(await text(store, 'my-key'), 'first')
})

test('a first version that was deleted is a failure, and is not overwritten', async (t) => {
  const { vault, store } = await opened(t)
  const deleted = [{ data: '{"my-key":"value"}', isDeleted: true }]
  vault.v2.set('my-key', deleted)
  const outcome = failure('failed', /'my-key' is there, but its version was deleted/)
  await assert.rejects(store.get('my-key', SIGNAL), outcome)
  await assert.rejects(store.create('my-key', bytes('new'), SIGNAL), outcome)
  assert.deepEqual(vault.v2.get('my-key'), deleted)
  await store.delete('my-key', SIGNAL)
  await store.create('my-key', bytes('new'), SIGNAL)
})

test('a secret of somebody else is a failure, not a missing key', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { vault, store } = await opened(t, { version })
    for (const data of ['{"password":"x"}', '{"my-key":7}', '{}']) {
      vault.v1.set('kv/my-key', data)
      vault.v2.set('my-key', [{ data, isDeleted: false }])
      const outcome = failure('failed', /'my-key' has no text under its own name/)
      await assert.rejects(store.get('my-key', SIGNAL), outcome)
      await assert.rejects(store.create('my-key', bytes('new'), SIGNAL), outcome)
    }
  }
})

test('folders are not listed', async (t) => {
  const { vault, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  vault.v2.set('folder/key', [{ data: '{"key":"x"}', isDeleted: false }])
  assert.deepEqual(await store.list(LIST, 10, SIGNAL), { names: ['my-key'] })
})

test('the wrong version of the engine, or none, is a failure that says so', async (t) => {
  const { vault, store } = await opened(t, { version: 'v2' })
  const wrong = await openStore(t, vault.config({ version: 'v1' }))
  vault.policy = { 'kv/': ['read', 'create', 'delete', 'list'] }
  await assert.rejects(
    wrong.get('my-key', SIGNAL),
    failure('failed', /versioned K\/V.*|check keystore\.vault\.engine, version/),
  )
  await assert.rejects(wrong.status(SIGNAL), failure('failed', /version/))
  await store.status(SIGNAL)
})

test('with transit, what is stored is a ciphertext of any version of the key', async (t) => {
  const { vault, store } = await opened(t, { transit: true })
  for (const version of [1, 2, 17]) {
    vault.transitVersion = version
    await store.create(`key-${version}`, bytes('secret value'), SIGNAL)
    const stored = vault.v2.get(`key-${version}`)?.[0]?.data ?? ''
    assert.match(stored, new RegExp(`^\\{"key-${version}":"vault:v${version}:`))
    assert.doesNotMatch(stored, /secret/)
  }
  for (const version of [1, 2, 17])
    assert.equal(await text(store, `key-${version}`), 'secret value')
})

test('with transit, what was stored without stays readable; the reverse is a failure', async (t) => {
  const { vault, store } = await opened(t, { transit: true })
  vault.v2.set('plain', [{ data: '{"plain":"value"}', isDeleted: false }])
  assert.equal(await text(store, 'plain'), 'value')
  await store.create('wrapped', bytes('value'), SIGNAL)
  const without = await openStore(t, vault.config({ transit: null }))
  await assert.rejects(
    without.get('wrapped', SIGNAL),
    failure('failed', /encrypted by a transit key, and keystore\.vault\.transit is not configured/),
  )
  await assert.rejects(without.create('wrapped', bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('who comes second is told so, with and without the capability to update', async (t) => {
  const { vault, store } = await opened(t)
  const other = await openStore(t, vault.config())
  for (const data of [
    ['create', 'read'],
    ['create', 'read', 'update'],
  ] as const) {
    vault.policy['kv/data/'] = data
    const creates = [store, other, store, other].map((each, index) =>
      each.create('my-key', bytes(`value ${index}`), SIGNAL),
    )
    const outcomes = await Promise.allSettled(creates)
    const codes = outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? 'won' : (outcome.reason as { code: string }).code,
    )
    assert.deepEqual(codes.sort(), ['KEY_EXISTS', 'KEY_EXISTS', 'KEY_EXISTS', 'won'])
    await store.delete('my-key', SIGNAL)
  }
  assert.equal(vault.logins, 2)
})

test('a create whose answer was lost has won, or has lost, as it was', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { vault, store } = await opened(t, { version })
    vault.service.fail('lost', { times: 1, only: /^PUT .*\/mine$/ })
    await store.create('mine', bytes('our value'), SIGNAL)
    assert.equal(await text(store, 'mine'), 'our value')
    vault.service.fail('reset', { times: 1, only: /^PUT .*\/race$/ })
    const outcome = store.create('race', bytes('our value'), SIGNAL)
    await until(() => vault.service.requests.some(({ path }) => path.endsWith('/race')))
    vault.v1.set('kv/race', '{"race":"their value"}')
    vault.v2.set('race', [{ data: '{"race":"their value"}', isDeleted: false }])
    await assert.rejects(outcome, { code: 'KEY_EXISTS' })
  }
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1)
}

test('a missing right is named, and costs no login', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { vault, store } = await opened(t, { version, transit: true })
    await store.create('there', bytes('value'), SIGNAL)
    const [data, metadata] = version === 'v1' ? ['kv', 'kv'] : ['kv/data', 'kv/metadata']
    const denied = (capability: string, path: string) =>
      failure('denied', new RegExp(`needs the capability '${capability}' on '${path}/?`))
    const { policy } = vault
    vault.policy = {}
    await assert.rejects(store.get('my-key', SIGNAL), denied('read', data))
    await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), denied('read', data))
    await assert.rejects(store.delete('my-key', SIGNAL), denied('delete', metadata))
    await assert.rejects(store.list(LIST, 9, SIGNAL), denied('list', metadata))
    vault.policy = { ...policy, [`${data}/`]: ['read'] }
    await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), denied('create', data))
    vault.policy = { [`${data}/`]: ['create', 'read'] }
    const encrypt = denied('update', 'transit/encrypt/my-key')
    await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), encrypt)
    await assert.rejects(store.get('there', SIGNAL), denied('update', 'transit/decrypt/my-key'))
    // Names may be narrowed: that we may not read one that begins with a hyphen is no trouble.
    vault.policy = {}
    await store.status(SIGNAL)
    assert.equal(vault.logins, 1)
  }
})
