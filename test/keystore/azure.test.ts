import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import * as identity from '@azure/identity'
import * as secrets from '@azure/keyvault-secrets'
import * as v from 'valibot'

import { azure } from '#src/keystore/azure.js'
import { AzureStore } from '#src/keystore/azure/store.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { AzureFake, CLIENT, failure, SECRET, TENANT } from '../support/azure-fake.ts'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { FakeHttp } from '../support/fake-http.ts'
import { eventually } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { openStore } from '../support/stores.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'

/** A vault whose clock is finer than Azure's, so that a create need not wait a second. */
async function quick(
  t: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ fake: AzureFake; store: KeyStore; reopen: () => KeyStore }> {
  const fake = await AzureFake.start(t, { clockResolution: 10 })
  const config = v.parse(azure.config, fake.config(settings).settings)
  const reopen = (): KeyStore => {
    const store = new AzureStore(config, { ...identity, ...secrets }, 10)
    t.after(() => store.close())
    return store
  }
  return { fake, store: reopen(), reopen }
}

keyStoreContract('azure.keyvault', async (t) => (await quick(t)).store, {
  holds: (name) => /^[0-9a-z-]+$/.test(name),
  shared: async (t) => (await AzureFake.start(t)).config(),
})

const read = async (store: KeyStore, name: string): Promise<string> =>
  Buffer.from(await store.get(name, SIGNAL)).toString()

// What is stored

test('a key as the Go server writes it is read', async (t) => {
  const { fake, store } = await quick(t)
  for (const { id, file_content: content } of vectors.at_rest) {
    if (content === '') continue
    fake.put(id, content)
    assert.equal(await read(store, id), content, id)
  }
})

test('a key is a secret with its name, whose only version is exactly the value', async (t) => {
  const { fake, store } = await quick(t)
  const [{ id, at_rest: value } = assert.fail()] = vectors.keys
  await store.create(id, bytes(value), SIGNAL)
  const { name, versions } = fake.entries.get(id) ?? assert.fail()
  assert.equal(name, id)
  assert.deepEqual(
    versions.map((version) => version.value),
    [value],
  )
})

test('it is the oldest version that is read, of more than a page of them', async (t) => {
  const { fake, store } = await quick(t)
  for (let index = 0; index < 60; index++)
    fake.put('my-key', `value ${index}`, { created: 1_000_000 + ((index + 30) % 60) })
  assert.equal(await read(store, 'my-key'), 'value 30')
})

test('of versions that are equally old the first that is listed is read', async (t) => {
  const { fake, store } = await quick(t)
  for (let index = 0; index < 9; index++) fake.put('my-key', `value ${index}`, { created: 1000 })
  assert.equal(await read(store, 'my-key'), fake.entries.get('my-key')?.versions[0]?.value)
})

for (const [what, attributes, message] of [
  ['disabled', { enabled: false }, /is disabled/],
  ['not valid yet', { nbf: 4e9 }, /is not valid yet/],
  ['expired', { exp: 1 }, /has expired/],
] as const) {
  test(`a version that is ${what} is no missing key`, async (t) => {
    const { fake, store } = await quick(t)
    fake.put('my-key', 'value', attributes)
    await assert.rejects(store.get('my-key', SIGNAL), { failure: 'failed', message })
  })
}

// Names

test('a name that no vault can hold is an error that says what is possible', async (t) => {
  const { fake, store } = await quick(t)
  await assert.rejects(store.create('my_key', bytes('value'), SIGNAL), {
    name: 'KeyStoreError',
    failure: 'failed',
    message: /cannot hold the name 'my_key': only letters, digits and - are possible$/,
  })
  await assert.rejects(store.get('my_key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(store.delete('my_key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  assert.deepEqual(fake.http.requests, [])
})

test('names that differ in capital letters only are not mixed up', async (t) => {
  const { store } = await quick(t)
  await store.create('Key', bytes('value'), SIGNAL)
  await assert.rejects(store.create('key', bytes('x'), SIGNAL), {
    failure: 'failed',
    message: /does not tell 'key' from 'Key', which it has$/,
  })
  await assert.rejects(store.get('key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(store.delete('key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  assert.equal(await read(store, 'Key'), 'value')
})

// Races

test('a create that was overtaken after it looked reports that the key exists', async (t) => {
  const { fake, store } = await quick(t)
  fake.intercept = (operation) => {
    if (operation === 'set' && !fake.entries.has('my-key'))
      fake.put('my-key', 'of another', { created: 1 })
  }
  await assert.rejects(store.create('my-key', bytes('ours'), SIGNAL), { code: 'KEY_EXISTS' })
  assert.equal(await read(store, 'my-key'), 'of another')
})

test('of creates in the same second of the vault’s clock exactly one wins, and is read', async (t) => {
  const fake = await AzureFake.start(t)
  const store = await openStore(t, fake.config())
  const values = Array.from({ length: 8 }, (_, index) => `value ${index}`)
  const outcomes = await Promise.allSettled(
    values.map((value) => store.create('my-key', bytes(value), SIGNAL)),
  )
  const winners = values.filter((_, index) => outcomes[index]?.status === 'fulfilled')
  assert.deepEqual(winners, [await read(store, 'my-key')])
  assert.ok((fake.entries.get('my-key')?.versions.length ?? 0) > 1, 'it was a race')
})

test('a create whose answer was lost is recognised when it is tried again', async (t) => {
  const { fake, store } = await quick(t)
  await store.status(SIGNAL)
  fake.intercept = (operation) => {
    if (operation === 'get') fake.http.faults = ['lost']
  }
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(fake.entries.get('my-key')?.versions.length, 2)
  assert.equal(await read(store, 'my-key'), 'value')
})

// Deletions

test('a deleted secret is purged, also when the deletion takes its time', async (t) => {
  const { fake, store } = await quick(t)
  await store.create('my-key', bytes('first'), SIGNAL)
  fake.deletionWindow = 300
  await store.delete('my-key', SIGNAL)
  assert.equal(fake.deleted.get('my-key')?.isPurged, true)
  await store.create('my-key', bytes('second'), SIGNAL)
  assert.equal(await read(store, 'my-key'), 'second')
})

test('a secret that somebody deleted without purging it makes room for a new one', async (t) => {
  const { fake, store } = await quick(t)
  fake.deleted.set('my-key', { name: 'my-key', settles: 0, isPurged: false })
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(await read(store, 'my-key'), 'value')
})

test('a delete that was broken off before it purged is finished by the next', async (t) => {
  const { fake, store } = await quick(t)
  fake.deleted.set('my-key', { name: 'my-key', settles: 0, isPurged: false })
  await store.delete('my-key', SIGNAL)
  assert.equal(fake.deleted.get('my-key')?.isPurged, true)
})

test('purge protection is an error that says how long the name is taken', async (t) => {
  const { fake, store } = await quick(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  fake.hasPurgeProtection = true
  const error = { failure: 'denied', message: /purge protection, and the name is taken until/ }
  await assert.rejects(store.delete('my-key', SIGNAL), error)
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), error)
})

test('a create that waits for a deletion ends with its deadline', async (t) => {
  const { fake, store } = await quick(t)
  const settles = Date.now() + 60_000
  fake.deleted.set('my-key', { name: 'my-key', settles, isPurged: false })
  const create = store.create('my-key', bytes('value'), AbortSignal.timeout(300))
  await assert.rejects(create, { name: 'TimeoutError' })
})

// Credentials

test('a client secret is shown to the authority that the vault names', async (t) => {
  const { fake, store } = await quick(t)
  await store.status(SIGNAL)
  await store.status(SIGNAL)
  assert.deepEqual(fake.grants, ['secret'])
})

test('a wrong client secret is denied, and not shown', async (t) => {
  const credentials = { tenant_id: TENANT, client_id: CLIENT, client_secret: 'a-wrong-secret' }
  const { store } = await quick(t, { credentials })
  await assert.rejects(store.status(SIGNAL), (error: Error & { failure?: string }) => {
    assert.equal(error.failure, 'denied')
    assert.match(error.message, /^no Azure credentials: .*Invalid client secret/)
    assert.ok(!error.message.includes('a-wrong-secret'))
    return true
  })
})

test('an authority that nobody reaches is unreachable, not denied', async (t) => {
  const { reopen } = await quick(t)
  process.env['AZURE_AUTHORITY_HOST'] = 'https://login.azure.test:1'
  await assert.rejects(reopen().status(SIGNAL), { failure: 'unreachable' })
})

test('a token that is no longer good is replaced, once', async (t) => {
  const { fake, store } = await quick(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  fake.tokens.clear()
  assert.equal(await read(store, 'my-key'), 'value')
  assert.equal(fake.grants.length, 2)
  fake.http.fault = failure(401, 'Unauthorized')
  await assert.rejects(store.status(SIGNAL), { failure: 'denied' })
})

test('a managed identity gets its tokens from the machine', async (t) => {
  const { fake, reopen } = await quick(t, {
    credentials: {},
    managed_identity: { client_id: 'my-identity' },
  })
  const machine = await FakeHttp.start(t, ({ method, path, headers }) => {
    const { searchParams } = new URL(path, 'http://machine')
    assert.equal(method, 'GET')
    assert.equal(headers['x-identity-header'], 'proof')
    assert.equal(searchParams.get('client_id'), 'my-identity')
    assert.equal(searchParams.get('resource'), 'https://vault.azure.test')
    const expires_on = Math.floor(Date.now() / 1000) + 3600
    return { status: 200, body: { ...fake.issue(), expires_on } }
  })
  environment(t, { IDENTITY_ENDPOINT: `${machine.url}/token`, IDENTITY_HEADER: 'proof' })
  await reopen().status(SIGNAL)
  assert.equal(machine.requests.length, 1)
})

test('a workload identity shows its token, read anew, where the config has nothing', async (t) => {
  const file = join(tempDir(t), 'token')
  writeFileSync(file, 'federated-token')
  environment(t, {
    AZURE_TENANT_ID: TENANT,
    AZURE_CLIENT_ID: CLIENT,
    AZURE_FEDERATED_TOKEN_FILE: file,
  })
  const { fake, store } = await quick(t, { credentials: {} })
  await store.status(SIGNAL)
  assert.deepEqual(fake.grants, ['assertion federated-token'])
})

test('a client secret comes from the environment where the config has nothing', async (t) => {
  environment(t, {
    AZURE_TENANT_ID: TENANT,
    AZURE_CLIENT_ID: CLIENT,
    AZURE_CLIENT_SECRET: SECRET,
  })
  const { fake, store } = await quick(t, { credentials: null, managed_identity: { client_id: '' } })
  await store.status(SIGNAL)
  assert.deepEqual(fake.grants, ['secret'])
})

function environment(t: TestContext, given: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(given)) {
    const before = process.env[name]
    process.env[name] = value
    t.after(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
}

// Errors

const calls: Readonly<
  Record<string, readonly [string, (store: KeyStore, signal: AbortSignal) => Promise<unknown>]>
> = {
  get: ['readMetadata', (store, signal) => store.get('their-key', signal)],
  create: ['getSecret', (store, signal) => store.create('my-key', bytes('the-value'), signal)],
  delete: ['readMetadata', (store, signal) => store.delete('their-key', signal)],
  list: ['readMetadata', (store, signal) => store.list({ prefix: '', from: '' }, 10, signal)],
}

for (const [name, [permission, call]] of Object.entries(calls)) {
  test(`${name}: a missing right is denied, and the message names it`, async (t) => {
    const { fake, store } = await quick(t)
    await store.status(SIGNAL)
    fake.http.fault = failure(403, 'Forbidden', 'ForbiddenByRbac')
    await assert.rejects(call(store, SIGNAL), {
      name: 'KeyStoreError',
      failure: 'denied',
      message: new RegExp(`Microsoft.KeyVault/vaults/secrets/${permission}/action\\) is needed$`),
    })
  })

  test(`${name} ends with its deadline when nobody answers`, async (t) => {
    const { fake, store } = await quick(t)
    await store.status(SIGNAL)
    fake.http.fault = 'hang'
    await assert.rejects(call(store, AbortSignal.timeout(200)), { name: 'TimeoutError' })
  })

  test(`${name} is tried again after 5xx, a broken connection and a call too many`, async (t) => {
    const { fake, store } = await quick(t)
    fake.put('their-key', 'value')
    await store.status(SIGNAL)
    fake.http.faults = [
      failure(500, 'InternalError'),
      { status: 503 },
      'reset',
      { ...failure(429, 'Throttled'), headers: { 'retry-after': '0' } },
    ]
    await call(store, SIGNAL)
    assert.deepEqual(fake.http.faults, [])
  })

  test(`${name}: a web page instead of an answer is a failure`, async (t) => {
    const { fake, store } = await quick(t)
    await store.status(SIGNAL)
    fake.http.fault = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }
    await assert.rejects(call(store, SIGNAL), { name: 'KeyStoreError', failure: 'failed' })
  })
}

test('rights that only some calls need are named, too', async (t) => {
  const { fake, store } = await quick(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  // After the call that looks whether it is there.
  fake.intercept = (operation) => {
    if (operation === 'list versions' || operation === 'get')
      fake.http.faults = [failure(403, 'Forbidden', 'ForbiddenByPolicy')]
  }
  await assert.rejects(store.delete('my-key', SIGNAL), { message: /secrets\/delete \(/ })
  await assert.rejects(store.create('new', bytes('value'), SIGNAL), { message: /secrets\/set \(/ })
})

test('a vault that is out of order is unreachable, one that nobody reaches, too', async (t) => {
  const { fake, store } = await quick(t)
  await store.status(SIGNAL)
  for (const fault of [failure(503, 'ServiceUnavailable'), { status: 503 }, 'reset'] as const) {
    fake.http.fault = fault
    await assert.rejects(store.status(SIGNAL), { failure: 'unreachable' })
  }
  const away = await quick(t, { endpoint: 'https://my-vault.vault.azure.test:1' })
  await assert.rejects(away.store.status(SIGNAL), {
    failure: 'unreachable',
    message: /ECONNREFUSED/,
  })
})

test('an error does not repeat the value that was sent', async (t) => {
  const { fake, store } = await quick(t)
  await store.status(SIGNAL)
  fake.intercept = (operation) => {
    const body = { error: { code: 'BadParameter', message: 'bad the-secret-value here' } }
    if (operation === 'get') fake.http.faults = [{ status: 400, body }]
  }
  await assert.rejects(
    store.create('my-key', bytes('the-secret-value'), SIGNAL),
    (error: Error) => {
      assert.ok(!error.message.includes('the-secret-value'), error.message)
      return true
    },
  )
})

test('a closed store has no connections to the vault', async (t) => {
  const { fake, store } = await quick(t)
  await Promise.all(Array.from({ length: 5 }, () => store.status(SIGNAL)))
  assert.ok(fake.http.connections > 0)
  await store.close()
  await eventually('they are closed', () => fake.http.connections <= 1)
})

// The config

const problems = (settings: object): string[] =>
  (
    v.safeParse(azure.config, { endpoint: 'https://v.vault.azure.net', ...settings }).issues ?? []
  ).map(({ message }) => message)

test('credentials that are not whole are an error that names what is missing', () => {
  assert.deepEqual(problems({ credentials: { tenant_id: 't' } }), [
    'all three belong together; there is no client_id, no client_secret',
  ])
})

test('credentials beside a managed identity are an error, empty ones are not', () => {
  const credentials = { tenant_id: 't', client_id: 'c', client_secret: 's' }
  const both = { credentials, managed_identity: { client_id: 'm' } }
  assert.deepEqual(problems(both), ['stands beside credentials; only one of them is possible'])
  assert.deepEqual(problems({ ...both, managed_identity: { client_id: '' } }), [])
  const empty = { tenant_id: '', client_id: '', client_secret: '' }
  assert.deepEqual(problems({ ...both, credentials: empty }), [])
})

test('a vault is spoken to over https only', () => {
  assert.deepEqual(problems({ endpoint: 'http://v.vault.azure.net' }), [
    'only https: tokens are sent to it',
  ])
})
