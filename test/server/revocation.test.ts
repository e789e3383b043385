/**
 * Who was let in and is not any more: the next request on the connection from before, on a resumed session, and on a
 * fresh connection (kes-api.md, "Connections").
 */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'

import { type Certificate, certificate } from '../support/certificates.ts'
import { beforeTheEnd } from '../support/mortal.ts'
import { eventually } from '../support/process.ts'
import {
  startServer,
  type TestServer,
  type TestServerOptions,
  IN_PROCESS,
} from '../support/server.ts'
import { follow, type LogFollower, openSession } from '../support/session.ts'
import { FakeStore, gate } from '../support/store.ts'
import { keep, visit } from '../support/visitor.ts'
import { http1 } from '../support/wire.ts'

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const PATH = '/v1/key/list/'
const SELF = '/v1/identity/self/describe'

type Outcome = number | 'closed'

/** Somebody with connections and sessions from before a reload. */
interface Regular {
  /** What a request gets now: on both connections from before, on resumed sessions, on fresh connections. */
  ask(path?: string): Promise<{ old: Outcome[]; resumed: Outcome[]; fresh: Outcome[] }>
  /** Which of the sessions from before are taken up again now. */
  resumes(): Promise<boolean[]>
}

async function regular(t: TestContext, port: number, who: Certificate): Promise<Regular> {
  const kept = await keep(t, port, who)
  const session = await openSession(t, port, who)
  assert.equal(await kept.ask('GET', SELF), 200)
  assert.equal((await session.ask('GET', SELF)).status, 200)
  const visits = await Promise.all(VERSIONS.map((version) => visit(port, who, version)))
  for (const { status, session } of visits) assert.ok(status === 200 && session !== undefined)
  const again = (path?: string) =>
    Promise.all(
      VERSIONS.map((version, index) => visit(port, who, version, { ...visits[index], path })),
    )
  const statuses = (list: readonly { status: Outcome }[]): Outcome[] =>
    list.map((one) => one.status)
  return {
    ask: async (path = PATH) => ({
      old: [
        await kept.ask('GET', path),
        await session.ask('GET', path).then(
          ({ status }) => status,
          () => 'closed' as const,
        ),
      ],
      resumed: statuses(await again(path)),
      fresh: statuses(
        await Promise.all(VERSIONS.map((version) => visit(port, who, version, { path }))),
      ),
    }),
    resumes: async () => (await again()).map(({ isReused }) => isReused),
  }
}

function everywhere(outcome: Outcome): Awaited<ReturnType<Regular['ask']>> {
  return { old: [outcome, outcome], resumed: [outcome, outcome], fresh: [outcome, outcome] }
}

function listers(...members: readonly Certificate[]): string {
  const identities = members.map(({ identity }) => identity)
  return `policy: { listers: { allow: [ "${PATH}*" ], identities: ${JSON.stringify(identities)} } }`
}

interface Scene {
  readonly server: TestServer
  readonly ca: Certificate
  readonly member: Certificate
}

/** A server with `tls.auth: on`, and a member of its CA who may list keys. */
async function strict(t: TestContext, options: TestServerOptions = {}): Promise<Scene> {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const server = await startServer(t, {
    tls: 'auth: on',
    ca: ca.cert,
    config: listers(member),
    ...options,
  })
  return { server, ca, member }
}

test('after a reload that changes nothing everything goes on, resumed sessions too', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  await server.reload({})
  assert.deepEqual(await client.ask(), everywhere(200))
  assert.deepEqual(await client.resumes(), [true, true])
})

test('whose CA was removed is let in nowhere', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  const otherCa = await certificate({ subject: 'ca', ca: true })
  await server.reload({ ca: otherCa.cert })
  assert.deepEqual(await client.ask(), everywhere('closed'))
  assert.deepEqual(await client.resumes(), [false, false])
  const other = await certificate({ subject: 'other', issuer: otherCa })
  assert.equal((await visit(server.port, other, 'TLSv1.3')).status, 200)
})

test('whose CA stays when another is removed connects again, and nobody resumes', async (t) => {
  const leaving = await certificate({ subject: 'leaving', ca: true })
  const staying = await certificate({ subject: 'staying', ca: true })
  const member = await certificate({ subject: 'member', issuer: staying })
  const server = await startServer(t, {
    tls: 'auth: on',
    ca: leaving.cert + staying.cert,
    config: listers(member),
  })
  const client = await regular(t, server.port, member)
  await server.reload({ ca: staying.cert })
  assert.deepEqual(await client.ask(), {
    old: ['closed', 'closed'],
    resumed: [200, 200],
    fresh: [200, 200],
  })
  assert.deepEqual(await client.resumes(), [false, false])
})

test('an identity that was removed may nothing any more, on whatever connection', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  assert.deepEqual(await client.ask(), everywhere(200))
  await server.reload({ config: listers() })
  assert.deepEqual(await client.ask(), everywhere(403))
  assert.deepEqual(await client.ask(SELF), everywhere(200))
})

test('an admin who was replaced is none any more, on whatever connection', async (t) => {
  const server = await startServer(t)
  const client = await regular(t, server.port, server.admin)
  assert.deepEqual(await client.ask('/v1/status'), everywhere(200))
  await server.reload({ admin: server.nobody.identity })
  assert.deepEqual(await client.ask('/v1/status'), everywhere(403))
  assert.equal(
    (await visit(server.port, server.nobody, 'TLSv1.3', { path: '/v1/status' })).status,
    200,
  )
})

test('a policy that was changed counts at once, on whatever connection', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  const policy = `allow: [ "/v1/*" ], deny: [ "${PATH}*" ], identities: [ ${member.identity} ]`
  await server.reload({ config: `policy: { listers: { ${policy} } }` })
  assert.deepEqual(await client.ask(), everywhere(403))
  assert.deepEqual(await client.ask('/v1/status'), everywhere(200))
})

test('whose certificate has expired is let in nowhere', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const holder = await certificate({ subject: 'member', issuer: ca })
  const server = await startServer(t, { tls: 'auth: on', ca: ca.cert, config: listers(holder) })
  const { client, expiry } = await beforeTheEnd(async (lifetime) => {
    const request = { subject: 'member', issuer: ca, holder, notAfter: lifetime }
    const member = await certificate(request)
    return { member, client: await regular(t, server.port, member) }
  })
  await sleep(expiry - Date.now() + 100)
  assert.deepEqual(await client.ask(), everywhere('closed'))
  assert.deepEqual(await client.resumes(), [true, true])
})

test('when verification is switched on, whom nobody has verified is let in nowhere', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const stranger = await certificate({ subject: 'stranger' })
  const member = await certificate({ subject: 'member', issuer: ca })
  const config = listers(stranger, member)
  const server = await startServer(t, { tls: 'auth: off', ca: ca.cert, config })
  const [strangers, members] = [
    await regular(t, server.port, stranger),
    await regular(t, server.port, member),
  ]
  await server.reload({ tls: 'auth: on' })
  assert.deepEqual(await strangers.ask(), everywhere('closed'))
  assert.deepEqual(await strangers.resumes(), [false, false])
  assert.deepEqual(await members.ask(), {
    old: ['closed', 'closed'],
    resumed: [200, 200],
    fresh: [200, 200],
  })
})

test('when verification is switched off, connections end, and everybody may come back', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  await server.reload({ tls: 'auth: off' })
  assert.deepEqual(await client.ask(), {
    old: ['closed', 'closed'],
    resumed: [200, 200],
    fresh: [200, 200],
  })
  assert.deepEqual(await client.resumes(), [false, false])
  assert.equal((await visit(server.port, server.nobody, 'TLSv1.3')).status, 200)
})

test('with verification off, other CAs are no reason to end connections', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const server = await startServer(t, { tls: 'auth: off', ca: ca.cert })
  const client = await regular(t, server.port, server.admin)
  await server.reload({ ca: server.server.cert })
  assert.deepEqual(await client.ask(), everywhere(200))
})

test('a new server certificate is for new handshakes; connections go on, sessions are not resumed', async (t) => {
  const { server, member } = await strict(t)
  const client = await regular(t, server.port, member)
  const before = await visit(server.port, member, 'TLSv1.3')
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] }
  const renewed = await certificate({ subject: 'localhost', ...names })
  await server.reload({ certificate: renewed })
  assert.deepEqual(await client.ask(), everywhere(200))
  assert.deepEqual(await client.resumes(), [false, false])
  const { fingerprint256 } = new X509Certificate(renewed.cert)
  const shown = fingerprint256.replaceAll(':', '').toLowerCase()
  assert.notEqual(before.server, shown)
  for (const version of VERSIONS)
    assert.equal((await visit(server.port, member, version)).server, shown)
})

test('sessions from after a reload are resumed', async (t) => {
  const { server, member } = await strict(t)
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] }
  await server.reload({ certificate: await certificate({ subject: 'localhost', ...names }) })
  for (const version of VERSIONS) {
    const first = await visit(server.port, member, version)
    assert.equal((await visit(server.port, member, version, first)).isReused, true)
  }
})

for (const http of ['h1', 'h2'] as const) {
  test(
    `a request that runs over ${http} when its CA is removed ends well, and its connection after it`,
    { skip: IN_PROCESS },
    async (t) => {
      const store = new FakeStore()
      const { server, member } = await strict(t, { store })
      const { passed, open } = gate()
      t.after(open)
      const kept = http === 'h1' ? await keep(t, server.port, member) : undefined
      const session = http === 'h2' ? await openSession(t, server.port, member) : undefined
      store.gate = passed
      const running =
        kept?.ask('GET', PATH) ?? session?.ask('GET', PATH).then(({ status }) => status)
      await eventually('the request runs', () => store.calls.list === 1)
      let hasGoaway = http === 'h1'
      session?.http2.on('goaway', () => (hasGoaway = true))
      const other = await certificate({ subject: 'other-ca', ca: true })
      await server.reload({ ca: other.cert })
      await eventually('the client is told to connect anew', () => hasGoaway)
      assert.equal(kept?.isClosed() ?? session?.http2.destroyed, false)
      open()
      assert.equal(await running, 200)
      await eventually('the connection ends', () => kept?.isClosed() ?? session?.http2.destroyed)
      assert.equal(store.calls.list, 1)
    },
  )
}

/** What a client sends that does not care whether it may, over each protocol: `GET` of one path. */
const STUBBORN: Readonly<Record<string, (path: string, request: number) => Buffer>> = {
  'http/1.1': (path) => Buffer.from(http1('GET', path, [])),
  h2: (path, request) => {
    const length = Buffer.byteLength(path)
    const fields = Buffer.from([0x82, 0x87, 0x41, 1, 0x61, 0x04, length, ...Buffer.from(path)])
    const headers = Buffer.from([0, 0, fields.length, 1, 5, 0, 0, 0, 2 * request + 1])
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'
    return Buffer.concat([Buffer.from(request === 0 ? preface : ''), headers, fields])
  },
}

for (const [protocol, bytes] of Object.entries(STUBBORN)) {
  test(
    `over ${protocol}, what is sent behind a running request after the CA was removed is not done`,
    { skip: IN_PROCESS },
    async (t) => {
      const store = new FakeStore()
      const { server, member } = await strict(t, { store })
      const { passed, open } = gate()
      t.after(open)
      store.gate = passed
      const { key, cert } = member
      const client = { port: server.port, host: '127.0.0.1', key, cert, ALPNProtocols: [protocol] }
      const socket = connect({ ...client, rejectUnauthorized: false })
      t.after(() => socket.destroy())
      let received = ''
      let isClosed = false
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
      socket.on('close', () => (isClosed = true))
      socket.write(bytes(PATH, 0))
      await eventually('the request runs', () => store.calls.list === 1)
      const other = await certificate({ subject: 'other-ca', ca: true })
      await server.reload({ ca: other.cert })
      socket.write(bytes(PATH, 1))
      await sleep(100)
      open()
      await eventually('the connection ends', () => isClosed)
      assert.ok(received.includes('{"names":[]}'))
      assert.equal(store.calls.list, 1)
    },
  )
}

test('a follower of a log who may not follow it any more is cut off, others go on', async (t) => {
  const server = await startServer(t)
  const { port, admin, user, nobody } = server
  const policy = (...who: readonly Certificate[]): string =>
    `policy: { logs: { allow: [ "/v1/log/*" ], identities: ${JSON.stringify(who.map(({ identity }) => identity))} } }`
  await server.reload({ config: policy(user, nobody) })
  const followers: LogFollower[] = []
  for (const who of [user, nobody, admin])
    for (const http of ['h1', 'h2'] as const)
      followers.push(await follow(t, port, who, '/v1/log/audit', http))
  await server.reload({ config: policy(nobody) })
  const ends = (): boolean[] => followers.map(({ hasEnded }) => hasEnded())
  await eventually('two have ended', () => ends().filter(Boolean).length === 2)
  assert.equal((await visit(port, admin, 'TLSv1.3', { path: '/v1/status' })).status, 200)
  for (const { lines } of followers.slice(2))
    await eventually('the event', () => lines.some((line) => line.includes('"/v1/status"')))
  assert.deepEqual(ends(), [true, true, false, false, false, false])
})

test('a handshake that began before a reload of the CAs is not let in after it', async (t) => {
  const { server, member } = await strict(t)
  const tcp = connectTcp({ port: server.port, host: '127.0.0.1' })
  t.after(() => tcp.destroy())
  await new Promise<void>((resolve) => tcp.once('connect', resolve))
  // Whoever connected later was accepted later.
  await visit(server.port, member, 'TLSv1.3')
  const other = await certificate({ subject: 'other-ca', ca: true })
  await server.reload({ ca: other.cert })
  const socket = connect({ socket: tcp, rejectUnauthorized: false, ...pair(member) })
  t.after(() => socket.destroy())
  let received = ''
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()))
  socket.on('error', () => {})
  socket.on('secureConnect', () => socket.write(`GET ${SELF} HTTP/1.1\r\nHost: a\r\n\r\n`))
  await new Promise((resolve) => socket.once('close', resolve))
  assert.equal(received, '')
})

function pair({ key, cert }: Certificate): { key: string; cert: string } {
  return { key, cert }
}
