import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { inspect } from 'node:util'

import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'

import { loadConfig } from '#src/config/load.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { certificate } from '../support/certificates.ts'
import { movingName } from '../support/chaos-proxy.ts'
import { eventually } from '../support/process.ts'
import { FakeS3, type FakeS3Options, s3Error } from '../support/s3-fake.ts'
import { tempDir } from '../support/server.ts'
import { keyStoreYaml, openStore, type StoreConfig } from '../support/stores.ts'
import { without } from '../support/tools.ts'
import { BUCKET, Weed } from '../support/weed.ts'
import { keyStoreContract } from './contract.ts'

const skip = without('weed')
const server = (skip === false ? await Weed.start({ after }) : undefined) as Weed

keyStoreContract('s3', async (t) => openStore(t, server.config()), {
  skip,
  shared: async () => server.config(),
})

/** Refuses what is wrong, and says what to do about it. */
async function refused(config: StoreConfig, failure: string, message: RegExp): Promise<void> {
  await assert.rejects(openStore({ after: () => {} }, config), {
    name: 'KeyStoreError',
    failure,
    message,
  })
}

// A real server

test('a key is an object in the folder, with its value as it is', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  const client = server.client()
  t.after(() => client.destroy())
  const { Body: body } = await client.send(
    new GetObjectCommand({ Bucket: BUCKET, Key: `${String(config.settings['prefix'])}/my-key` }),
  )
  assert.equal(await body?.transformToString(), 'value')
})

test('objects of others are not listed', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  const client = server.client()
  t.after(() => client.destroy())
  const folder = String(config.settings['prefix'])
  for (const key of [`${folder}/a.b`, `${folder}/sub/a`, `${folder}2/a`, `${folder}/ä`])
    await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: 'x' }))
  const page = await store.list({ prefix: '', from: '' }, 10, SIGNAL)
  assert.deepEqual(page, { names: ['my-key'] })
})

test('a listing finds its keys behind a thousand objects of others', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  const client = server.client()
  t.after(() => client.destroy())
  const others = Array.from({ length: 1010 }, (_, index) => `a.${index}`)
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let name = others.pop(); name !== undefined; name = others.pop()) {
        const key = `${String(config.settings['prefix'])}/${name}`
        await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: 'x' }))
      }
    }),
  )
  for (const key of ['b1', 'b2', 'b3']) await store.create(key, bytes('value'), SIGNAL)
  const page = await store.list({ prefix: '', from: '' }, 2, SIGNAL)
  assert.deepEqual(page, { names: ['b1', 'b2'], next: 'b3' })
})

test('a wrong secret key is denied', { skip }, async () => {
  const credentials = { access_key: 'admin', secret_key: 'wrong' }
  await refused(server.config({ credentials }), 'denied', /SignatureDoesNotMatch.*s3\.credentials/)
})

test('an unknown access key is denied', { skip }, async () => {
  await refused(server.config({}, 'nobody'), 'denied', /InvalidAccessKeyId.*s3\.credentials/)
})

test('a bucket that does not exist is to be created', { skip }, async () => {
  await refused(
    server.config({ bucket: 'nope' }),
    'failed',
    /NoSuchBucket.*create the bucket 'nope'/,
  )
})

test('a user who may not write is told which right is missing', { skip }, async () => {
  const message = /bucket 'kes-keys' at .*AccessDenied.*the policy must allow s3:PutObject/
  await refused(server.config({}, 'reader'), 'denied', message)
})

test('a user who may not read is told which rights are missing', { skip }, async () => {
  const message = /must allow s3:GetObject and s3:ListBucket on the bucket 'kes-keys'/
  await refused(server.config({}, 'writer'), 'denied', message)
})

test('credentials are found in the environment', { skip }, async (t) => {
  const { credentials, ...settings } = server.config().settings
  const { access_key: id, secret_key: secret } = credentials as Record<string, string>
  setEnv(t, { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret })
  const store = await openStore(t, { kind: 's3', settings })
  await store.status(SIGNAL)
})

test('no credentials at all is an error that says where they may be', { skip }, async (t) => {
  setEnv(t, { AWS_EC2_METADATA_DISABLED: 'true', HOME: tempDir(t) })
  const { credentials: _, ...settings } = server.config().settings
  await refused({ kind: 's3', settings }, 'denied', /no credentials: .*keystore\.s3\.credentials/)
})

function setEnv(t: TestContext, env: Readonly<Record<string, string | undefined>>): void {
  const before = { ...process.env }
  Object.assign(process.env, env)
  t.after(() => {
    for (const name of Object.keys(env)) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  })
}

test('nobody at the endpoint is unreachable', async () => {
  const settings = { ...settingsFor('http://127.0.0.1:1') }
  await refused({ kind: 's3', settings }, 'unreachable', /ECONNREFUSED/)
})

function settingsFor(endpoint: string): Record<string, unknown> {
  return { endpoint, bucket: BUCKET, credentials: { access_key: 'id', secret_key: 'secret' } }
}

// A service with faults

async function faked(
  t: TestContext,
  options: FakeS3Options = {},
): Promise<{ fake: FakeS3; store: KeyStore }> {
  const fake = await FakeS3.start(t, options)
  return { fake, store: await openStore(t, fake.config()) }
}

test('a service that ignores conditions is refused, and so is one that does not know them', async (t) => {
  const old = await FakeS3.start(t, { ignoresConditions: true })
  await refused(old.config(), 'failed', /this service ignores If-None-Match/)
  await refused(old.config(), 'failed', /this service ignores If-None-Match/)
  const older = await FakeS3.start(t)
  older.http.faults = [s3Error(404, 'NoSuchKey')]
  older.http.fault = s3Error(501, 'NotImplemented')
  await refused(older.config(), 'failed', /this service ignores If-None-Match/)
})

test('the probe is written once, and not listed', async (t) => {
  const { fake } = await faked(t)
  assert.deepEqual([...fake.objects.keys()], ['.kes-probe'])
  const { length } = fake.http.requests
  await openStore(t, fake.config())
  assert.equal(fake.http.requests.length, length + 2)
})

test('a store whose probe was tidied up is well', async (t) => {
  const { fake, store } = await faked(t)
  fake.objects.clear()
  await store.status(SIGNAL)
})

test('a create during another one is tried again, and then sees it', async (t) => {
  const { fake, store } = await faked(t)
  fake.http.faults = [
    s3Error(409, 'ConditionalRequestConflict'),
    s3Error(409, 'ConditionalRequestConflict'),
  ]
  await store.create('my-key', bytes('value'), SIGNAL)
  fake.http.faults = [s3Error(409, 'ConditionalRequestConflict')]
  await assert.rejects(store.create('my-key', bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
  assert.equal(fake.objects.get('my-key'), 'value')
})

test('conflicts that do not end are a failure', async (t) => {
  const { fake, store } = await faked(t)
  fake.http.fault = s3Error(409, 'ConditionalRequestConflict')
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), { failure: 'failed' })
})

test('a create whose answer was lost is not taken for somebody else’s', async (t) => {
  const { fake, store } = await faked(t)
  fake.http.faults = ['lost']
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(fake.objects.get('my-key'), 'value')
})

test('a create that lost its answer and its race has lost', async (t) => {
  const { fake, store } = await faked(t)
  fake.objects.set('my-key', 'first')
  fake.http.faults = ['reset']
  await assert.rejects(store.create('my-key', bytes('second'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('errors are told apart', async (t) => {
  const { fake, store } = await faked(t)
  const cases = [
    [403, 'AccessDenied', 'denied'],
    [403, 'ExpiredToken', 'denied'],
    [400, 'AuthorizationHeaderMalformed', 'failed'],
    [301, 'PermanentRedirect', 'failed'],
    [404, 'NoSuchBucket', 'failed'],
    [500, 'InternalError', 'failed'],
    [503, 'SlowDown', 'unreachable'],
    [502, 'BadGateway', 'unreachable'],
  ] as const
  for (const [status, code, failure] of cases) {
    fake.http.fault = s3Error(status, code)
    await assert.rejects(store.get('my-key', SIGNAL), { name: 'KeyStoreError', failure }, code)
  }
  fake.http.fault = s3Error(404, 'NoSuchKey')
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
})

test('an object that is too large for a key is not read to its end', async (t) => {
  const { fake, store } = await faked(t)
  fake.objects.set('my-key', 'x'.repeat(2 ** 21))
  const failed = { failure: 'failed', message: /an object of this size is no key/ }
  await assert.rejects(store.get('my-key', SIGNAL), failed)
})

test('a call to a service that hangs ends with its signal, and its connection with it', async (t) => {
  const { fake, store } = await faked(t)
  fake.http.fault = 'hang'
  const reading = store.get('my-key', AbortSignal.timeout(50))
  await assert.rejects(reading, { name: 'TimeoutError' })
  await eventually('its connection is closed', () => fake.http.connections === 0)
})

test('the bucket can be part of the host name', async (t) => {
  const fake = await FakeS3.start(t)
  const { name } = movingName(t, 'kes-keys.s3.test', '127.0.0.1')
  const store = await openStore(
    t,
    fake.config({ endpoint: `http://s3.test:${fake.http.port}`, path_style: 'off' }),
  )
  await store.create('my-key', bytes('value'), SIGNAL)
  const last = fake.http.requests.at(-1)
  assert.equal(last?.headers['host'], `${name}:${fake.http.port}`)
  assert.match(last.path, /^\/my-key\?/)
})

test('a service is trusted with its CA, and not without', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true, usages: [] })
  const tls = await certificate({ subject: 's3', issuer: ca, ip: ['127.0.0.1'] })
  const fake = await FakeS3.start(t, { tls })
  const path = join(tempDir(t), 'ca.pem')
  writeFileSync(path, ca.cert)
  const store = await openStore(t, fake.config({ tls: { ca: path } }))
  await store.status(SIGNAL)
  await refused(fake.config(), 'failed', /not trusted.*keystore\.s3\.tls\.ca names further CAs/)
  await refused(fake.config({ tls: { ca: '/nope' } }), 'failed', /tls\.ca: cannot read '\/nope'/)
})

test('neither the keystore nor its errors show the secret key', async (t) => {
  const { fake, store } = await faked(t)
  fake.http.fault = s3Error(403, 'AccessDenied')
  const error: unknown = await store.get('my-key', SIGNAL).catch((thrown) => thrown)
  const shown = inspect([store, error, fake.config()], { depth: 20, showHidden: true })
  assert.ok(!/'secret'.*'secret'/s.test(shown))
})

// Config

function load(section: string): unknown {
  const head = `admin: { identity: disabled }\ntls: { key: k, cert: c }\n`
  return loadConfig(`${head}keystore:\n  s3:\n${section.replace(/^/gm, '    ')}`, 'kes.yml')
}

test('a bucket is enough', () => {
  load('bucket: kes-keys')
})

test('what is wrong in the config is said with its line', () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['region: x', /^kes\.yml:4:3: keystore\.s3\.bucket: a value is needed$/],
    ['bucket: my/keys', /^kes\.yml:5:5: keystore\.s3\.bucket: the name of a bucket is needed/],
    ['bucket: keys\nendpoint: minio:9000', /^kes\.yml:6:5: keystore\.s3\.endpoint: not a URL/],
    ['bucket: keys\nprefix: "a b"', /s3\.prefix: letters, digits and/],
    ['bucket: keys\npath_style: maybe', /s3\.path_style: write on or off/],
    ['bucket: keys\ncredentials: { access_key: a }', /s3\.credentials: access_key and secret_key/],
    ['bucket: keys\ncredentials: { session_token: a }', /s3\.credentials: session_token belongs/],
    ['buckte: keys', /s3\.buckte: unknown field; did you mean keystore\.s3\.bucket\?/],
  ]
  for (const [section, message] of wrong) assert.throws(() => load(section), { message }, section)
})

test('the banner tells where the keys are', () => {
  const head = `admin: { identity: disabled }\ntls: { key: k, cert: c }\n`
  const describe = (settings: Record<string, unknown>): string => {
    const text = head + keyStoreYaml({ kind: 's3', settings })
    const { kind, settings: read } = loadConfig(text, 'kes.yml').config.keystore
    return kind.describe(read)
  }
  assert.equal(describe({ bucket: 'keys', region: 'eu-west-1' }), 'keys/ at Amazon S3 (eu-west-1)')
  const own = { bucket: 'keys', endpoint: 'https://s3.example.com/', prefix: 'kes' }
  assert.equal(describe(own), 'keys/kes/ at https://s3.example.com')
})
