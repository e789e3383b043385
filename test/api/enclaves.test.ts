/** Tenants inside one server (kes-dialects.md, "Enclaves"), asked of a real server: nothing is visible across. */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { ROUTES } from '#src/api/index.js'
import { enclavePrefix } from '#src/keys/enclave-store.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { type Certificate, certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { ask, type Answer, IN_PROCESS, startServer, type TestServer } from '../support/server.ts'
import { follow } from '../support/session.ts'
import { FakeStore } from '../support/store.ts'

const FORBIDDEN = 'not authorized: insufficient permissions'

interface Estate {
  readonly server: TestServer
  readonly store: FakeStore
  /** Admin of the enclave t1. */
  readonly tenant: Certificate
  /** Has a policy in t1 that allows everything that a policy can. */
  readonly member: Certificate
  /** Admin of the enclave t2. */
  readonly neighbour: Certificate
  call(who: Certificate, method: string, path: string, body?: unknown): Promise<Answer>
}

const ALL = [
  '/v1/key/*',
  '/v1/policy/*',
  '/v1/identity/*',
  '/v1/log/*',
  '/v1/policy/write/*',
  '/v1/policy/assign/*',
  '/v1/policy/delete/*',
  '/v1/identity/assign/*',
  '/v1/identity/delete/*',
  '/v1/identity/forget/*',
]

/** Only tests that skip without it look at the store. */
async function estate(t: TestContext, config = ''): Promise<Estate> {
  const store = new FakeStore()
  const server = await startServer(t, IN_PROCESS === false ? { store, config } : { config })
  const [tenant, member, neighbour] = (await Promise.all(
    ['tenant', 'member', 'neighbour'].map((subject) => certificate({ subject })),
  )) as [Certificate, Certificate, Certificate]
  const call: Estate['call'] = (who, method, path, body) =>
    ask(server.port, who, method, path, body === undefined ? {} : { body: JSON.stringify(body) })
  await ok(call(server.admin, 'POST', '/v1/enclave/create/t1', { admin: tenant.identity }))
  await ok(call(server.admin, 'POST', '/v1/enclave/create/t2', { admin: neighbour.identity }))
  await ok(call(tenant, 'POST', '/v1/policy/write/all?enclave=t1', { allow: ALL }))
  const assignment = { identity: member.identity }
  await ok(call(tenant, 'POST', '/v1/policy/assign/all?enclave=t1', assignment))
  return { server, store, tenant, member, neighbour, call }
}

async function ok(answer: Promise<Answer>): Promise<Answer> {
  const { status, body } = await answer
  assert.equal(status, 200, body)
  return answer
}

async function refused(answer: Promise<Answer>, status: number, message: string): Promise<void> {
  const { body, ...head } = await answer
  const given = JSON.parse(body) as { message: string }
  assert.deepEqual([head.status, given.message], [status, message])
}

test('an enclave has keys of its own, and the server has others of the same name', async (t) => {
  const { server, tenant, call } = await estate(t)
  await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
  await ok(call(server.admin, 'POST', '/v1/key/create/a'))
  const body = { plaintext: 'AAAA' }
  const inside = JSON.parse(
    (await ok(call(tenant, 'POST', '/v1/key/encrypt/a?enclave=t1', body))).body,
  )
  await ok(call(tenant, 'POST', '/v1/key/decrypt/a?enclave=t1', inside))
  await refused(
    call(server.admin, 'POST', '/v1/key/decrypt/a', inside),
    400,
    'decryption failed: ciphertext is not authentic',
  )
})

test('the entries of an enclave begin with a hash of its name', { skip: IN_PROCESS }, async (t) => {
  const { store, tenant, call } = await estate(t)
  await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
  // printf t1 | sha256sum
  assert.equal(enclavePrefix('t1'), '-628b49d96dcde97a-')
  assert.deepEqual([...store.entries.keys()].sort(), [
    '-628b49d96dcde97a-a',
    '-enclave-t1',
    '-enclave-t2',
  ])
})

test('an enclave can be named by the header that the Go SDK sends', async (t) => {
  const { server, tenant, call } = await estate(t)
  const headers = { 'kes-enclave': 't1' }
  const created = await ask(server.port, tenant, 'POST', '/v1/key/create/a', { headers })
  assert.equal(created.status, 200)
  const { body } = await ok(call(tenant, 'GET', '/v1/key/list/?enclave=t1'))
  assert.equal(body, '{"names":["a"]}\n')
  const both = await ask(server.port, tenant, 'GET', '/v1/key/list/?enclave=t2', { headers })
  assert.deepEqual(
    [both.status, both.body],
    [400, '{"message":"the request names more than one enclave"\n}'],
  )
})

test('an empty name means the server itself', async (t) => {
  const { server, call } = await estate(t)
  await ok(call(server.admin, 'POST', '/v1/key/create/a?enclave='))
  assert.equal((await call(server.admin, 'GET', '/v1/key/list/')).body, '{"names":["a"]}\n')
})

test('a listing of the server shows nothing of enclaves, in any generation', async (t) => {
  for (const dialect of ['current', 'v0.18', 'v0.7']) {
    const { server, tenant, call } = await estate(t, `dialect: ${dialect}`)
    await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
    for (const path of ['/v1/key/list/', '/v1/policy/list/', '/v1/identity/list/']) {
      const { body } = await ok(call(server.admin, 'GET', path))
      assert.doesNotMatch(
        body,
        new RegExp(`t1|"all"|628b49|${tenant.identity}`),
        `${dialect} ${path}`,
      )
    }
  }
})

test('an enclave’s admin may do everything inside, and nothing outside', async (t) => {
  const { tenant, call } = await estate(t)
  await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
  await ok(call(tenant, 'DELETE', '/v1/key/delete/a?enclave=t1'))
  await refused(call(tenant, 'POST', '/v1/key/create/a'), 403, FORBIDDEN)
  await refused(call(tenant, 'POST', '/v1/key/create/a?enclave=t2'), 403, FORBIDDEN)
  await refused(call(tenant, 'POST', '/v1/enclave/create/t3'), 403, FORBIDDEN)
  await refused(call(tenant, 'DELETE', '/v1/enclave/delete/t1'), 403, FORBIDDEN)
})

test('the server’s admin has no right inside an enclave that another one is the admin of', async (t) => {
  const { server, call } = await estate(t)
  await refused(call(server.admin, 'POST', '/v1/key/create/a?enclave=t1'), 403, FORBIDDEN)
  await refused(call(server.admin, 'GET', '/v1/policy/read/all?enclave=t1'), 403, FORBIDDEN)
})

test('an enclave that is made without a body has its maker as admin', async (t) => {
  const { server, call } = await estate(t)
  await ok(call(server.admin, 'POST', '/v1/enclave/create/own'))
  await ok(call(server.admin, 'POST', '/v1/key/create/a?enclave=own'))
  const { body } = await ok(call(server.admin, 'GET', '/v1/identity/self/describe?enclave=own'))
  assert.equal((JSON.parse(body) as { admin: boolean }).admin, true)
})

/** A request of a route that would do something if it were allowed. */
function requestOf(path: string, someone: string): { path: string; body?: object } {
  const name = path.endsWith('/') ? `${path}${path.includes('/identity/') ? someone : 'x'}` : path
  if (path.endsWith('/list/')) return { path }
  if (path === '/v1/identity/assign/') return { path: `${path}all`, body: { identity: someone } }
  return { path: name, body: { identity: someone } }
}

const INSIDE = /^\/v1\/((key|policy|identity)\/|log\/audit$)/

test('of every route exactly those of keys, policies, identities and the audit log exist inside', async (t) => {
  const { server, tenant, call } = await estate(t)
  for (const { method, path: route } of ROUTES) {
    if (route === '/v1/log/audit') continue
    const { path, body } = requestOf(route, server.user.identity)
    const answer = call(tenant, method, `${path}?enclave=t1`, method === 'PUT' ? body : undefined)
    if (INSIDE.test(route)) assert.doesNotMatch((await answer).body, /not available/, route)
    else await refused(answer, 400, 'not available in an enclave')
  }
})

test('whoever has no part in an enclave is refused by every route, as if there were none', async (t) => {
  const { server, member, neighbour, call } = await estate(t)
  const { admin, user, nobody } = server
  const strangers = { admin, user, nobody, neighbour }
  for (const [who, caller] of Object.entries(strangers)) {
    for (const { method, path: route } of ROUTES.filter(({ path }) => INSIDE.test(path))) {
      const { path, body } = requestOf(route, member.identity)
      const sent = method === 'PUT' ? body : undefined
      const there = await call(caller, method, `${path}?enclave=t1`, sent)
      assert.equal(there.status, route.includes('/self/') ? 200 : 403, `${who} ${route}`)
      // Whether there is an enclave is nobody's business but the admin's.
      const none = await call(caller, method, `${path}?enclave=none`, sent)
      if (caller === admin) {
        assert.deepEqual(
          [none.status, none.body],
          [404, '{"message":"enclave does not exist"\n}'],
          route,
        )
      } else
        assert.deepEqual([none.status, none.body], [there.status, there.body], `${who} ${route}`)
    }
  }
})

test('a member of an enclave is nobody outside and in another one, on every route', async (t) => {
  const { server, member, call } = await estate(t)
  for (const { method, path: route, access } of ROUTES) {
    if (access === 'anyone') continue
    const { path, body } = requestOf(route, server.user.identity)
    const sent = method === 'PUT' ? body : undefined
    for (const where of ['', ...(INSIDE.test(route) ? ['?enclave=t2'] : [])])
      assert.equal((await call(member, method, path + where, sent)).status, 403, route + where)
  }
})

test('a member of an enclave may do inside what the policy allows', async (t) => {
  const { member, tenant, call } = await estate(t)
  await ok(call(member, 'POST', '/v1/key/create/a?enclave=t1'))
  await ok(
    call(tenant, 'POST', '/v1/policy/write/all?enclave=t1', {
      allow: ALL,
      deny: ['/v1/key/delete/*'],
    }),
  )
  await refused(call(member, 'DELETE', '/v1/key/delete/a?enclave=t1'), 403, FORBIDDEN)
  await refused(call(member, 'POST', '/v1/policy/write/all?enclave=t1', {}), 403, FORBIDDEN)
})

test('an enclave’s log ends for the member who may not follow it any more', async (t) => {
  const { server, tenant, member, call } = await estate(t)
  const followers = []
  for (const who of [member, tenant])
    followers.push(await follow(t, server.port, who, '/v1/log/audit?enclave=t1', 'h1'))
  const [theirs, tenants] = followers
  const outside = await call(tenant, 'POST', '/v1/policy/write/all', { allow: [] })
  assert.equal(outside.status, 403)
  assert.equal(theirs?.hasEnded(), false)
  await ok(call(tenant, 'POST', '/v1/policy/write/all?enclave=t1', { allow: ['/v1/key/*'] }))
  await eventually('it ends', () => theirs?.hasEnded())
  await call(member, 'GET', '/v1/log/audit?enclave=t1')
  await tenants?.until(2)
  assert.equal(tenants?.hasEnded(), false)
})

test('an enclave’s audit log has its own events, and the server’s has none of them', async (t) => {
  const { server, tenant, neighbour, call } = await estate(t)
  const inside = await follow(t, server.port, tenant, '/v1/log/audit?enclave=t1', 'h2')
  const outside = await follow(t, server.port, server.admin, '/v1/log/audit', 'h2')
  await ok(call(tenant, 'POST', '/v1/key/create/secret?enclave=t1'))
  await ok(call(neighbour, 'POST', '/v1/key/create/other?enclave=t2'))
  await ok(call(server.admin, 'POST', '/v1/key/create/mine'))
  const [event = ''] = await inside.until(1)
  const { request } = JSON.parse(event) as { request: object }
  assert.deepEqual(request, {
    ip: '127.0.0.1',
    path: '/v1/key/create/secret',
    identity: tenant.identity,
    enclave: 't1',
  })
  const outer = (await outside.until(1)).join('\n')
  assert.match(outer, /create\/mine/)
  assert.doesNotMatch(outer, /secret|other/)
  assert.doesNotMatch(inside.lines.join('\n'), /mine|other/)
})

test('the audit log of the operator has the events of enclaves, too', async (t) => {
  const { server, tenant, call } = await estate(t, 'log: { audit: on }')
  await ok(call(tenant, 'POST', '/v1/key/create/secret?enclave=t1'))
  const event = /"path":"\/v1\/key\/create\/secret",.*"enclave":"t1"/
  await eventually('the event', () => event.test(server.stdout()))
})

test('the name of an enclave is taken only once', async (t) => {
  const { server, call } = await estate(t)
  await refused(call(server.admin, 'POST', '/v1/enclave/create/t1'), 400, 'enclave already exists')
})

for (const name of ['', '-a', 'a-', '_', 'a.b', 'a'.repeat(33), 'a/b', 'ä']) {
  test(`'${name}' is no name of an enclave`, { skip: IN_PROCESS }, async (t) => {
    const { server, store, call } = await estate(t)
    const path = `/v1/enclave/create/${encodeURIComponent(name)}`
    const { status, body } = await call(server.admin, 'POST', path)
    assert.equal(status, 400, body)
    assert.equal(store.entries.size, 2)
  })
}

test('an admin that is no identity is refused', { skip: IN_PROCESS }, async (t) => {
  const { server, store, call } = await estate(t)
  for (const admin of ['', 'x', 'A'.repeat(64), 5, [], {}])
    assert.equal((await call(server.admin, 'POST', '/v1/enclave/create/x', { admin })).status, 400)
  assert.equal(store.entries.size, 2)
})

for (const method of ['DELETE', 'POST']) {
  test(
    `an enclave is deleted with ${method}, with all of its keys, and with no others`,
    { skip: IN_PROCESS },
    async (t) => {
      const { server, store, tenant, neighbour, call } = await estate(t)
      for (const name of ['a', 'b', 'c']) {
        await ok(call(tenant, 'POST', `/v1/key/create/${name}?enclave=t1`))
        await ok(call(neighbour, 'POST', `/v1/key/create/${name}?enclave=t2`))
        await ok(call(server.admin, 'POST', `/v1/key/create/${name}`))
      }
      await ok(call(tenant, 'POST', '/v1/key/generate/a?enclave=t1', {}))
      await ok(call(server.admin, method, '/v1/enclave/delete/t1'))
      await refused(call(tenant, 'POST', '/v1/key/generate/a?enclave=t1', {}), 403, FORBIDDEN)
      const left = [...store.entries.keys()].filter(
        (name) => name.includes('t1') || name.startsWith(enclavePrefix('t1')),
      )
      assert.deepEqual(left, [])
      assert.equal(store.entries.size, 1 + 3 + 3)
      await refused(
        call(server.admin, method, '/v1/enclave/delete/t1'),
        404,
        'enclave does not exist',
      )
    },
  )
}

test('an enclave made anew has nothing of the one before', async (t) => {
  const { server, tenant, member, call } = await estate(t)
  await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
  await ok(call(server.admin, 'DELETE', '/v1/enclave/delete/t1'))
  await ok(call(server.admin, 'POST', '/v1/enclave/create/t1', { admin: tenant.identity }))
  assert.equal((await call(tenant, 'GET', '/v1/key/list/?enclave=t1')).body, '{"names":[]}\n')
  await refused(call(member, 'POST', '/v1/key/create/a?enclave=t1'), 403, FORBIDDEN)
})

test(
  'a deletion that is cut off is finished by the next one, and until then the enclave is gone',
  { skip: IN_PROCESS },
  async (t) => {
    const { server, store, tenant, call } = await estate(t)
    for (let index = 0; index < 40; index++)
      await ok(call(tenant, 'POST', `/v1/key/create/k${index}?enclave=t1`))
    const remove = store.delete.bind(store)
    let deletes = 0
    store.delete = (name) =>
      ++deletes > 20 ? Promise.reject(new KeyStoreError('failed', 'cut off')) : remove(name)
    await refused(
      call(server.admin, 'DELETE', '/v1/enclave/delete/t1'),
      502,
      'failed to delete key',
    )
    assert.ok(store.entries.has('-deleted-enclave-t1') && store.entries.has('-enclave-t1'))
    await refused(call(tenant, 'GET', '/v1/key/list/?enclave=t1'), 403, FORBIDDEN)
    store.delete = remove
    await ok(call(server.admin, 'DELETE', '/v1/enclave/delete/t1'))
    assert.deepEqual([...store.entries.keys()], ['-enclave-t2'])
  },
)

test(
  'enclaves and their keys outlive a restart; their policies do not',
  { skip: IN_PROCESS },
  async (t) => {
    const { store, tenant, member, call } = await estate(t)
    await ok(call(tenant, 'POST', '/v1/key/create/a?enclave=t1'))
    const { port } = await startServer(t, { store })
    const again = await ask(port, tenant, 'GET', '/v1/key/list/?enclave=t1')
    assert.equal(again.body, '{"names":["a"]}\n')
    const { status } = await ask(port, member, 'GET', '/v1/key/list/?enclave=t1')
    assert.equal(status, 403)
    // Two servers on one keystore: what one makes, the other has.
    await ok(call(tenant, 'POST', '/v1/key/create/b?enclave=t1'))
    assert.equal((await ask(port, tenant, 'GET', '/v1/key/describe/b?enclave=t1')).status, 200)
  },
)

test('a keystore that fails is no missing enclave', { skip: IN_PROCESS }, async (t) => {
  const { server, store, tenant, call } = await estate(t)
  store.failure = new KeyStoreError('failed', 'broken')
  await refused(call(server.admin, 'GET', '/v1/key/list/?enclave=t3'), 502, 'failed to read key')
  await refused(call(tenant, 'GET', '/v1/key/list/?enclave=t3'), 502, 'failed to read key')
})

test(
  'a damaged entry of an enclave is a 502, and the log names it',
  { skip: IN_PROCESS },
  async (t) => {
    const { server, store, call } = await estate(t)
    store.entries.set('-enclave-t4', Buffer.from('{"admin":"x"}'))
    await refused(call(server.admin, 'GET', '/v1/key/list/?enclave=t4'), 502, 'failed to read key')
    assert.match(server.stderr(), /'-enclave-t4' is damaged/)
  },
)

test(
  'who asks for many enclaves that are not there does not ask the keystore each time',
  { skip: IN_PROCESS },
  async (t) => {
    const { server, store, call } = await estate(t)
    const before = store.calls.get
    for (let index = 0; index < 20; index++)
      await refused(call(server.nobody, 'GET', '/v1/key/list/?enclave=none'), 403, FORBIDDEN)
    assert.ok(store.calls.get - before < 20)
    const made = store.calls.get
    for (let index = 0; index < 5; index++)
      await call(server.nobody, 'GET', `/v1/key/list/?enclave=${'x'.repeat(33)}`)
    assert.equal(store.calls.get, made)
  },
)
