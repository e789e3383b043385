import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import { loadConfig } from '#src/config/load.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { ChaosProxy } from '../support/chaos-proxy.ts'
import { PASSWORD, TestEtcd } from '../support/etcd.ts'
import { FakeHttp } from '../support/fake-http.ts'
import { eventually } from '../support/process.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import { without } from '../support/tools.ts'
import { keyStoreContract } from './contract.ts'

const skip = without('etcd')
const isHere = skip === false
const server = (isHere ? await TestEtcd.start({ after }) : undefined) as TestEtcd

keyStoreContract('etcd', async (t) => openStore(t, server.config()), {
  skip,
  shared: async () => server.config(),
})

/** Refuses what is wrong, and says what to do about it: at the first status, since nothing is asked before. */
async function refused(
  t: TestContext,
  config: StoreConfig,
  failure: string,
  message: RegExp,
): Promise<void> {
  const opened = openStore(t, config).then((store) => store.status(SIGNAL))
  await assert.rejects(opened, { name: 'KeyStoreError', failure, message })
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

test('a key is a key of etcd behind the prefix, with its value as it is', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  const key = base64(`${String(config.settings['prefix'])}my-key`)
  const { kvs } = await server.ask('kv/range', { key })
  assert.equal((kvs as { value: string }[])[0]?.value, base64('value'))
})

test('without a prefix the keys are at the top', { skip }, async (t) => {
  const store = await openStore(t, server.config({ prefix: '' }))
  await store.create('my-key', bytes('value'), SIGNAL)
  const { kvs } = await server.ask('kv/range', { key: base64('my-key') })
  assert.equal((kvs as unknown[]).length, 1)
  assert.deepEqual(await store.list({ prefix: 'my', from: 'my' }, 10, SIGNAL), {
    names: ['my-key'],
  })
  const { next } = await store.list({ prefix: '', from: '' }, 1, SIGNAL)
  assert.match(next ?? '', /^\/test-/)
  await store.delete('my-key', SIGNAL)
})

test('keys of others are not listed', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  const prefix = String(config.settings['prefix'])
  for (const key of [
    prefix,
    `${prefix}a.b`,
    `${prefix}sub/a`,
    `${prefix}ä`,
    `${prefix.slice(0, -1)}0`,
  ])
    await server.ask('kv/put', { key: base64(key), value: base64('x') })
  const page = await store.list({ prefix: '', from: '' }, 10, SIGNAL)
  assert.deepEqual(page.names, ['my-key'])
})

test('nobody at the endpoint is unreachable', (t) =>
  refused(
    t,
    { kind: 'etcd', settings: { endpoints: ['http://127.0.0.1:1'] } },
    'unreachable',
    /^http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/,
  ))

test('something that is not etcd is an error that says so', async (t) => {
  const fake = await FakeHttp.start(t, () => ({ status: 404, body: '404 page not found' }))
  const config = { kind: 'etcd', settings: { endpoints: [fake.url] } }
  await refused(t, config, 'failed', /there is no \/v3 here: it is not etcd 3\.4 or later/)
})

test('a user where authentication is off is an error that says so', { skip }, (t) =>
  refused(
    t,
    server.config({ username: 'kes', password: PASSWORD }),
    'failed',
    /authentication is off in etcd: switch it on, or leave username and password out/,
  ),
)

test('an etcd that is full says so, and still reads', { skip }, async (t) => {
  const full = await TestEtcd.start(t, { flags: { 'quota-backend-bytes': '200000' } })
  const store = await openStore(t, full.config())
  const large = Buffer.alloc(8192, 'v')
  const create = async (): Promise<void> => {
    for (let index = 0; index < 100; index++) await store.create(`${index}`, large, SIGNAL)
  }
  const message = /database space exceeded: compact and defragment etcd/
  await assert.rejects(create(), { failure: 'failed', message })
  await store.status(SIGNAL)
})

// Answers that are lost

test('a create whose answer was lost is not taken for somebody else’s', { skip }, async (t) => {
  const { proxy, store, config } = await proxied(t)
  await proxy.become('mute')
  const created = store.create('my-key', bytes('value'), SIGNAL)
  await until(async () => (await count(config)) === 1)
  proxy.cut()
  await proxy.become('pass')
  await created
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('a create that lost its answer and its race has lost', { skip }, async (t) => {
  const { proxy, store } = await proxied(t)
  await store.create('my-key', bytes('first'), SIGNAL)
  await proxy.become('hang')
  const created = store.create('my-key', bytes('second'), SIGNAL)
  await eventually('the call is on its way', () => proxy.held > 0)
  proxy.cut()
  await proxy.become('pass')
  await assert.rejects(created, { code: 'KEY_EXISTS' })
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'first')
})

test('a delete whose answer was lost has deleted', { skip }, async (t) => {
  const { proxy, store, config } = await proxied(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  await proxy.become('mute')
  const deleted = store.delete('my-key', SIGNAL)
  await until(async () => (await count(config)) === 0)
  proxy.cut()
  await proxy.become('pass')
  await deleted
})

async function proxied(t: TestContext) {
  const proxy = await ChaosProxy.start(t, { port: server.members[0]?.port ?? 0 })
  const config = server.config({ endpoints: [`http://127.0.0.1:${proxy.port}`] })
  return { proxy, config, store: await openStore(t, config) }
}

async function count({ settings }: StoreConfig): Promise<number> {
  const prefix = String(settings['prefix'])
  const range = { key: base64(prefix), range_end: base64(`${prefix}~`), count_only: true }
  return Number((await server.ask('kv/range', range))['count'] ?? 0)
}

async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(5)
}

// Logins

const guarded = (
  isHere ? await TestEtcd.start({ after }, { flags: { 'auth-token-ttl': '1' } }) : undefined
) as TestEtcd
if (isHere) await guarded.demandLogins()

const asUser = (username: string, password = PASSWORD): StoreConfig =>
  guarded.config({ username, password })

test('a user logs in', { skip }, async (t) => {
  const store = await openStore(t, asUser('kes'))
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  await store.delete('my-key', SIGNAL)
})

test('a wrong password is denied', { skip }, (t) =>
  refused(
    t,
    asUser('kes', 'wrong'),
    'denied',
    /login of the user 'kes': .*authentication failed.*; check keystore\.etcd\.password/,
  ),
)

test('no user is denied', { skip }, (t) =>
  refused(t, guarded.config(), 'denied', /etcd wants a user: set keystore\.etcd\.username/),
)

test('a right that is missing is named', { skip }, async (t) => {
  const config = asUser('reader')
  const store = await openStore(t, config)
  await store.status(SIGNAL)
  const prefix = String(config.settings['prefix'])
  const lacks = new RegExp(
    `'reader' lacks a right: etcdctl role grant-permission ROLE --prefix=true readwrite ${prefix}$`,
  )
  const denied = { failure: 'denied', message: lacks }
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), denied)
  await assert.rejects(store.delete('my-key', SIGNAL), denied)
  const elsewhere = { ...config.settings, prefix: '/other/' }
  await refused(t, { kind: 'etcd', settings: elsewhere }, 'denied', /--prefix=true read \/other\/$/)
})

test('a token that expired is replaced, by one login for all', { skip }, async (t) => {
  const proxy = await ChaosProxy.start(t, { port: guarded.members[0]?.port ?? 0 })
  const { settings } = asUser('kes')
  const endpoints = [`http://127.0.0.1:${proxy.port}`]
  const store = await openStore(t, { kind: 'etcd', settings: { ...settings, endpoints } })
  await store.create('my-key', bytes('value'), SIGNAL)
  // The tokens of this etcd live for a second without use.
  await sleep(2500)
  const reads = Array.from({ length: 16 }, () => store.get('my-key', SIGNAL))
  for (const value of await Promise.all(reads)) assert.equal(Buffer.from(value).toString(), 'value')
})

test('tokens from before a change of users and roles are replaced', { skip }, async (t) => {
  const store = await openStore(t, asUser('kes'))
  await store.create('my-key', bytes('value'), SIGNAL)
  await guarded.ask('auth/role/add', { name: 'another' }, { token: await guarded.login() })
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  await store.delete('my-key', SIGNAL)
})

test('neither the keystore nor its errors show the password', { skip }, async (t) => {
  const store = await openStore(t, asUser('kes'))
  await store.status(SIGNAL)
  const wrong = await openStore(t, asUser('nobody'))
  const error: unknown = await wrong.status(SIGNAL).catch((thrown) => thrown)
  const shown = inspect([store, wrong, error], { depth: 20, showHidden: true })
  assert.ok(!shown.includes(PASSWORD))
})

// TLS

const secure = (isHere ? await TestEtcd.start({ after }, { tls: true }) : undefined) as TestEtcd

const withTls = (names: Readonly<Record<string, string>>): StoreConfig => {
  const tls = Object.entries(names).map(([field, name]) => [field, secure.file(name)])
  return secure.config({ tls: Object.fromEntries(tls) as Record<string, string> })
}

test('with its CA and a client certificate a member is used over TLS', { skip }, async (t) => {
  const store = await openStore(t, withTls({ ca: 'ca.crt', cert: 'client.crt', key: 'client.key' }))
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
})

test('without its CA a member is not trusted, which is an error that says so', { skip }, (t) =>
  refused(
    t,
    withTls({ cert: 'client.crt', key: 'client.key' }),
    'failed',
    /its certificate is not trusted: .*tls\.ca/,
  ),
)

test('without a client certificate a member denies us', { skip }, (t) =>
  refused(t, withTls({ ca: 'ca.crt' }), 'denied', /client certificate \(tls\.cert\)/),
)

test('with a client certificate of another CA a member denies us', { skip }, (t) =>
  refused(
    t,
    withTls({ ca: 'ca.crt', cert: 'stranger.crt', key: 'stranger.key' }),
    'denied',
    /client certificate \(tls\.cert\)/,
  ),
)

// Several members

/** On a busy machine members take their time to elect a leader, longer than a store tries. */
async function patiently<T>(work: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt)
    } catch (error) {
      const isPassing = error instanceof KeyStoreError && error.failure === 'unreachable'
      if (!isPassing || attempt === 20) throw error
    }
  }
}

test('any member of three may fail', { skip }, async (t) => {
  const cluster = await TestEtcd.start(t, { members: 3 })
  const store = await openStore(t, cluster.config())
  await patiently((attempt) => store.create(`key-${attempt}`, bytes('value'), SIGNAL))
  const [name = ''] = (await store.list({ prefix: '', from: '' }, 1, SIGNAL)).names
  const read = async (): Promise<string> =>
    Buffer.from(await patiently(() => store.get(name, SIGNAL))).toString()
  for (const member of cluster.members) {
    await cluster.kill(member)
    assert.equal(await read(), 'value', member.name)
    await cluster.start(member)
  }
  for (const member of cluster.members) {
    // Its kernel still takes connections, and nobody answers.
    member.program?.signal('SIGSTOP')
    assert.equal(await read(), 'value', member.name)
    const create = (attempt: number): Promise<void> =>
      store.create(`while-${member.name}-sleeps-${attempt}`, bytes('value'), SIGNAL)
    await patiently(create)
    member.program?.signal('SIGCONT')
  }
})

test('without a majority nothing is read, and it is unreachable', { skip }, async (t) => {
  const cluster = await TestEtcd.start(t, { members: 3 })
  const store = await openStore(t, cluster.config())
  await store.create('my-key', bytes('value'), SIGNAL)
  const [, two, three] = cluster.members
  for (const member of [two, three]) if (member !== undefined) await cluster.kill(member)
  const limited = async (work: (signal: AbortSignal) => Promise<unknown>): Promise<void> =>
    assert.rejects(work(AbortSignal.timeout(5000)), (error: Error & { failure?: string }) => {
      assert.ok(error.name === 'TimeoutError' || error.failure === 'unreachable', String(error))
      return true
    })
  await Promise.all([
    limited((signal) => store.get('my-key', signal)),
    limited((signal) => store.create('other', bytes('value'), signal)),
    limited((signal) => store.status(signal)),
  ])
  if (two !== undefined) await cluster.start(two)
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
})

// Config

test('what is wrong in the config is said with its line', () => {
  const load = (section: string): unknown => {
    const head = `admin: { identity: disabled }\ntls: { key: k, cert: c }\n`
    return loadConfig(`${head}keystore:\n  etcd:\n${section.replace(/^/gm, '    ')}`, 'kes.yml')
  }
  const endpoints = 'endpoints: [ https://etcd:2379 ]'
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['prefix: x', /^kes\.yml:4:3: keystore\.etcd\.endpoints: a value is needed$/],
    ['endpoints: []', /^kes\.yml:5:5: keystore\.etcd\.endpoints: at least one endpoint is needed/],
    ['endpoints: https://etcd:2379', /etcd\.endpoints: a list is expected/],
    ['endpoints: [ etcd:2379 ]', /etcd\.endpoints\[0\]: not a URL/],
    [`${endpoints}\nprefix: "a b"`, /etcd\.prefix: letters, digits and/],
    [`${endpoints}\nusername: kes`, /etcd: username and password belong together/],
    [`${endpoints}\npassword: kes`, /etcd: username and password belong together/],
    [`${endpoints}\ntls: { cert: c }`, /etcd\.tls: key and cert belong together/],
    [`${endpoints}\nusrname: kes`, /etcd\.usrname: unknown field; did you mean .*\.username/],
  ]
  for (const [section, message] of wrong) assert.throws(() => load(section), { message }, section)
})
