// First: it says whom gRPC trusts.
import { GcpFake, serviceAccount } from '../support/gcp-fake.ts'

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'

import * as v from 'valibot'

import { gcp } from '#src/keystore/gcp.js'
import { crc32c } from '#src/keystore/gcp/crc32c.js'
import { Code } from '#src/keystore/gcp/errors.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { ChaosProxy } from '../support/chaos-proxy.ts'
import { Drongo } from '../support/drongo.ts'
import { eventually } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { openStore } from '../support/stores.ts'
import { without } from '../support/tools.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'

keyStoreContract(
  'gcp.secretmanager',
  async (t) => openStore(t, (await GcpFake.start(t)).config()),
  { shared: async (t) => (await GcpFake.start(t)).config() },
)

const skip = without('drongo')
const drongo = (skip === false ? await Drongo.start({ after }) : undefined) as Drongo

// Without `shared`: it takes few connections at a time, and the fake is stricter.
keyStoreContract('gcp.secretmanager on drongo', async (t) => openStore(t, drongo.config()), {
  skip,
})

async function opened(
  t: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ fake: GcpFake; store: KeyStore }> {
  const fake = await GcpFake.start(t)
  return { fake, store: await openStore(t, fake.config(settings)) }
}

const read = async (store: KeyStore, name: string): Promise<string> =>
  Buffer.from(await store.get(name, SIGNAL)).toString()

// What is stored

const written = vectors.at_rest.filter(({ file_content: content }) => content !== '')

test('a key as the Go server writes it is read', async (t) => {
  const { fake, store } = await opened(t)
  for (const { id, file_content: content } of written) {
    fake.put(id, content)
    assert.equal(await read(store, id), content, id)
  }
})

test('a key as the Go server writes it is read over REST', { skip }, async (t) => {
  const config = drongo.config()
  const store = await openStore(t, config)
  for (const { id, file_content: content } of written) {
    await drongo.ask(config, 'POST', `secrets?secretId=${id}`, {
      replication: { automatic: {} },
    })
    const data = Buffer.from(content).toString('base64')
    await drongo.ask(config, 'POST', `secrets/${id}:addVersion`, { payload: { data } })
    assert.equal(await read(store, id), content, id)
  }
})

test('a key is a secret with its name, whose only version is exactly the value', async (t) => {
  const { fake, store } = await opened(t)
  const [{ id, at_rest: value } = assert.fail()] = vectors.keys
  await store.create(id, bytes(value), SIGNAL)
  assert.deepEqual([...fake.entries.keys()], [id])
  const texts = fake.entries.get(id)?.versions.map(({ data }) => data.toString())
  assert.deepEqual(texts, [value])
})

test('it is version 1 that is read, whatever came later', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key', 'first', 'second')
  assert.equal(await read(store, 'my-key'), 'first')
})

test('a version that is disabled or destroyed is no missing key', async (t) => {
  const { fake, store } = await opened(t)
  for (const state of ['DISABLED', 'DESTROYED'] as const) {
    const [version] = fake.put('my-key', 'value').versions
    assert.ok(version)
    version.state = state
    const error = { failure: 'failed', message: /is version 1 of the secret disabled or destroyed/ }
    await assert.rejects(store.get('my-key', SIGNAL), error)
    await assert.rejects(store.create('my-key', bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
  }
})

test('a value that was damaged on its way is not returned', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key', 'value')
  fake.faults = ['damaged']
  await assert.rejects(store.get('my-key', SIGNAL), { failure: 'failed', message: /CRC32C/ })
  assert.equal(await read(store, 'my-key'), 'value')
})

// A create is two calls

const denied = { code: Code.permissionDenied, details: 'no' }
const lost = { code: Code.internal, details: 'the server died' }

test('a create whose second call is refused leaves nothing behind', async (t) => {
  const { fake, store } = await opened(t)
  fake.fault.set('AddSecretVersion', denied)
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), {
    failure: 'denied',
    message: /secretmanager\.versions\.add on the project is needed/,
  })
  assert.equal(fake.entries.size, 0)
})

test('a create whose second call may have had its effect removes nothing', async (t) => {
  const { fake, store } = await opened(t)
  fake.fault.set('AddSecretVersion', lost)
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), { failure: 'failed' })
  assert.equal(fake.entries.size, 1)
})

test('a secret that a crash left without a version is no key, and the next create finishes it', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key')
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(await read(store, 'my-key'), 'value')
  const { owner } = fake.entries.get('my-key')?.annotations ?? {}
  assert.equal(owner, 'somebody', 'annotations that were there stay')
})

test('of several creates that find such a secret exactly one wins', async (t) => {
  const { fake, store } = await opened(t)
  const other = await openStore(t, fake.config())
  fake.put('my-key')
  const creates = Array.from({ length: 8 }, (_, index) =>
    (index % 2 === 0 ? store : other).create('my-key', bytes(`value ${index}`), SIGNAL),
  )
  const outcomes = await Promise.allSettled(creates)
  const winners = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []))
  assert.equal(winners.length, 1)
  for (const outcome of outcomes)
    if (outcome.status === 'rejected')
      assert.equal((outcome.reason as { code?: string }).code, 'KEY_EXISTS')
  assert.equal(await read(store, 'my-key'), `value ${winners[0]}`)
})

test('a create that was overtaken between its two calls reports that the key exists', async (t) => {
  const { fake, store } = await opened(t)
  fake.intercept = (operation) => {
    if (operation === 'AddSecretVersion' && fake.entries.get('my-key')?.versions.length === 0)
      fake.put('my-key', 'of another')
  }
  await assert.rejects(store.create('my-key', bytes('ours'), SIGNAL), { code: 'KEY_EXISTS' })
  assert.equal(await read(store, 'my-key'), 'of another')
})

test('a refused create does not remove a secret that another has taken over', async (t) => {
  const { fake, store } = await opened(t)
  const other = await openStore(t, fake.config())
  let isOurs = true
  fake.intercept = async (operation) => {
    if (operation !== 'AddSecretVersion' || !isOurs) return undefined
    isOurs = false
    await other.create('my-key', bytes('theirs'), SIGNAL)
    return denied
  }
  await assert.rejects(store.create('my-key', bytes('ours'), SIGNAL), { failure: 'denied' })
  assert.equal(await read(store, 'my-key'), 'theirs')
})

test('a create whose answers were lost is recognised when it is tried again', async (t) => {
  const { fake, store } = await opened(t)
  let calls = 0
  fake.intercept = (operation) =>
    operation === 'AddSecretVersion' && ++calls === 1 ? 'lost' : undefined
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(fake.entries.get('my-key')?.versions.length, 2)
  assert.equal(await read(store, 'my-key'), 'value')
})

test('a create that may not look at what is there takes Google’s word for it', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key', 'value')
  fake.fault.set('AccessSecretVersion', denied)
  await assert.rejects(store.create('my-key', bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('a create that waits for another’s ends with its deadline', async (t) => {
  const { fake, store } = await opened(t)
  fake.put('my-key')
  const create = store.create('my-key', bytes('value'), AbortSignal.timeout(200))
  await assert.rejects(create, { name: 'TimeoutError' })
})

// Credentials

test('a token of another key is denied, and the message does not show the key', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const credentials = serviceAccount(privateKey)
  const { store } = await opened(t, { credentials })
  await assert.rejects(store.status(SIGNAL), (error: Error & { failure?: string }) => {
    assert.equal(error.failure, 'denied')
    assert.match(error.message, /are the credentials and the clock right\?/)
    assert.ok(!error.message.includes(credentials.private_key.slice(40, 80)))
    return true
  })
})

test('a token that is refused once is made anew', async (t) => {
  const { fake, store } = await opened(t)
  fake.faults = [{ code: Code.unauthenticated, details: 'expired' }]
  await store.status(SIGNAL)
})

test('credentials come from the file of the environment where the config has none', async (t) => {
  const file = join(tempDir(t), 'account.json')
  const account = serviceAccount()
  const private_key = account.private_key.replaceAll('\\n', '\n')
  writeFileSync(file, JSON.stringify({ type: 'service_account', ...account, private_key }))
  environment(t, file)
  for (const credentials of [{}, null])
    await (await opened(t, { credentials })).store.status(SIGNAL)
})

test('no credentials anywhere is denied, and the next call looks again', async (t) => {
  const directory = tempDir(t)
  const file = join(directory, 'account.json')
  environment(t, file)
  const { store } = await opened(t, { credentials: {} })
  const outcome = { failure: 'denied', message: /^no usable Google credentials: / }
  await assert.rejects(store.status(SIGNAL), outcome)
  const account = serviceAccount()
  const private_key = account.private_key.replaceAll('\\n', '\n')
  writeFileSync(file, JSON.stringify({ type: 'service_account', ...account, private_key }))
  await store.status(SIGNAL)
})

function environment(t: TestContext, file: string): void {
  const before = process.env['GOOGLE_APPLICATION_CREDENTIALS']
  process.env['GOOGLE_APPLICATION_CREDENTIALS'] = file
  t.after(() => {
    if (before === undefined) delete process.env['GOOGLE_APPLICATION_CREDENTIALS']
    else process.env['GOOGLE_APPLICATION_CREDENTIALS'] = before
  })
}

// Errors

const calls: Readonly<
  Record<string, readonly [string, (store: KeyStore, signal: AbortSignal) => Promise<unknown>]>
> = {
  CreateSecret: [
    'secretmanager.secrets.create',
    (store, signal) => store.create('my-key', bytes('the-secret-value'), signal),
  ],
  AccessSecretVersion: [
    'secretmanager.versions.access',
    (store, signal) => store.get('their-key', signal),
  ],
  DeleteSecret: [
    'secretmanager.secrets.delete',
    (store, signal) => store.delete('their-key', signal),
  ],
  ListSecrets: [
    'secretmanager.secrets.list',
    (store, signal) => store.list({ prefix: '', from: '' }, 10, signal),
  ],
}

for (const [operation, [permission, call]] of Object.entries(calls)) {
  test(`a missing right is denied, and the message names ${permission}`, async (t) => {
    const { fake, store } = await opened(t)
    fake.fault.set(operation, denied)
    await assert.rejects(call(store, SIGNAL), {
      name: 'KeyStoreError',
      failure: 'denied',
      message: new RegExp(`${permission} on the project is needed`.replaceAll('.', '\\.')),
    })
  })

  test(`${operation} ends with its deadline when nobody answers`, async (t) => {
    const { fake, store } = await opened(t)
    fake.put('their-key', 'value')
    fake.fault.set('*', 'hang')
    await assert.rejects(call(store, AbortSignal.timeout(200)), { name: 'TimeoutError' })
    fake.fault.clear()
    await call(store, SIGNAL)
  })

  test(`${operation} is tried again when the service is away for a moment`, async (t) => {
    const { fake, store } = await opened(t)
    fake.put('their-key', 'value')
    fake.faults = [
      { code: Code.unavailable, details: 'away' },
      { code: Code.resourceExhausted, details: 'too many' },
    ]
    await call(store, SIGNAL)
    assert.deepEqual(fake.faults, [])
  })

  test(`${operation}: a service that is away is told from one that fails`, async (t) => {
    const { fake, store } = await opened(t)
    fake.fault.set('*', { code: Code.unavailable, details: 'away' })
    await assert.rejects(call(store, SIGNAL), { failure: 'unreachable' })
    fake.fault.set('*', { code: Code.invalidArgument, details: 'bad' })
    await assert.rejects(call(store, SIGNAL), { failure: 'failed' })
  })
}

test('where nobody listens the keystore is unreachable', async (t) => {
  for (const endpoint of ['localhost:1', 'http://127.0.0.1:1']) {
    const { store } = await opened(t, { endpoint })
    await assert.rejects(store.status(SIGNAL), { failure: 'unreachable', message: /ECONNREFUSED/ })
  }
})

test('the first call after a service is back works', async (t) => {
  const fake = await GcpFake.start(t)
  const proxy = await ChaosProxy.start(t, { port: fake.port })
  const store = await openStore(t, fake.config({ endpoint: `localhost:${proxy.port}` }))
  await store.status(SIGNAL)
  await proxy.become('refuse')
  await assert.rejects(store.status(SIGNAL), { failure: 'unreachable' })
  await proxy.become('pass')
  await store.status(SIGNAL)
})

test('a closed store has no connections', async (t) => {
  const fake = await GcpFake.start(t)
  const proxy = await ChaosProxy.start(t, { port: fake.port })
  const store = await openStore(t, fake.config({ endpoint: `localhost:${proxy.port}` }))
  await store.status(SIGNAL)
  assert.ok(proxy.connections > 0)
  await store.close()
  await eventually('they are closed', () => proxy.connections === 0)
})

// The config

test('an endpoint is a host, with or without a port, or a URL', () => {
  const endpoint = (given?: string): string =>
    v.parse(gcp.config, { project_id: 'p', endpoint: given }).endpoint
  assert.equal(endpoint(), 'https://secretmanager.googleapis.com')
  assert.equal(endpoint(''), 'https://secretmanager.googleapis.com')
  assert.equal(endpoint('example.com:443'), 'https://example.com:443')
  assert.equal(endpoint('https://example.com'), 'https://example.com')
  assert.throws(() => endpoint('ftp://example.com'), /not an endpoint/)
})

test('a private key that is none is an error that does not show it', () => {
  const credentials = { ...serviceAccount(), private_key: 'no-private-key-at-all' }
  const { issues } = v.safeParse(gcp.config, { project_id: 'p', credentials })
  assert.deepEqual(
    issues?.map(({ message }) => message),
    ['not a private key in PEM'],
  )
})

test('credentials that are not whole are an error that names what is missing', () => {
  const credentials = { client_email: 'a@b', client_id: '1', private_key_id: '2' }
  const { issues } = v.safeParse(gcp.config, { project_id: 'p', credentials })
  assert.match(issues?.[0]?.message ?? '', /all four belong together; there is no private_key$/)
})

test('CRC-32C is that of RFC 3720', () => {
  const sums: readonly (readonly [Uint8Array, number])[] = [
    [Buffer.alloc(0), 0],
    [Buffer.alloc(32), 0x8a9136aa],
    [Buffer.alloc(32, 0xff), 0x62a8ab43],
    [Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e],
    [bytes('123456789'), 0xe3069283],
  ]
  for (const [data, sum] of sums) assert.equal(crc32c(data), sum)
})
