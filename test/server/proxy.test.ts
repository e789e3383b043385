/** TLS proxies: requests that come on a proxy's connection, with the certificate of somebody else in a header. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Certificate, certificate } from '../support/certificates.ts'
import { beforeTheEnd } from '../support/mortal.ts'
import { eventually } from '../support/process.ts'
import {
  ask,
  type Answer,
  people,
  raw,
  startServer,
  type TestServer,
  IN_PROCESS,
} from '../support/server.ts'
import { answerOf, openSession } from '../support/session.ts'

const HOUR = 3_600_000
const SELF = '/v1/identity/self/describe'
const HEADER = 'x-tls-client-cert'
const PROTOCOLS = ['h1', 'h2'] as const

interface Setting extends TestServer {
  readonly ca: Certificate
  readonly proxy: Certificate
}

interface SettingOptions {
  /** Further fields of `tls.proxy`, in flow style. */
  readonly proxy?: string
  readonly auth?: 'on' | 'off'
  readonly config?: string
}

/** A server with a proxy; with `auth: on` it trusts a CA, and the self-signed certificates of admin and user. */
async function setting(t: TestContext, options: SettingOptions = {}): Promise<Setting> {
  const ca = await certificate({ subject: 'ca', ca: true })
  const proxy = await certificate({ subject: 'proxy', issuer: ca })
  const { admin, user } = await people()
  const server = await startServer(t, {
    ca: ca.cert + admin.cert + user.cert,
    tls: `auth: ${options.auth ?? 'on'}
proxy: { identities: [ ${proxy.identity} ]${options.proxy === undefined ? '' : `, ${options.proxy}`} }`,
    config: options.config ?? 'log: { audit: on }',
  })
  return { ...server, ca, proxy }
}

function escaped({ cert }: Certificate): string {
  return encodeURIComponent(cert)
}

interface Forwarded {
  readonly http?: 'h1' | 'h2'
  readonly body?: string
}

/** A request as a proxy passes it on. */
function forward(
  { port, proxy }: Pick<Setting, 'port' | 'proxy'>,
  owner: Certificate,
  method: string,
  path: string,
  options: Forwarded = {},
): Promise<Answer> {
  return ask(port, proxy, method, path, { ...options, headers: { [HEADER]: escaped(owner) } })
}

function messageOf({ body }: Answer): string {
  return JSON.parse(body).message
}

test('a user’s calls through a proxy are his own, with his policy', async (t) => {
  const server = await setting(t)
  for (const http of PROTOCOLS) {
    const self = JSON.parse((await forward(server, server.user, 'GET', SELF, { http })).body)
    assert.deepEqual([self.identity, self.policy], [server.user.identity, 'user'])
    const create = (name: string) =>
      forward(server, server.user, 'PUT', `/v1/key/create/${name}`, { http })
    assert.equal((await create(`user-${http}`)).status, 200)
    const refused = await create(`other-${http}`)
    assert.equal(refused.status, 403)
    assert.equal(JSON.parse(refused.body).identity, server.user.identity)
  }
})

test('on one connection of a proxy every request is who its own header says', async (t) => {
  const server = await setting(t)
  const member = await certificate({ subject: 'member', issuer: server.ca })
  const { http2 } = await openSession(t, server.port, server.proxy)
  const owners = [server.user, member, undefined, server.user, member, undefined]
  const answers = await Promise.all(
    owners.map((owner) =>
      answerOf(http2.request({ ':path': SELF, ...(owner && { [HEADER]: escaped(owner) }) })),
    ),
  )
  assert.deepEqual(
    answers.map(({ status, body }) => [status, JSON.parse(body).identity]),
    owners.map((owner) => (owner ? [200, owner.identity] : [400, undefined])),
  )
})

test('a proxy that forwards no certificate is nobody', async (t) => {
  const server = await setting(t)
  for (const http of PROTOCOLS) {
    for (const path of [SELF, '/version', '/v1/status']) {
      const answer = await ask(server.port, server.proxy, 'GET', path, { http })
      assert.equal(answer.status, 400, path)
      assert.equal(messageOf(answer), 'tls: client certificate is required')
    }
  }
  assert.match(server.stderr(), /x-tls-client-cert is missing/)
  assert.match(server.stderr(), new RegExp(`req\\.proxy=${server.proxy.identity}`))
  assert.doesNotMatch(server.stderr(), /req\.identity/)
})

test('a header that comes twice is refused, in any spelling', async (t) => {
  const server = await setting(t)
  const [one, two] = [escaped(server.user), escaped(server.admin)]
  for (const [first, second] of [
    [one, two],
    [one, one],
    [one, ''],
  ] as const) {
    const head = `GET ${SELF} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Tls-Client-Cert: ${first}\r\nX-TLS-CLIENT-CERT: ${second}\r\n\r\n`
    const answer = await raw(server.port, server.proxy, head)
    assert.match(answer, /^HTTP\/1\.1 400 /)
    assert.match(answer, /received more than one client certificate/)

    const { http2 } = await openSession(t, server.port, server.proxy)
    const http2Answer = await answerOf(http2.request({ ':path': SELF, [HEADER]: [first, second] }))
    assert.equal(http2Answer.status, 400)
    assert.equal(messageOf(http2Answer), 'tls: received more than one client certificate')
  }
})

const REFUSED: Readonly<
  Record<string, { make: (ca: Certificate) => Promise<Certificate>; why: RegExp }>
> = {
  'a self-signed certificate': {
    make: () => certificate({ subject: 'self' }),
    why: /no CA of tls\.ca has issued the certificate/,
  },
  'a certificate of another CA with the name of ours': {
    make: async () =>
      certificate({ subject: 'x', issuer: await certificate({ subject: 'ca', ca: true }) }),
    why: /the signature is not that of the named CA/,
  },
  'an expired certificate': {
    make: (issuer) => certificate({ subject: 'x', issuer, notBefore: -2 * HOUR, notAfter: -HOUR }),
    why: /the certificate has expired/,
  },
  'a certificate that is not valid yet': {
    make: (issuer) => certificate({ subject: 'x', issuer, notBefore: HOUR, notAfter: 2 * HOUR }),
    why: /the certificate is not valid yet/,
  },
  'a certificate for servers only': {
    make: (issuer) => certificate({ subject: 'x', issuer, usages: ['serverAuth'] }),
    why: /not for TLS clients/,
  },
}

for (const [kind, { make, why }] of Object.entries(REFUSED)) {
  test(`${kind} is refused through a proxy; client, error log and audit log have it`, async (t) => {
    const server = await setting(t)
    const owner = await make(server.ca)
    for (const http of PROTOCOLS) {
      const answer = await forward(server, owner, 'GET', SELF, { http })
      assert.equal(answer.status, 400)
      assert.match(messageOf(answer), why)
    }
    await eventually('two refusals in the logs', () => {
      const refusals = server.stderr().match(/^.*not accepted.*$/gm) ?? []
      return refusals.length === 2 && server.stdout().split('\n').length > 2
    })
    assert.match(server.stderr(), why)
    assert.ok(server.stderr().includes(`req.identity=${owner.identity}`))
    const [event = ''] = server.stdout().split('\n')
    const { request, response } = JSON.parse(event)
    assert.deepEqual(request, {
      ip: '127.0.0.1',
      path: SELF,
      identity: owner.identity,
      proxy: server.proxy.identity,
    })
    assert.equal(response.code, 400)
  })
}

test('a CA certificate is nobody’s through a proxy', async (t) => {
  const server = await setting(t)
  const answer = await forward(server, server.ca, 'GET', SELF)
  assert.deepEqual([answer.status, messageOf(answer)], [400, 'tls: client certificate is required'])
})

test('without verification a forwarded certificate needs no CA, as a direct one', async (t) => {
  const server = await setting(t, { auth: 'off' })
  const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
  const old = await certificate({ subject: 'old', usages: ['serverAuth'], ...dates })
  for (const http of PROTOCOLS) {
    const self = await forward(server, old, 'GET', SELF, { http })
    assert.equal(JSON.parse(self.body).identity, old.identity)
  }
})

test('the admin does not come through a proxy, not even to describe himself', async (t) => {
  const server = await setting(t)
  for (const http of PROTOCOLS) {
    for (const path of ['/v1/status', SELF, '/version']) {
      const answer = await forward(server, server.admin, 'GET', path, { http })
      assert.equal(answer.status, 403, path)
      const { message, identity, api, hint } = JSON.parse(answer.body)
      assert.equal(message, 'not authorized: insufficient permissions')
      assert.deepEqual([identity, api], [server.admin.identity, path])
      assert.match(hint, /tls\.proxy\.admin: true/)
    }
  }
  assert.equal((await ask(server.port, server.admin, 'GET', '/v1/status')).status, 200)
})

test('the admin comes through a proxy where the config says so', async (t) => {
  const server = await setting(t, { proxy: 'admin: true' })
  for (const http of PROTOCOLS) {
    assert.equal((await forward(server, server.admin, 'GET', '/v1/status', { http })).status, 200)
    const self = JSON.parse((await forward(server, server.admin, 'GET', SELF, { http })).body)
    assert.equal(self.admin, true)
  }
})

test('a proxy does not come through a proxy, nor through itself', async (t) => {
  const server = await setting(t, { proxy: 'admin: true' })
  for (const path of [SELF, '/version', '/v1/status'])
    assert.equal((await forward(server, server.proxy, 'GET', path)).status, 403)
})

test('who is no proxy is who he is, whatever certificate he sends along', async (t) => {
  const server = await setting(t)
  for (const http of PROTOCOLS) {
    for (const other of [server.admin, server.proxy]) {
      const sender = { port: server.port, proxy: server.user }
      const self = await forward(sender, other, 'GET', SELF, { http })
      assert.equal(JSON.parse(self.body).identity, server.user.identity)
      assert.equal((await forward(sender, other, 'GET', '/v1/status', { http })).status, 403)
    }
  }
})

test(
  'who is no proxy and sends the header is logged once a minute, not once a request',
  { skip: IN_PROCESS },
  async (t) => {
    const server = await setting(t)
    const sender = { port: server.port, proxy: server.user }
    for (let i = 0; i < 5; i++) await forward(sender, server.admin, 'GET', SELF)
    await forward({ ...sender, proxy: server.admin }, server.user, 'GET', SELF)
    const lines = await eventually('both are logged', () => {
      const found = server.stderr().match(/^.*x-tls-client-cert is ignored.*$/gm) ?? []
      return found.length >= 2 && found
    })
    assert.equal(lines.length, 2)
    assert.ok(lines[0]?.includes(`req.identity=${server.user.identity}`))
    assert.ok(lines[1]?.includes(`req.identity=${server.admin.identity}`))
  },
)

test('who has no certificate has none by sending one', async (t) => {
  const server = await setting(t, {
    auth: 'off',
    config: 'api: { /v1/ready: { skip_auth: true } }',
  })
  for (const http of PROTOCOLS) {
    const headers = { [HEADER]: escaped(server.user) }
    const answer = await ask(server.port, undefined, 'GET', SELF, { http, headers })
    assert.equal(answer.status, 400)
    const ready = await ask(server.port, undefined, 'GET', '/v1/ready', { http, headers })
    assert.equal(ready.status, 200)
  }
})

test('a proxy may look after the server’s health without a client', async (t) => {
  const server = await setting(t, {
    config: 'api: { /v1/ready: { skip_auth: true } }\nlog: { audit: on }',
  })
  for (const http of PROTOCOLS)
    assert.equal((await ask(server.port, server.proxy, 'GET', '/v1/ready', { http })).status, 200)
  const lines = await eventually('both are audited', () => {
    const found = server.stdout().trimEnd().split('\n')
    return found.length === 2 && found
  })
  for (const line of lines) {
    const { request } = JSON.parse(line)
    assert.deepEqual(request, { ip: '127.0.0.1', path: '/v1/ready', proxy: server.proxy.identity })
  }
})

test('what no route answers is 404 or 405 through a proxy, too, and the audit log has who asked', async (t) => {
  const server = await setting(t)
  assert.equal((await forward(server, server.user, 'GET', '/v1/nothing')).status, 404)
  assert.equal((await forward(server, server.user, 'DELETE', '/v1/status')).status, 405)
  assert.equal((await ask(server.port, server.proxy, 'GET', '/v1/nothing')).status, 404)
  const lines = await eventually('three events', () => {
    const found = server.stdout().trimEnd().split('\n')
    return found.length === 3 && found
  })
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).request.identity),
    [server.user.identity, server.user.identity, undefined],
  )
})

test('the config names the header, in any case, and then no other one counts', async (t) => {
  const server = await setting(t, { proxy: 'header: { cert: X-SSL-Cert }' })
  for (const http of PROTOCOLS) {
    const headers = { 'x-ssl-cert': escaped(server.user) }
    const self = await ask(server.port, server.proxy, 'GET', SELF, { http, headers })
    assert.equal(JSON.parse(self.body).identity, server.user.identity)
    assert.equal((await forward(server, server.user, 'GET', SELF, { http })).status, 400)
  }
})

test('a caller through a proxy is answered in the dialect of his policy', async (t) => {
  const { user } = await people()
  const server = await setting(t, {
    config: `policy: { old: { dialect: v0.18, allow: [ /v1/policy/list/* ], identities: [ ${user.identity} ] } }`,
  })
  const answer = await forward(server, user, 'GET', '/v1/policy/list/*')
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
})

test('a header of 16 KiB is refused, and the server goes on', async (t) => {
  const server = await setting(t)
  const headers = { [HEADER]: escaped(server.user).padEnd(17_000, 'A') }
  const answer = await ask(server.port, server.proxy, 'GET', SELF, { http: 'h1', headers })
  assert.equal(answer.status, 431)
  await assert.rejects(ask(server.port, server.proxy, 'GET', SELF, { http: 'h2', headers }))
  assert.equal((await forward(server, server.user, 'GET', SELF)).status, 200)
})

/** A log that a member of a policy follows on a proxy's connection. */
async function followThrough(
  t: TestContext,
  { port, proxy }: Pick<Setting, 'port' | 'proxy'>,
  owner: Certificate,
): Promise<() => boolean> {
  const { http2 } = await openSession(t, port, proxy)
  const stream = http2.request({ ':path': '/v1/log/audit', [HEADER]: escaped(owner) })
  let hasEnded = false
  stream.resume()
  stream.on('close', () => (hasEnded = true))
  const status = await new Promise((resolve) =>
    stream.on('response', (head) => resolve(head[':status'])),
  )
  assert.equal(status, 200)
  return () => hasEnded
}

test('a reload that names a proxy no more makes its header void, also on open connections', async (t) => {
  const { user } = await people()
  const config = `policy: { logs: { allow: [ "/v1/log/*" ], identities: [ ${user.identity} ] } }`
  const server = await setting(t, { config })
  const { http2 } = await openSession(t, server.port, server.proxy)
  const self = async () => {
    const { body } = await answerOf(http2.request({ ':path': SELF, [HEADER]: escaped(user) }))
    return JSON.parse(body).identity
  }
  const hasEnded = await followThrough(t, server, user)
  assert.equal(await self(), user.identity)
  await server.reload({ tls: 'auth: on' })
  assert.equal(await self(), server.proxy.identity)
  await eventually('the follower ends', hasEnded)
})

test('a reload that names a proxy makes its header count on open connections', async (t) => {
  const server = await setting(t)
  const late = await certificate({ subject: 'late', issuer: server.ca })
  const { http2 } = await openSession(t, server.port, late)
  const ask = () => answerOf(http2.request({ ':path': SELF, [HEADER]: escaped(server.user) }))
  assert.equal(JSON.parse((await ask()).body).identity, late.identity)
  await server.reload({ tls: `auth: on\nproxy: { identities: [ ${late.identity} ] }` })
  assert.equal(JSON.parse((await ask()).body).identity, server.user.identity)
})

test('who loses a permission loses the log that he follows through a proxy; others keep theirs', async (t) => {
  const { user, nobody } = await people()
  const policy = (...members: readonly Certificate[]) =>
    `policy: { logs: { allow: [ "/v1/log/*" ], identities: [ ${members.map(({ identity }) => identity).join(', ')} ] } }`
  const ca = await certificate({ subject: 'ca', ca: true })
  const proxy = await certificate({ subject: 'proxy', issuer: ca })
  const server = await startServer(t, {
    ca: ca.cert + user.cert + nobody.cert,
    tls: `auth: on\nproxy: { identities: [ ${proxy.identity} ] }`,
    config: policy(user, nobody),
  })
  const at = { port: server.port, proxy }
  const [loser, keeper] = [await followThrough(t, at, nobody), await followThrough(t, at, user)]
  await server.reload({ config: policy(user) })
  await eventually('the one follower ends', loser)
  assert.equal((await forward(at, user, 'GET', SELF)).status, 200)
  assert.equal(keeper(), false)
})

test('a CA that a reload removes vouches for nobody’s forwarded certificate', async (t) => {
  const [one, two] = [
    await certificate({ subject: 'one', ca: true }),
    await certificate({ subject: 'two', ca: true }),
  ]
  const proxy = await certificate({ subject: 'proxy', issuer: one })
  const member = await certificate({ subject: 'member', issuer: two })
  const { port, reload } = await startServer(t, {
    ca: one.cert + two.cert,
    tls: `auth: on\nproxy: { identities: [ ${proxy.identity} ] }`,
  })
  assert.equal((await forward({ port, proxy }, member, 'GET', SELF)).status, 200)
  await reload({ ca: one.cert })
  const answer = await forward({ port, proxy }, member, 'GET', SELF)
  assert.equal(answer.status, 400)
  assert.match(messageOf(answer), /no CA of tls\.ca has issued the certificate/)
})

test('a CA that is taken out of its file vouches for nobody’s forwarded certificate, without a reload', async (t) => {
  const [one, two] = [
    await certificate({ subject: 'one', ca: true }),
    await certificate({ subject: 'two', ca: true }),
  ]
  const proxy = await certificate({ subject: 'proxy', issuer: one })
  const member = await certificate({ subject: 'member', issuer: two })
  const { port, directory } = await startServer(t, {
    ca: one.cert + two.cert,
    tls: `auth: on\nproxy: { identities: [ ${proxy.identity} ] }`,
  })
  const status = async () => (await forward({ port, proxy }, member, 'GET', SELF)).status
  assert.equal(await status(), 200)
  writeFileSync(join(directory, 'ca.pem'), one.cert)
  let latest = 0
  for (const limit = Date.now() + 30_000; latest !== 400 && Date.now() < limit; await sleep(100))
    // A connection that the change meets ends without an answer.
    latest = await status().catch(() => 0)
  assert.equal(latest, 400)
})

test('a log that is followed through a proxy ends with the follower’s certificate', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const proxy = await certificate({ subject: 'proxy', issuer: ca })
  const { member, http2, endOf, expiry } = await beforeTheEnd(async (lifetime) => {
    const member = await certificate({ subject: 'brief', issuer: ca, notAfter: lifetime })
    const { port } = await startServer(t, {
      ca: ca.cert,
      tls: `auth: on\nproxy: { identities: [ ${proxy.identity} ] }`,
      config: `policy: { logs: { allow: [ "/v1/log/*" ], identities: [ ${member.identity} ] } }`,
    })
    const { http2 } = await openSession(t, port, proxy)
    const ends = ['/v1/log/audit', '/v1/log/error'].map((path) => {
      const stream = http2.request({ ':path': path, [HEADER]: escaped(member) })
      let ended = 0
      stream.resume()
      stream.on('close', () => (ended = Date.now()))
      return new Promise<() => number>((resolve, reject) => {
        stream.on('error', reject)
        stream.on('response', () => resolve(() => ended))
      })
    })
    return { member, http2, endOf: await Promise.all(ends) }
  })
  await eventually('both streams end', () => endOf.every((ended) => ended() > 0))
  for (const ended of endOf) assert.ok(ended() > expiry - 1100)
  assert.equal(http2.closed, false, 'the connection is the proxy’s, and stays')
  await eventually('the certificate has expired', () => Date.now() > expiry + 1000)
  const late = await answerOf(http2.request({ ':path': SELF, [HEADER]: escaped(member) }))
  assert.equal(late.status, 400)
})
