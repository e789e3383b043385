/** Every call of the client, against a real server. */

import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'

import {
  ApiKey,
  DecryptError,
  IdentityNotFoundError,
  KesClient,
  KeyDisabledError,
  KeyExistsError,
  KeyNotFoundError,
  KeyNotPendingError,
  KeyPendingError,
  NotAllowedError,
  PolicyNotFoundError,
  RefusedError,
  ServerError,
  VersionNotFoundError,
} from '#src/client/index.js'
import { bytes } from '../support/bytes.ts'
import type { Certificate } from '../support/certificates.ts'
import { collect, newClient, thrownBy } from '../support/client.ts'
import {
  IN_PROCESS,
  startServer,
  type TestServer,
  type TestServerOptions,
} from '../support/server.ts'
import { FakeStore } from '../support/store.ts'

interface Pair {
  readonly server: TestServer
  readonly admin: KesClient
  readonly user: KesClient
  readonly nobody: KesClient
}

async function start(
  t: TestContext,
  http?: 'h1' | 'h2',
  options: TestServerOptions = {},
): Promise<Pair> {
  const server = await startServer(t, options)
  const endpoints = `127.0.0.1:${server.port}`
  const client = ({ cert, key }: Certificate) =>
    newClient(t, { endpoints, cert, key, ca: server.server.cert, http })
  return {
    server,
    admin: client(server.admin),
    user: client(server.user),
    nobody: client(server.nobody),
  }
}

for (const http of ['h2', 'h1'] as const) {
  test(`a key's life over ${http}: made, described, used, listed, deleted`, async (t) => {
    const { server, user } = await start(t, http)
    const begin = Date.now()
    await user.createKey('user-a')
    const info = await user.describeKey('user-a')
    assert.deepEqual(
      [info.name, info.algorithm, info.createdBy, info.state, info.version],
      ['user-a', 'AES256', server.user.identity, 'enabled', 1],
    )
    assert.ok(info.createdAt instanceof Date && info.createdAt.getTime() >= begin - 1)

    const context = bytes('bucket/object')
    const { plaintext, ciphertext } = await user.generateKey('user-a', { context })
    assert.equal(plaintext.length, 32)
    assert.deepEqual(await user.decrypt('user-a', ciphertext, { context }), plaintext)
    await assert.rejects(user.decrypt('user-a', ciphertext), DecryptError)

    const message = randomBytes(100_000)
    const sealed = await user.encrypt('user-a', message)
    assert.deepEqual(await user.decrypt('user-a', sealed), message)
    assert.deepEqual(
      await user.encrypt('user-a', bytes('')).then((c) => user.decrypt('user-a', c)),
      bytes(''),
    )

    assert.deepEqual(await user.hmac('user-a', message), await user.hmac('user-a', message))
    assert.equal((await user.hmac('user-a', message)).length, 32)

    assert.deepEqual(await user.listKeys('user-*'), { names: ['user-a'], continueAt: undefined })
    await user.deleteKey('user-a')
    assert.deepEqual(await user.listKeys('user-*'), { names: [], continueAt: undefined })
    await assert.rejects(user.describeKey('user-a'), KeyNotFoundError)
  })

  test(`a key is rotated, disabled, edited, and deleted with a way back, over ${http}`, async (t) => {
    const { admin, server } = await start(t, http, { config: 'key: { deletion_window: 7d }' })
    await admin.createKey('a')
    const context = bytes('c')
    const old = await admin.encrypt('a', bytes('m'), { context })
    const mac = await admin.hmac('a', bytes('m'))
    const rotated = await admin.rotateKey('a')
    assert.deepEqual([rotated.version, rotated.state], [2, 'enabled'])
    assert.deepEqual(
      rotated.versions.map(({ version, createdBy }) => [version, createdBy]),
      [
        [1, server.admin.identity],
        [2, server.admin.identity],
      ],
    )
    const { ciphertext, version } = await admin.rewrap('a', old, { context })
    assert.equal(version, 2)
    for (const sealed of [old, ciphertext])
      assert.deepEqual(await admin.decrypt('a', sealed, { context }), bytes('m'))
    assert.deepEqual(await admin.hmac('a', bytes('m')), mac)
    assert.notDeepEqual(await admin.hmac('a', bytes('m'), { version: 2 }), mac)
    await assert.rejects(admin.hmac('a', bytes('m'), { version: 3 }), VersionNotFoundError)

    await admin.disableKey('a')
    await assert.rejects(admin.generateKey('a'), KeyDisabledError)
    assert.deepEqual(await admin.decrypt('a', old, { context }), bytes('m'))
    assert.equal((await admin.disableKey('a', { denyDecrypt: true })).state, 'disabled')
    await assert.rejects(admin.decrypt('a', old, { context }), KeyDisabledError)
    assert.equal((await admin.enableKey('a')).state, 'enabled')

    await admin.editKey('a', { description: 'of the shop', tags: { team: 'shop', old: '' } })
    await admin.editKey('a', { tags: { old: null } })
    const edited = await admin.describeKey('a')
    assert.deepEqual([edited.description, edited.tags], ['of the shop', { team: 'shop' }])

    // The server insists on its window.
    const pending = await admin.deleteKey('a')
    const left = (pending?.deletionDate?.getTime() ?? 0) - Date.now()
    assert.ok(left > 6.9 * 86_400_000 && left <= 7 * 86_400_000, String(left))
    await assert.rejects(admin.rotateKey('a'), KeyPendingError)
    const restored = await admin.restoreKey('a')
    assert.deepEqual([restored.state, restored.deletionDate], ['enabled', undefined])
    await assert.rejects(admin.restoreKey('a'), KeyNotPendingError)
    const later = await admin.deleteKey('a', { days: 30 })
    assert.ok((later?.deletionDate?.getTime() ?? 0) - Date.now() > 29.9 * 86_400_000)
    await assert.rejects(admin.deleteKey('a', { days: 31 }), RefusedError)
  })

  test(`what the server says of itself over ${http}`, async (t) => {
    const { admin } = await start(t, http, { config: 'keys: [ { name: a } ]' })
    const version = await admin.version()
    assert.match(version.version, /^\d+\.\d+\.\d+/)
    await admin.ready()
    const status = await admin.status()
    assert.equal(status.version, version.version)
    assert.equal(status.os, process.platform)
    assert.ok(status.heapUsed > 0 && status.cpus >= status.usableCpus && status.usableCpus > 0)
    assert.equal(status.keyStore.isReachable, true)
    assert.ok((status.keyStore.latency ?? 0) >= 1)
    const apis = await admin.apis()
    assert.deepEqual(
      apis.find(({ path }) => path === '/v1/key/encrypt/'),
      { method: 'PUT', path: '/v1/key/encrypt/', maxBody: 1_048_576, timeout: 15 },
    )
    const before = await admin.metrics()
    await admin.generateKey('a')
    await admin.describeKey('b').catch(() => {})
    const after = await admin.metrics()
    const more = (name: string) => (after.value(name) ?? NaN) - (before.value(name) ?? NaN)
    assert.equal(more('kes_http_request_success'), 2)
    assert.equal(more('kes_http_request_error'), 1)
    assert.equal(more('kes_http_request_failure'), 0)
    assert.equal(
      after.histogram('kes_http_response_time')?.count,
      (before.histogram('kes_http_response_time')?.count ?? NaN) + 3,
    )
    // Families that only Prometheus gets, and this client.
    assert.ok(after.families.has('process_cpu_seconds_total'))
  })

  test(`an imported key over ${http} is the key that was imported`, async (t) => {
    const { admin } = await start(t, http)
    const [key, hmacKey] = [randomBytes(32), randomBytes(32)]
    await admin.importKey('a', { key, cipher: 'ChaCha20', hmacKey })
    assert.equal((await admin.describeKey('a')).algorithm, 'ChaCha20')
    const expected = createHmac('sha256', hmacKey).update('x').digest()
    assert.deepEqual(await admin.hmac('a', bytes('x')), expected)
    await admin.importKey('b', { key, cipher: 'ChaCha20' })
    // The same key by another name opens what this one sealed.
    assert.deepEqual(await admin.decrypt('b', await admin.encrypt('a', bytes('m'))), bytes('m'))
    await assert.rejects(admin.importKey('a', { key }), KeyExistsError)
    await assert.rejects(admin.importKey('c', { key: key.subarray(1) }), {
      code: 'BAD_CIPHER',
      status: 406,
      message: "invalid key size for 'AES256'",
    })
  })
}

test('policies and identities are described, read and listed', async (t) => {
  const { server, admin, user, nobody } = await start(t)
  assert.deepEqual(await admin.listPolicies(), { names: ['user'], continueAt: undefined })
  assert.deepEqual(await collect(admin.policies('us')), ['user'])
  assert.deepEqual(await collect(admin.policies('x')), [])
  const policy = await admin.readPolicy('user')
  assert.equal(policy.name, 'user')
  assert.ok(policy.allow.includes('/v1/key/create/user-*'))
  assert.deepEqual(policy.deny, [])
  assert.equal(policy.createdBy, server.admin.identity)
  assert.equal(policy.dialect, 'current')
  const { allow: _allow, deny: _deny, dialect: _dialect, ...info } = policy
  assert.deepEqual(await admin.describePolicy('user'), info)
  await assert.rejects(admin.readPolicy('gone'), PolicyNotFoundError)
  await assert.rejects(admin.describePolicy('gone'), PolicyNotFoundError)

  const identities = [server.admin.identity, server.user.identity].sort()
  assert.deepEqual(await collect(admin.identities()), identities)
  assert.deepEqual((await admin.listIdentities()).names, identities)
  const described = await admin.describeIdentity(server.user.identity)
  assert.deepEqual([described.policy, described.isAdmin], ['user', false])
  assert.equal((await admin.describeIdentity(server.admin.identity)).isAdmin, true)
  await assert.rejects(admin.describeIdentity(server.nobody.identity), IdentityNotFoundError)

  const self = await user.describeSelf()
  assert.equal(self.identity, server.user.identity)
  assert.equal(self.policy, 'user')
  assert.deepEqual([...self.allow].sort(), [...policy.allow].sort())
  const { createdAt, ...rest } = await admin.describeSelf()
  assert.ok(createdAt instanceof Date)
  assert.deepEqual(rest, {
    identity: server.admin.identity,
    policy: undefined,
    isAdmin: true,
    createdBy: undefined,
    allow: [],
    deny: [],
  })
  assert.equal((await nobody.describeSelf()).createdAt, undefined)
})

test('policies are written, assigned and deleted, and count for the next call', async (t) => {
  const { server, admin, nobody } = await start(t)
  const { identity } = server.nobody
  await admin.writePolicy('p', { allow: ['/v1/key/create/*'], deny: ['/v1/key/create/keep'] })
  const { allow, deny, createdBy } = await admin.readPolicy('p')
  assert.deepEqual(
    [allow, deny, createdBy],
    [['/v1/key/create/*'], ['/v1/key/create/keep'], server.admin.identity],
  )
  await assert.rejects(nobody.createKey('a'), NotAllowedError)
  await admin.assignPolicy('p', identity)
  await nobody.createKey('a')
  await assert.rejects(nobody.createKey('keep'), NotAllowedError)
  await admin.writePolicy('p', { deny: ['/v1/key/create/b'] })
  await assert.rejects(nobody.createKey('c'), NotAllowedError)
  await admin.deleteIdentity(identity)
  await assert.rejects(admin.describeIdentity(identity), IdentityNotFoundError)
  await admin.deletePolicy('p')
  await assert.rejects(admin.readPolicy('p'), PolicyNotFoundError)

  await assert.rejects(admin.deletePolicy('p'), PolicyNotFoundError)
  await assert.rejects(admin.assignPolicy('p', identity), PolicyNotFoundError)
  await assert.rejects(admin.deleteIdentity(identity), IdentityNotFoundError)
  const refusal = { name: 'RefusedError', status: 400, message: /admin$/ }
  await assert.rejects(admin.assignPolicy('user', server.admin.identity), refusal)
  await assert.rejects(admin.deleteIdentity(server.admin.identity), refusal)
  await assert.rejects(nobody.writePolicy('p', {}), NotAllowedError)
})

test(
  'a listing of several pages is one iteration, and can be left in the middle',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const names = Array.from({ length: 2500 }, (_, index) => `k-${String(index).padStart(4, '0')}`)
    for (const name of [...names, 'other']) store.entries.set(name, bytes('x'))
    const { admin } = await start(t, undefined, { store })
    assert.deepEqual(await collect(admin.keys('k-*')), names)
    assert.deepEqual(await collect(admin.keys('k-')), names)
    assert.equal((await collect(admin.keys())).length, 2501)
    const { list: before } = store.calls
    const first = await admin.listKeys('k-')
    const perPage = store.calls.list - before
    assert.equal(first.names.length, 1024)
    const second = await admin.listKeys('k-', { continueAt: first.continueAt ?? '' })
    assert.deepEqual(second.names, names.slice(1024, 2048))
    const { list } = store.calls
    for await (const name of admin.keys('k-')) if (name === 'k-1000') break
    assert.equal(store.calls.list - list, perPage)
  },
)

test('an API key is all that a client needs', async (t) => {
  const apiKey = ApiKey.generate()
  const server = await startServer(t, {
    config: `policy: { app: { allow: [ "/v1/key/*" ], identities: [ ${apiKey.identity} ] } }`,
  })
  for (const given of [apiKey, apiKey.reveal()]) {
    await using client = new KesClient({
      endpoints: `https://localhost:${server.port}`,
      apiKey: given,
      ca: [Buffer.from(server.server.cert)],
    })
    assert.equal((await client.describeSelf()).identity, apiKey.identity)
    assert.deepEqual((await client.listKeys()).names, [])
  }
})

test('a refusal says who, what, by which policy and what to change', async (t) => {
  const { server, user, nobody } = await start(t)
  const error = await thrownBy(user.createKey('other'))
  assert.ok(error instanceof NotAllowedError)
  assert.equal(error.message, 'not authorized: insufficient permissions')
  assert.deepEqual(
    [error.name, error.code, error.status, error.endpoint],
    ['NotAllowedError', 'NOT_ALLOWED', 403, `https://127.0.0.1:${server.port}`],
  )
  assert.deepEqual(
    [error.identity, error.policy, error.api],
    [server.user.identity, 'user', '/v1/key/create/other'],
  )
  assert.match(error.hint ?? '', /create/)
  await assert.rejects(
    nobody.status(),
    (thrown) => thrown instanceof NotAllowedError && thrown.policy === null,
  )
})

test('errors are told apart by class and code', async (t) => {
  const { admin, user } = await start(t)
  await user.createKey('user-a')
  const cases: [() => Promise<unknown>, typeof RefusedError, string, number][] = [
    [() => user.createKey('user-a'), KeyExistsError, 'KEY_EXISTS', 400],
    [() => user.deleteKey('user-gone'), KeyNotFoundError, 'KEY_NOT_FOUND', 404],
    [() => user.generateKey('user-gone'), KeyNotFoundError, 'KEY_NOT_FOUND', 404],
    [() => user.encrypt('user-gone', bytes('')), KeyNotFoundError, 'KEY_NOT_FOUND', 404],
    [() => user.hmac('user-gone', bytes('')), KeyNotFoundError, 'KEY_NOT_FOUND', 404],
    [() => user.decrypt('user-a', bytes('garbage')), DecryptError, 'DECRYPT', 400],
    [() => user.encrypt('user-a', Buffer.alloc(800_000)), RefusedError, 'TOO_LARGE', 413],
    [() => admin.request('GET', '/v1/no/such'), RefusedError, 'NO_ROUTE', 404],
    [() => admin.request('DELETE', '/v1/status'), RefusedError, 'BAD_METHOD', 405],
    [() => admin.listKeys('a*b'), RefusedError, 'BAD_NAME', 400],
    [() => admin.listPolicies('a*b'), RefusedError, 'BAD_NAME', 400],
  ]
  for (const [call, Class, code, status] of cases) {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof Class, `${String(error)} is no ${Class.name}`)
      assert.deepEqual([error.code, error.status], [code, status])
      return true
    })
  }
})

test('no name, however strange, asks for another path', async (t) => {
  const { admin } = await start(t)
  const names = [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'a?b',
    'a#b',
    'a%2fb',
    '%',
    'ä',
    '\ud800',
    'a b',
    '*',
    '\n',
    'a'.repeat(100),
  ]
  for (const name of names) {
    for (const call of [
      () => admin.createKey(name),
      () => admin.describeKey(name),
      () => admin.encrypt(name, bytes('')),
      () => admin.describePolicy(name),
      () => admin.describeIdentity(name),
    ]) {
      await assert.rejects(call(), (error) => {
        assert.ok(
          error instanceof RefusedError && error.code === 'BAD_NAME',
          `${name}: ${String(error)}`,
        )
        return true
      })
    }
  }
})

test(
  'trouble of the keystore is a server error that says what could not be done',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const { admin } = await start(t, undefined, { store })
    store.failure = new Error('disk on fire')
    await assert.rejects(admin.createKey('a'), (error) => {
      assert.ok(error instanceof ServerError)
      assert.deepEqual(
        [error.code, error.status, error.message],
        ['KEYSTORE_CREATE', 502, 'failed to create key'],
      )
      return true
    })
    assert.equal(store.calls.create, 1)
    await assert.rejects(admin.describeKey('a'), { code: 'KEYSTORE_READ' })
    await assert.rejects(admin.listKeys(), { code: 'KEYSTORE_LIST' })
    await assert.rejects(admin.ready(), { code: 'KEYSTORE_UNAVAILABLE' })
    assert.deepEqual((await admin.status()).keyStore, { isReachable: false, latency: undefined })
  },
)

test('a secret is in no inspected client, nor in the errors of its options', () => {
  const apiKey = ApiKey.generate().reveal()
  const secret = apiKey.slice('kes:v1:'.length)
  const client = new KesClient({ endpoints: 'a', apiKey })
  assert.ok(!inspect(client, { depth: 9, showHidden: true }).includes(secret))
  assert.throws(
    () => new KesClient({ endpoints: 'a', apiKey: `${apiKey}x` }),
    (error) => error instanceof Error && !error.message.includes(secret.slice(0, 20)),
  )
})
