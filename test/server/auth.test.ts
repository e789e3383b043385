/** `tls.auth: on`: which client certificates are let in, and that resumed sessions outlive nothing. */

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'

import { type Certificate, certificate } from '../support/certificates.ts'
import { eventually, kes, serverFiles, startServerProcess } from '../support/process.ts'
import { beforeTheEnd } from '../support/mortal.ts'
import { ask, startServer, tempDir, type TestServer } from '../support/server.ts'
import { follow } from '../support/session.ts'
import { visit } from '../support/visitor.ts'

const HOUR = 3_600_000

async function strict(t: Parameters<typeof startServer>[0], ca: Certificate): Promise<TestServer> {
  return startServer(t, { tls: 'auth: on', ca: ca.cert })
}

test('a certificate of the CA is let in as itself', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const { port } = await strict(t, ca)
  for (const http of ['h1', 'h2'] as const) {
    const self = await ask(port, member, 'GET', '/v1/identity/self/describe', { http })
    assert.equal(JSON.parse(self.body).identity, member.identity)
  }
})

test('a certificate of an intermediate CA is let in when the chain comes with it', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const middle = await certificate({ subject: 'middle', ca: true, issuer: ca, usages: [] })
  const member = await certificate({ subject: 'member', issuer: middle })
  const { port } = await strict(t, ca)
  const chain = { key: member.key, cert: member.cert + middle.cert }
  const self = await ask(port, chain, 'GET', '/v1/identity/self/describe')
  assert.equal(JSON.parse(self.body).identity, member.identity)
  await assert.rejects(ask(port, member, 'GET', '/version'))
})

const REFUSED: Readonly<
  Record<string, { make: (ca: Certificate) => Promise<Certificate>; why: RegExp }>
> = {
  'a self-signed certificate': {
    make: () => certificate({ subject: 'self' }),
    why: /SELF_SIGNED/,
  },
  'a certificate of another CA': {
    make: async () =>
      certificate({
        subject: 'stranger',
        issuer: await certificate({ subject: 'other-ca', ca: true }),
      }),
    why: /UNABLE_TO_/,
  },
  'a certificate of another CA with the name of ours': {
    make: async () =>
      certificate({ subject: 'stranger', issuer: await certificate({ subject: 'ca', ca: true }) }),
    why: /SIGNATURE|UNABLE_TO_/,
  },
  'an expired certificate': {
    make: (issuer) =>
      certificate({ subject: 'old', issuer, notBefore: -2 * HOUR, notAfter: -HOUR }),
    why: /EXPIRED|expired/,
  },
  'a certificate that is not valid yet': {
    make: (issuer) =>
      certificate({ subject: 'early', issuer, notBefore: HOUR, notAfter: 2 * HOUR }),
    why: /NOT_YET_VALID|not valid yet/,
  },
  'a certificate for servers only': {
    make: (issuer) => certificate({ subject: 'server', issuer, usages: ['serverAuth'] }),
    why: /PURPOSE|clientAuth/,
  },
}

for (const [kind, { make, why }] of Object.entries(REFUSED)) {
  test(`${kind} is refused, and the log says why`, async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const stranger = await make(ca)
    const server = await strict(t, ca)
    for (const http of ['h1', 'h2'] as const)
      await assert.rejects(ask(server.port, stranger, 'GET', '/version', { http }))
    const lines = await eventually('two refusals in the log', () => {
      const found = server.stderr().match(/^.*client certificate refused.*$/gm) ?? []
      return found.length === 2 && found
    })
    for (const line of lines) {
      assert.match(line, why)
      assert.match(line, /req\.ip=127\.0\.0\.1/)
      assert.ok(line.includes(`req.identity=${stranger.identity}`))
    }
  })
}

test('without a certificate the connection is closed', async (t) => {
  const { port } = await strict(t, await certificate({ subject: 'ca', ca: true }))
  for (const http of ['h1', 'h2'] as const)
    await assert.rejects(ask(port, undefined, 'GET', '/v1/ready', { http }))
})

test('a certificate that names no usages is let in', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca, usages: [] })
  const { port } = await strict(t, ca)
  assert.equal((await ask(port, member, 'GET', '/version')).status, 200)
})

test('the certificate of the CA itself is no client certificate', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const { port } = await strict(t, ca)
  let status = 0
  try {
    ;({ status } = await ask(port, ca, 'GET', '/version'))
  } catch {
    return // closed, as good
  }
  assert.equal(status, 400)
})

test('the certificate of somebody else behind the own one gives nobody their rights', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const outsider = await certificate({ subject: 'outsider' })
  const outsidersCa = await certificate({ subject: 'outsider', ca: true })
  const { port, admin } = await strict(t, ca)
  for (const http of ['h1', 'h2'] as const) {
    const path = '/v1/identity/self/describe'
    const chain = { key: member.key, cert: member.cert + admin.cert }
    const self = JSON.parse((await ask(port, chain, 'GET', path, { http })).body)
    assert.equal(self.identity, member.identity)
    assert.equal(self.admin, false)
    assert.equal((await ask(port, chain, 'GET', '/v1/status', { http })).status, 403)
    for (const { key, cert } of [outsider, outsidersCa]) {
      for (const trusted of [admin, member]) {
        const forged = { key, cert: cert + trusted.cert }
        await assert.rejects(ask(port, forged, 'GET', path, { http }))
      }
    }
  }
})

test('tls.ca may be a directory of PEM files', async (t) => {
  const [one, two] = [
    await certificate({ subject: 'one', ca: true }),
    await certificate({ subject: 'two', ca: true }),
  ]
  const directory = join(tempDir(t), 'cas')
  mkdirSync(join(directory, 'sub'), { recursive: true })
  writeFileSync(join(directory, 'one.pem'), one.cert)
  writeFileSync(join(directory, 'two.crt'), `# a comment\n${two.cert}`)
  writeFileSync(join(directory, 'README'), 'no certificate at all')
  const { port } = await startServer(t, { tls: `auth: on\nca: ${directory}` })
  for (const issuer of [one, two]) {
    const member = await certificate({ subject: 'member', issuer })
    assert.equal((await ask(port, member, 'GET', '/version')).status, 200)
  }
  await assert.rejects(ask(port, await certificate({ subject: 'self' }), 'GET', '/version'))
})

test('without tls.ca the CAs of SSL_CERT_FILE count, and none of Node’s', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const files = await serverFiles(t, { tls: 'auth: on' })
  writeFileSync(join(files.directory, 'system.pem'), ca.cert)
  const process = await startServerProcess(t, ['--config', 'config.yml'], {
    cwd: files.directory,
    env: { SSL_CERT_FILE: join(files.directory, 'system.pem'), SSL_CERT_DIR: '' },
  })
  assert.equal((await ask(process.port, member, 'GET', '/version')).status, 200)
  await assert.rejects(ask(process.port, files.nobody, 'GET', '/version'))
})

test('a CA file without a certificate ends the start', async (t) => {
  const files = await serverFiles(t, { tls: 'auth: on, ca: empty.pem' })
  writeFileSync(join(files.directory, 'empty.pem'), '')
  const { code, stderr } = await kes(t, ['server', '--config', 'config.yml'], {
    cwd: files.directory,
  })
  assert.equal(code, 1)
  assert.match(stderr, /^Error: tls\.ca: .*empty\.pem.*no CA certificate/)
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a session of ${version} is resumed, with the identity that it began with`, async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const member = await certificate({ subject: 'member', issuer: ca })
    const { port } = await strict(t, ca)
    const first = await visit(port, member, version)
    assert.equal(first.identity, member.identity)
    const second = await visit(port, member, version, first)
    assert.equal(second.isReused, true)
    assert.equal(second.identity, member.identity)
  })

  test(`a session of ${version} stays its owner’s, whatever certificate it is resumed with`, async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const member = await certificate({ subject: 'member', issuer: ca })
    const other = await certificate({ subject: 'other', issuer: ca })
    const { port } = await strict(t, ca)
    const first = await visit(port, member, version)
    const second = await visit(port, other, version, first)
    assert.equal(second.identity, second.isReused ? member.identity : other.identity)
  })

  test(`a ticket of ${version} is void after a restart with another CA or without verification`, async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const otherCa = await certificate({ subject: 'other-ca', ca: true })
    const member = await certificate({ subject: 'member', issuer: ca })
    const before = await strict(t, ca)
    const { port } = before
    const { session } = await visit(port, member, version)
    assert.ok(session !== undefined)
    await before.close()

    const other = await startServer(t, { tls: 'auth: on', ca: otherCa.cert, port })
    const refused = await visit(port, member, version, { session })
    assert.equal(refused.isReused, false)
    assert.equal(refused.identity, undefined)
    await other.close()

    await startServer(t, { tls: 'auth: off', port })
    const anew = await visit(port, member, version, { session })
    assert.equal(anew.isReused, false)
    assert.equal(anew.identity, member.identity)
  })
}

test('what the certificate allows ends with it: on open connections, and on resumed sessions', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const versions = ['TLSv1.2', 'TLSv1.3'] as const
  const begun = await beforeTheEnd(async (lifetime) => {
    const member = await certificate({ subject: 'member', issuer: ca, notAfter: lifetime })
    const server = await startServer(t, {
      tls: 'auth: on',
      ca: ca.cert,
      config: `policy: { logs: { allow: [ "/v1/log/*" ], identities: [ ${member.identity} ] } }`,
    })
    const { port } = server
    const sessions = await Promise.all(versions.map((version) => visit(port, member, version)))
    const idle = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...pair(member) })
    t.after(() => idle.destroy())
    const idleEnd = new Promise<void>((resolve) => idle.on('close', () => resolve()))
    idle.on('error', () => {})
    idle.resume()
    const followers = [
      await follow(t, port, member, '/v1/log/audit', 'h1'),
      await follow(t, port, member, '/v1/log/error', 'h2'),
    ]
    assert.deepEqual(
      followers.map(({ status }) => status),
      [200, 200],
    )
    return { member, server, sessions, idleEnd, followers }
  })
  const { member, server, sessions, idleEnd, followers, expiry } = begun

  await idleEnd
  await eventually('the followers end', () => followers.every(({ hasEnded }) => hasEnded()))
  assert.ok(Date.now() > expiry - 1000)
  await sleep(Math.max(0, expiry + 1100 - Date.now()))
  for (const [index, version] of versions.entries()) {
    const late = await visit(server.port, member, version, sessions[index])
    assert.equal(late.isReused, true)
    assert.equal(late.identity, undefined, version)
  }
  assert.match(server.stderr(), /client certificate refused: .*expired/i)
})

function pair({ key, cert }: Certificate): { key: string; cert: string } {
  return { key, cert }
}
