import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'

import * as v from 'valibot'

import { aws } from '#src/keystore/aws.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { AwsFake, failure } from '../support/aws-fake.ts'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { FakeHttp } from '../support/fake-http.ts'
import { Moto } from '../support/moto.ts'
import { eventually } from '../support/process.ts'
import { openStore } from '../support/stores.ts'
import { without } from '../support/tools.ts'
import { vectors } from '../support/vectors.ts'
import { keyStoreContract } from './contract.ts'

keyStoreContract(
  'aws.secretsmanager',
  async (t) => openStore(t, (await AwsFake.start(t)).config()),
  { deleteTells: false, shared: async (t) => (await AwsFake.start(t)).config() },
)

const skip = without('moto_server')
const moto = (skip === false ? await Moto.start({ after }) : undefined) as Moto

keyStoreContract(
  'aws.secretsmanager on moto',
  async (t) => openStore(t, await moto.emptyConfig()),
  { deleteTells: false, shared: () => moto.emptyConfig(), skip },
)

async function opened(
  t: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ fake: AwsFake; store: KeyStore }> {
  const fake = await AwsFake.start(t)
  return { fake, store: await openStore(t, fake.config(settings)) }
}

/** Sets variables of the environment until the test ends, and takes away those of the machine. */
function environment(t: TestContext, given: Readonly<Record<string, string>>): void {
  const before = { ...process.env }
  t.after(() => {
    for (const name of Object.keys(process.env)) delete process.env[name]
    Object.assign(process.env, before)
  })
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, {
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    ...given,
  })
}

const read = async (store: KeyStore, name: string): Promise<string> =>
  Buffer.from(await store.get(name, SIGNAL)).toString()

// What is stored

test('a key as the Go server writes it is read', { skip }, async (t) => {
  const store = await openStore(t, await moto.emptyConfig())
  for (const { id, file_content: content } of vectors.at_rest.filter(
    ({ id }) => id !== 'vec-bad-empty',
  )) {
    await moto.ask('secretsmanager.CreateSecret', { Name: id, SecretString: content })
    assert.equal(await read(store, id), content, id)
  }
})

test('a key is a secret with its name, whose text is exactly the value', { skip }, async (t) => {
  const store = await openStore(t, await moto.emptyConfig())
  const [{ id, at_rest: value } = assert.fail()] = vectors.keys
  await store.create(id, bytes(value), SIGNAL)
  const answer = await moto.ask('secretsmanager.GetSecretValue', { SecretId: id })
  assert.equal(answer['Name'], id)
  assert.equal(answer['SecretString'], value)
})

test('a secret of bytes is read, too', async (t) => {
  const { fake, store } = await opened(t)
  fake.entries.set('my-key', { value: bytes('value'), version: 'v', isPending: false })
  assert.equal(await read(store, 'my-key'), 'value')
})

test('new secrets have the KMS key of the config', async (t) => {
  const { fake, store } = await opened(t, { kmskey: 'alias/kes' })
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.match(fake.http.requests[0]?.body ?? '', /"KmsKeyId":"alias\/kes"/)
})

test('without a KMS key in the config, secrets have the account’s', async (t) => {
  const { fake, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.doesNotMatch(fake.http.requests[0]?.body ?? '', /KmsKeyId/)
})

// Credentials

test('a temporary access key comes with its token', async (t) => {
  const { fake, store } = await opened(t, {
    credentials: { accesskey: 'ATEMP', secretkey: 'secret-of-ATEMP', token: 'token-of-ATEMP' },
  })
  fake.accessKeys.set('ATEMP', { secret: 'secret-of-ATEMP', token: 'token-of-ATEMP' })
  await store.status(SIGNAL)
})

for (const [what, credentials] of Object.entries({
  'an unknown access key': { accesskey: 'AOTHER', secretkey: 'secret-of-AKTEST' },
  'a wrong secret key': { accesskey: 'AKTEST', secretkey: 'wrong-secret-key' },
  'an expired token': { accesskey: 'AKTEST', secretkey: 'secret-of-AKTEST', token: 'old-token' },
})) {
  test(`${what} is denied, and the message does not show it`, async (t) => {
    const { store } = await opened(t, { credentials })
    await assert.rejects(store.status(SIGNAL), (error: Error) => {
      assert.match(error.message, /are the credentials, region and clock right\?/)
      assert.equal((error as { failure?: string }).failure, 'denied')
      for (const secret of [credentials.secretkey, 'old-token'])
        assert.ok(!error.message.includes(secret))
      return true
    })
  })
}

test('credentials come from the environment where the config has none', async (t) => {
  environment(t, { AWS_ACCESS_KEY_ID: 'AKTEST', AWS_SECRET_ACCESS_KEY: 'secret-of-AKTEST' })
  for (const credentials of [{}, { accesskey: '', secretkey: '', token: '' }, null]) {
    const { store } = await opened(t, { credentials })
    await store.status(SIGNAL)
  }
})

test('credentials of a container are fetched, and fetched again when they expire', async (t) => {
  const fake = await AwsFake.start(t)
  let issued = 0
  let expiry = 0
  const container = await FakeHttp.start(t, ({ method, path, headers }) => {
    assert.deepEqual([method, path, headers['authorization']], ['GET', '/credentials', 'pod-token'])
    const id = `APOD${++issued}`
    expiry = Date.now() + 300
    fake.accessKeys.clear()
    fake.accessKeys.set(id, { secret: `secret-of-${id}`, token: `token-of-${id}` })
    const keys = { AccessKeyId: id, SecretAccessKey: `secret-of-${id}`, Token: `token-of-${id}` }
    return { status: 200, body: { ...keys, Expiration: new Date(expiry).toISOString() } }
  })
  environment(t, {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${container.url}/credentials`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: 'pod-token',
  })
  const store = await openStore(t, fake.config({ credentials: {} }))
  await store.create('my-key', bytes('value'), SIGNAL)
  await eventually('they expire', () => Date.now() > expiry)
  assert.equal(await read(store, 'my-key'), 'value')
  assert.ok(issued > 1)
})

test('no credentials anywhere is an error that says what to do', async (t) => {
  environment(t, {})
  const { store } = await opened(t, { credentials: {} })
  await assert.rejects(store.status(SIGNAL), {
    failure: 'denied',
    message: /^no AWS credentials: .*; set credentials, or give the process a role$/,
  })
})

// Errors

const calls: Readonly<Record<string, (store: KeyStore, signal: AbortSignal) => Promise<unknown>>> =
  {
    CreateSecret: (store, signal) => store.create('my-key', bytes('the-secret-value'), signal),
    GetSecretValue: (store, signal) => store.get('my-key', signal),
    DeleteSecret: (store, signal) => store.delete('my-key', signal),
    ListSecrets: (store, signal) => store.list({ prefix: '', from: '' }, 10, signal),
  }

for (const [action, call] of Object.entries(calls)) {
  test(`a missing right is denied, and the message names secretsmanager:${action}`, async (t) => {
    const { fake, store } = await opened(t)
    fake.http.fault = failure(400, 'AccessDeniedException', 'User: me is not authorized')
    await assert.rejects(call(store, SIGNAL), {
      name: 'KeyStoreError',
      failure: 'denied',
      message: new RegExp(`not authorized; the policy must allow secretsmanager:${action}`),
    })
  })

  test(`${action} ends with its deadline when nobody answers`, async (t) => {
    const { fake, store } = await opened(t)
    fake.http.fault = 'hang'
    const signal = AbortSignal.timeout(200)
    await assert.rejects(call(store, signal), { name: 'TimeoutError' })
  })

  test(`${action} is tried again after 5xx, a broken connection and a call too many`, async (t) => {
    const { fake, store } = await opened(t)
    fake.entries.set('my-key', { value: 'value', version: 'v', isPending: false })
    if (action === 'CreateSecret') fake.entries.clear()
    for (const faults of [
      [failure(500, 'InternalServiceError'), failure(503, 'ServiceUnavailable')],
      ['reset' as const],
      [failure(400, 'ThrottlingException')],
    ]) {
      fake.http.faults = [...faults]
      await call(store, SIGNAL)
      assert.deepEqual(fake.http.faults, [])
      if (action === 'CreateSecret') fake.entries.clear()
    }
  })

  test(`${action}: a service that cannot be reached is told from one that fails`, async (t) => {
    const { fake, store } = await opened(t)
    const outcome = (): Promise<unknown> =>
      call(store, SIGNAL).then(
        () => 'fine',
        (error: { failure?: string }) => error.failure,
      )
    fake.http.fault = failure(503, 'ServiceUnavailable')
    assert.equal(await outcome(), 'unreachable')
    fake.http.fault = 'reset'
    assert.equal(await outcome(), 'unreachable')
    fake.http.fault = failure(500, 'InternalServiceError')
    assert.equal(await outcome(), 'failed')
    fake.http.fault = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }
    assert.equal(await outcome(), 'failed')
  })
}

test('where nobody listens the keystore is unreachable', async (t) => {
  const store = await openStore(
    t,
    (await AwsFake.start(t)).config({ endpoint: 'http://127.0.0.1:1' }),
  )
  await assert.rejects(store.status(SIGNAL), {
    failure: 'unreachable',
    message: /^http:\/\/127\.0\.0\.1:1: connect ECONNREFUSED/,
  })
})

test('an error does not repeat the value that was sent', async (t) => {
  const { fake, store } = await opened(t)
  fake.http.fault = failure(400, 'InvalidParameterException', 'bad value the-secret-value here')
  await assert.rejects(store.create('my-key', bytes('the-secret-value'), SIGNAL), {
    failure: 'failed',
    message: /bad value … here/,
  })
})

test('a KMS key that may not be used is denied, with the rights that it takes', async (t) => {
  const { fake, store } = await opened(t)
  fake.http.fault = failure(400, 'DecryptionFailure')
  await assert.rejects(store.get('my-key', SIGNAL), { failure: 'denied', message: /kms:Decrypt/ })
  fake.http.fault = failure(400, 'EncryptionFailure')
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), {
    failure: 'denied',
    message: /kms:GenerateDataKey/,
  })
})

// A create whose answer was lost, and deletions that take their time

test('a create whose answer was lost is recognised when it is tried again', async (t) => {
  const { fake, store } = await opened(t)
  fake.http.faults = ['lost']
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(await read(store, 'my-key'), 'value')
})

test('the key of another, found when a create is tried again, is not taken for ours', async (t) => {
  const { fake, store } = await opened(t)
  fake.entries.set('my-key', { value: 'value', version: 'another', isPending: false })
  fake.http.faults = ['lost']
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('a create waits for a deletion of the same name to end', async (t) => {
  const { fake, store } = await opened(t)
  fake.slowDeletions = true
  await store.create('my-key', bytes('first'), SIGNAL)
  await store.delete('my-key', SIGNAL)
  const second = store.create('my-key', bytes('second'), SIGNAL)
  await eventually('the create was refused', () => fake.http.requests.length > 3)
  fake.finishDeletions()
  await second
  assert.equal(await read(store, 'my-key'), 'second')
})

test('a deletion that does not end is an error that says what to do', async (t) => {
  const { fake, store } = await opened(t)
  fake.entries.set('my-key', { value: 'value', version: 'v', isPending: true })
  const error = {
    name: 'KeyStoreError',
    failure: 'failed',
    message: /scheduled for deletion.*; restore the secret, or delete it without recovery$/,
  }
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), error)
})

test('a create that waits for a deletion ends with its deadline', async (t) => {
  const { fake, store } = await opened(t)
  fake.entries.set('my-key', { value: 'value', version: 'v', isPending: true })
  const create = store.create('my-key', bytes('value'), AbortSignal.timeout(100))
  await assert.rejects(create, { name: 'TimeoutError' })
})

test('a key that is being deleted is no missing key', async (t) => {
  const { fake, store } = await opened(t)
  fake.entries.set('my-key', { value: 'value', version: 'v', isPending: true })
  await assert.rejects(store.get('my-key', SIGNAL), { failure: 'failed', message: /deletion/ })
})

// Connections

test('a closed store has no connections', async (t) => {
  const { fake, store } = await opened(t)
  await Promise.all(Array.from({ length: 10 }, () => store.status(SIGNAL)))
  assert.ok(fake.http.connections > 0)
  await store.close()
  await eventually('they are closed', () => fake.http.connections === 0)
})

test('a host without a scheme is meant with https', () => {
  const endpoint = 'secretsmanager.us-east-2.amazonaws.com'
  const config = v.parse(aws.config, { endpoint, region: 'us-east-2' })
  assert.equal(aws.describe(config), `https://${endpoint} (us-east-2)`)
})
