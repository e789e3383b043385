/** A reload: everything in one step or nothing at all, while the server serves. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'

import type { Loaded } from '#src/config/load.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { ask, startServer, type TestServer, IN_PROCESS } from '../support/server.ts'
import { answerOf, follow, openSession } from '../support/session.ts'
import { FakeStore, gate } from '../support/store.ts'

const DOWN = new KeyStoreError('unreachable', 'nobody there')

/** Lines are written a little later. */
async function logged({ stderr }: TestServer, line: RegExp): Promise<void> {
  await eventually(`a line like ${line.source}`, () => line.test(stderr()))
}

function figure(metrics: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1])
}

test('cached keys stay cached when the keystore is the same', { skip: IN_PROCESS }, async (t) => {
  const store = new FakeStore()
  const server = await startServer(t, { store })
  const session = await openSession(t, server.port, server.admin)
  await session.ask('PUT', '/v1/key/create/a')
  await session.ask('PUT', '/v1/key/generate/a')
  assert.equal(store.calls.get, 1)
  const asked = store.calls.status
  await server.reload({ config: 'policy: {}\nlog: { audit: on }' })
  assert.equal((await session.ask('PUT', '/v1/key/generate/a')).status, 200)
  assert.equal(store.calls.get, 1)
  assert.equal(store.calls.status, asked)
  assert.equal(store.isClosed, false)
})

test(
  'other cache times count at once, for keys that are cached already, too',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const server = await startServer(t, { store })
    const session = await openSession(t, server.port, server.admin)
    await session.ask('PUT', '/v1/key/create/a')
    await session.ask('PUT', '/v1/key/generate/a')
    await server.reload({ config: 'cache: { expiry: { any: 1ms } }' })
    await session.ask('PUT', '/v1/key/generate/a')
    assert.equal(store.calls.get, 2)
  },
)

test('APIs lose and get their need for a certificate, and their time limits', async (t) => {
  const server = await startServer(t)
  const open = 'api: { /v1/status: { skip_auth: on, timeout: 3s } }'
  await assert.rejects(ask(server.port, undefined, 'GET', '/v1/status'))
  await server.reload({ config: open })
  const anonymous = await openSession(t, server.port, undefined)
  assert.equal((await anonymous.ask('GET', '/v1/status')).status, 200)
  const { body } = await ask(server.port, server.admin, 'GET', '/v1/api')
  assert.match(body, /"path":"\/v1\/status","max_body":0,"timeout":3\b/)
  await server.reload({ config: '' })
  assert.equal((await anonymous.ask('GET', '/v1/status')).status, 400)
  await assert.rejects(ask(server.port, undefined, 'GET', '/v1/status'))
})

// Where no log says that a reload is done, only its own process knows.
test('logs are written as the new config says', { skip: IN_PROCESS }, async (t) => {
  const server = await startServer(t)
  const { port, admin } = server
  const path = (name: string): string => `/v1/key/describe/${name}`
  const fail = (name: string) => ask(port, admin, 'GET', path(name))
  await fail('first')
  await server.reload({ config: 'log: { format: json, audit: on }' })
  await fail('second')
  await server.reload({ config: 'log: { error: off }' })
  await fail('third')
  await eventually('the lines', () => server.stderr().includes(path('second')))
  assert.match(server.stderr(), new RegExp(`^time=.* req.path=${path('first')} `, 'm'))
  const [json] = server.stderr().match(/^\{.*second.*$/m) ?? []
  assert.equal(JSON.parse(json ?? '')['req.path'], path('second'))
  assert.doesNotMatch(server.stderr(), /third/)
  const event = /"path":"\/v1\/key\/describe\/second"/
  await eventually('the event', () => event.test(server.stdout()))
  assert.doesNotMatch(server.stdout(), /first|third/)
})

test(
  'counts, the time of the start and followers of logs outlive a reload, also of the keystore',
  { skip: IN_PROCESS },
  async (t) => {
    const server = await startServer(t, { store: new FakeStore() })
    const { port, admin } = server
    const followers = [
      await follow(t, port, admin, '/v1/log/audit', 'h1'),
      await follow(t, port, admin, '/v1/log/audit', 'h2'),
      await follow(t, port, admin, '/v1/log/error', 'h1'),
    ]
    const scrape = async (): Promise<string> =>
      (
        await ask(port, admin, 'GET', '/v1/metrics', {
          headers: { accept: 'application/openmetrics-text' },
        })
      ).body
    await ask(port, admin, 'PUT', '/v1/key/create/a')
    await ask(port, admin, 'PUT', '/v1/key/generate/a')
    await ask(port, admin, 'PUT', '/v1/key/generate/a')
    const before = await scrape()
    assert.equal(figure(before, 'kes_cache_keys'), 1)
    await server.reload({ store: new FakeStore(), config: 'cache: { expiry: { any: 10s } }' })
    const after = await scrape()
    assert.equal(figure(after, 'kes_cache_keys'), 0)
    for (const name of [
      'kes_system_up_time',
      'kes_cache_hits',
      'kes_cache_misses',
      'kes_log_audit_events',
      'kes_http_response_time_count',
    ])
      assert.ok(figure(before, name) > 0 && figure(after, name) >= figure(before, name), name)
    await ask(port, admin, 'GET', '/v1/key/describe/gone')
    for (const { lines, hasEnded } of followers) {
      await eventually('the event', () => lines.some((line) => line.includes('describe/gone')))
      assert.equal(hasEnded(), false)
    }
  },
)

test('what was changed over the API stays, unless the new config speaks of it', async (t) => {
  const server = await startServer(t)
  const { port, admin, user, nobody } = server
  const body = '{"allow":{"/v1/status":{}}}'
  const written = await ask(port, admin, 'PUT', '/v1/policy/write/made', { body })
  assert.equal(written.status, 200, written.body)
  for (const who of [user, nobody]) {
    const identity = JSON.stringify({ identity: who.identity })
    await ask(port, admin, 'PUT', '/v1/policy/assign/made', { body: identity })
    assert.equal((await ask(port, who, 'GET', '/v1/status')).status, 200)
  }
  const rules = `allow: [ /v1/api ], identities: [ ${user.identity} ]`
  await server.reload({ config: `policy: { other: { ${rules} } }` })
  assert.equal((await ask(port, nobody, 'GET', '/v1/status')).status, 200)
  assert.equal((await ask(port, user, 'GET', '/v1/status')).status, 403)
  assert.equal((await ask(port, user, 'GET', '/v1/api')).status, 200)
})

test('a policy that is being written during a reload is written', async (t) => {
  const server = await startServer(t)
  const { port, admin, nobody } = server
  const { http2, ask: askHere } = await openSession(t, port, admin)
  const path = '/v1/policy/write/made'
  const stream = http2.request({ ':method': 'PUT', ':path': path })
  stream.write('{"allow":')
  // Answered behind the head above, on the same connection.
  await askHere('GET', '/version')
  await server.reload({ config: 'log: { audit: on }' })
  stream.end('{"/v1/status":{}}}')
  assert.equal((await answerOf(stream)).status, 200)
  const body = JSON.stringify({ identity: nobody.identity })
  const assigned = await ask(port, admin, 'PUT', '/v1/policy/assign/made', { body })
  assert.equal(assigned.status, 200, assigned.body)
  assert.equal((await ask(port, nobody, 'GET', '/v1/status')).status, 200)
})

test(
  'keys of the new config are created, and those of before are not looked at again',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const server = await startServer(t, { store, config: 'keys: [ { name: a } ]' })
    await server.reload({ config: 'keys: [ { name: a }, { name: b } ]' })
    assert.deepEqual([...store.entries.keys()], ['a', 'b'])
    assert.equal(store.calls.create, 2)
  },
)

test('a reload whose keys cannot be created is refused whole', { skip: IN_PROCESS }, async (t) => {
  const store = new FakeStore()
  const server = await startServer(t, { store })
  store.failure = DOWN
  const config = 'keys: [ { name: b } ]\npolicy: {}\napi: { /v1/status: { skip_auth: on } }'
  await assert.rejects(server.reload({ config }), /key 'b' of the config .*nobody there/)
  await logged(server, /level=ERROR msg=".*refused.*key 'b' of the config/)
  store.failure = undefined
  assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-a')).status, 200)
  await assert.rejects(ask(server.port, undefined, 'GET', '/v1/status'))
})

test(
  'another keystore serves from then on, and the old one is closed after its last request',
  { skip: IN_PROCESS },
  async (t) => {
    const [old, next] = [new FakeStore(), new FakeStore()]
    const server = await startServer(t, { store: old })
    const session = await openSession(t, server.port, server.admin)
    const { passed, open } = gate()
    t.after(open)
    old.gate = passed
    const running = session.ask('PUT', '/v1/key/create/a')
    await eventually('the request runs', () => old.calls.create === 1)
    // The keystore stays in use over a reload that is none of its own.
    await server.reload({ config: 'policy: {}' })
    await server.reload({ store: next })
    assert.equal((await session.ask('PUT', '/v1/key/create/b')).status, 200)
    assert.deepEqual([old.isClosed, next.isClosed], [false, false])
    open()
    assert.equal((await running).status, 200)
    await eventually('the old one is closed', () => old.isClosed)
    assert.deepEqual([[...old.entries.keys()], [...next.entries.keys()]], [['a'], ['b']])
    await logged(server, /level=INFO msg="the config was reloaded" changed=.*keystore/)
  },
)

test('a keystore that nobody uses just now is closed at once', { skip: IN_PROCESS }, async (t) => {
  const [old, next] = [new FakeStore(), new FakeStore()]
  const server = await startServer(t, { store: old })
  await follow(t, server.port, server.admin, '/v1/log/audit', 'h2')
  await server.reload({ store: next })
  await eventually('the old one is closed', () => old.isClosed)
})

test('keys of the old keystore are not those of the new one', { skip: IN_PROCESS }, async (t) => {
  const [old, next] = [new FakeStore(), new FakeStore()]
  const server = await startServer(t, { store: old })
  const { port, admin } = server
  await ask(port, admin, 'PUT', '/v1/key/create/a')
  assert.equal((await ask(port, admin, 'PUT', '/v1/key/generate/a')).status, 200)
  await server.reload({ store: next })
  assert.equal((await ask(port, admin, 'PUT', '/v1/key/generate/a')).status, 404)
})

test(
  'a keystore that does not answer is refused and closed, and the old one serves on',
  { skip: IN_PROCESS },
  async (t) => {
    const [old, next] = [new FakeStore(), new FakeStore()]
    const server = await startServer(t, { store: old })
    next.failure = DOWN
    await assert.rejects(server.reload({ store: next, config: 'policy: {}' }), /nobody there/)
    assert.deepEqual([old.isClosed, next.isClosed], [false, true])
    await logged(server, /level=ERROR msg="the reload is refused.*keystore .*nobody there/)
    assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-a')).status, 200)
    assert.deepEqual([...old.entries.keys()], ['user-a'])
  },
)

test(
  'a keystore that opens when the keys cannot be created is closed again',
  { skip: IN_PROCESS },
  async (t) => {
    const [old, next] = [new FakeStore(), new FakeStore()]
    const server = await startServer(t, { store: old })
    next.create = () => Promise.reject(new KeyStoreError('denied', 'read only'))
    await assert.rejects(
      server.reload({ store: next, config: 'keys: [ { name: a } ]' }),
      /read only/,
    )
    assert.deepEqual([old.isClosed, next.isClosed], [false, true])
  },
)

test(
  'a certificate without its key is refused together with everything else',
  { skip: IN_PROCESS },
  async (t) => {
    const [old, next] = [new FakeStore(), new FakeStore()]
    const server = await startServer(t, { store: old })
    const [one, two] = [await certificate({ subject: 'a' }), await certificate({ subject: 'b' })]
    const mixed = { key: one.key, cert: two.cert }
    await assert.rejects(
      server.reload({ certificate: mixed, store: next, config: 'policy: {}' }),
      /does not belong to the certificate/,
    )
    assert.equal(next.calls.status, 0)
    assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-a')).status, 200)
    await logged(server, /level=ERROR msg="the reload is refused.*does not belong/)
  },
)

test('another address or implementation of HTTP needs a restart, and the log says so', async (t) => {
  const server = await startServer(t, { config: 'http: node' })
  await server.reload({ config: 'address: 127.0.0.1:1\nhttp: lean\npolicy: {}' })
  assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-a')).status, 403)
  await logged(server, /level=WARN msg="address: .*restart/)
  await logged(server, /level=WARN msg="http: .*restart/)
  await logged(server, /"the config was reloaded" changed=policies$/m)
})

test('a reload that changes nothing says so', async (t) => {
  const server = await startServer(t)
  await server.reload({})
  await logged(server, /"the config was reloaded" changed=nothing$/m)
})

test(
  'reloads take turns: the one that was asked for last has the last word',
  { skip: IN_PROCESS },
  async (t) => {
    const server = await startServer(t, { store: new FakeStore() })
    const { passed, open } = gate()
    const slow = new FakeStore()
    slow.gate = passed
    const [first, second] = [
      server.reload({ store: slow, config: 'policy: {}' }),
      server.reload({ config: '' }),
    ]
    await eventually('the first one waits', () => slow.calls.status === 1)
    assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-a')).status, 200)
    open()
    await Promise.all([first, second])
    assert.equal((await ask(server.port, server.user, 'PUT', '/v1/key/create/user-b')).status, 200)
    assert.deepEqual([...slow.entries.keys()], ['user-b'])
  },
)

test(
  'what is wrong with reading the config is the reason of the refusal',
  { skip: IN_PROCESS },
  async (t) => {
    const server = await startServer(t)
    const read = (): Loaded => {
      throw new Error('out of paper')
    }
    await assert.rejects(server.instance.reload(read), /out of paper/)
    await assert.rejects(server.reload({ config: 'cash: {}\nlog: { audit: maybe }' }), {
      name: 'ConfigError',
    })
    const path = join(server.directory, 'config.yml')
    const refusals = await eventually('three refusals', () => {
      const found = server.stderr().match(/refused.*/g) ?? []
      return found.length === 3 && found
    })
    assert.match(refusals[0] ?? '', /out of paper/)
    assert.match(refusals[1] ?? '', new RegExp(`${path}:\\d+:1: cash: `))
    assert.match(refusals[2] ?? '', new RegExp(`${path}:\\d+:8: log.audit: `))
    await server.reload({ config: '' })
  },
)

test(
  'a server that stops does not wait for a reload, which leaves nothing behind',
  { skip: IN_PROCESS },
  async (t) => {
    const [old, next] = [new FakeStore(), new FakeStore()]
    const server = await startServer(t, { store: old })
    const { passed, open } = gate()
    next.gate = passed
    const reload = server.reload({ store: next })
    const refused = assert.rejects(reload, /the server is stopping/)
    await eventually('the reload waits', () => next.calls.status === 1)
    await server.close()
    assert.deepEqual([old.isClosed, next.isClosed], [true, true])
    await refused
    open()
    await assert.rejects(server.reload({}), /the server is stopping/)
  },
)
