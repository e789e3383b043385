/** A real nginx in front of a real server: the configuration of docs/proxy.md, word for word but for paths and addresses. */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'

import { certificateOf } from '#src/crypto/certificate.js'
import { ApiKey } from '#src/crypto/identity.js'
import { type Certificate, certificate } from '../support/certificates.ts'
import {
  eventually,
  type FilesOptions,
  serverFiles,
  type ServerProcess,
  startServerProcess,
} from '../support/process.ts'
import { freePorts, Program } from '../support/program.ts'
import { ask, people, tempDir } from '../support/server.ts'
import { follow, openSession } from '../support/session.ts'
import { findTool, without } from '../support/tools.ts'

const HOUR = 3_600_000
const SELF = '/v1/identity/self/describe'
const PROTOCOLS = ['h1', 'h2'] as const
const skip = { skip: without('nginx') }

const [, DOCUMENTED = ''] = /```nginx\n(.*?)```/s.exec(readFileSync('docs/proxy.md', 'utf8')) ?? []

interface Stage {
  readonly ca: Certificate
  readonly proxy: Certificate
  /** Issued by the CA, with a policy for keys that begin with `user-`, and for the logs. */
  readonly member: Certificate
  readonly admin: Certificate
  readonly server: ServerProcess
  /** Of nginx. */
  readonly port: number
}

interface StageOptions {
  readonly auth?: 'on' | 'off'
  /** `tls.proxy.admin` */
  readonly admin?: 'on' | 'off'
  /** Who nginx is; the proxy of the server's config by default. */
  readonly nginx?: Certificate
  readonly verifyClient?: 'on' | 'optional_no_ca'
  /** A CA that nginx trusts and the server does not. */
  readonly otherCa?: Certificate
}

async function stage(t: TestContext, options: StageOptions = {}): Promise<Stage> {
  const { auth = 'on', admin: comesThrough = 'off', verifyClient = 'on' } = options
  const ca = await certificate({ subject: 'ca', ca: true })
  const proxy = await certificate({ subject: 'proxy', issuer: ca })
  const member = await certificate({ subject: 'member', issuer: ca })
  const { server: serverCertificate, admin } = await people()
  const trusted = ca.cert + admin.cert
  const server = await startServer(t, trusted, {
    tls: `auth: ${auth}, ca: ca.pem, proxy: { identities: [ ${proxy.identity} ], admin: ${comesThrough} }`,
    config: `log: { audit: on }
policy:
  user:
    allow: [ /v1/key/create/user-*, /v1/key/encrypt/user-*, /v1/key/decrypt/user-*, /v1/log/* ]
    identities: [ ${member.identity} ]`,
  })
  const port = await startNginx(t, {
    public: await certificate({ subject: 'public', dns: ['localhost'] }),
    proxy: options.nginx ?? proxy,
    clientsCa: trusted + (options.otherCa?.cert ?? ''),
    serverCa: serverCertificate.cert,
    serverPort: server.port,
    verifyClient,
  })
  return { ca, proxy, member, admin, server, port }
}

async function startServer(
  t: TestContext,
  trusted: string,
  options: FilesOptions,
): Promise<ServerProcess> {
  const files = await serverFiles(t, options)
  writeFileSync(join(files.directory, 'ca.pem'), trusted)
  return startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
}

interface Nginx {
  readonly public: Certificate
  readonly proxy: Certificate
  /** PEM. */
  readonly clientsCa: string
  readonly serverCa: string
  readonly serverPort: number
  readonly verifyClient: 'on' | 'optional_no_ca'
}

/** As the current user, in a directory of its own. @returns its port */
async function startNginx(t: TestContext, options: Nginx): Promise<number> {
  const directory = tempDir(t)
  const [port = 0] = await freePorts(1)
  const files = {
    'public.crt': options.public.cert,
    'public.key': options.public.key,
    'proxy.crt': options.proxy.cert,
    'proxy.key': options.proxy.key,
    'clients-ca.crt': options.clientsCa,
    'kes-ca.crt': options.serverCa,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  const places: readonly (readonly [RegExp, string])[] = [
    [/\/etc\/nginx\/kes/g, directory],
    [/listen 443/, `listen 127.0.0.1:${port}`],
    [/kes-1\.example\.com:7373/, `127.0.0.1:${options.serverPort}`],
    [/kes\.example\.com/, 'localhost'],
    [/ssl_verify_client +on;/, `ssl_verify_client ${options.verifyClient};`],
  ]
  let site = DOCUMENTED
  for (const [place, here] of places) {
    assert.match(site, place)
    site = site.replace(place, here)
  }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {}
http {
access_log off;
${temporary.map((what) => `${what}_temp_path ${what};`).join('\n')}
${site}
}
`,
  )
  const arguments_ = ['-e', 'stderr', '-p', directory, '-c', join(directory, 'nginx.conf')]
  const nginx = new Program(t, findTool('nginx') ?? '', arguments_)
  await nginx.ready(
    () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
          socket.destroy()
          resolve()
        })
        socket.on('error', reject)
      }),
  )
  return port
}

interface Audited {
  readonly path: string
  readonly identity?: string
  readonly proxy?: string
}

/** The requests in the audit log, once there are so many. */
async function audited({ server }: Stage, count: number): Promise<readonly Audited[]> {
  return eventually(`${count} audit events`, () => {
    const lines = server.stdout().toString().trimEnd().split('\n')
    return lines.length === count && lines.map((line) => JSON.parse(line).request as Audited)
  })
}

test(
  'a user’s calls through nginx work, with his policy, and are audited as his',
  skip,
  async (t) => {
    const at = await stage(t)
    const plaintext = Buffer.alloc(750_000, 'x').toString('base64')
    for (const http of PROTOCOLS) {
      const call = (method: string, path: string, fields?: object) =>
        ask(at.port, at.member, method, path, {
          http,
          ...(fields && { body: JSON.stringify(fields) }),
        })
      const self = JSON.parse((await call('GET', SELF)).body)
      assert.deepEqual([self.identity, self.policy], [at.member.identity, 'user'])
      assert.equal((await call('PUT', `/v1/key/create/user-${http}`)).status, 200)
      const sealed = await call('PUT', `/v1/key/encrypt/user-${http}`, { plaintext })
      assert.equal(sealed.status, 200)
      const { ciphertext } = JSON.parse(sealed.body)
      const opened = await call('PUT', `/v1/key/decrypt/user-${http}`, { ciphertext })
      assert.equal(JSON.parse(opened.body).plaintext, plaintext)
      const refused = await call('PUT', `/v1/key/create/other-${http}`)
      assert.equal(refused.status, 403)
      assert.equal(JSON.parse(refused.body).identity, at.member.identity)
    }
    for (const { identity, proxy } of await audited(at, 10)) {
      assert.equal(identity, at.member.identity)
      assert.equal(proxy, at.proxy.identity)
    }
  },
)

test('users who share nginx’s connections to the server are told apart', skip, async (t) => {
  const at = await stage(t)
  const users = await Promise.all(
    ['a', 'b', 'c', 'd'].map((subject) => certificate({ subject, issuer: at.ca })),
  )
  const sessions = await Promise.all(users.map((user) => openSession(t, at.port, user)))
  for (let round = 0; round < 25; round++) {
    const answers = await Promise.all(sessions.map((session) => session.ask('GET', SELF)))
    assert.deepEqual(
      answers.map(({ body }) => JSON.parse(body).identity),
      users.map(({ identity }) => identity),
    )
  }
})

test(
  'nginx that verifies lets nobody through without a good certificate of its CA',
  skip,
  async (t) => {
    const at = await stage(t)
    const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
    for (const who of [
      undefined,
      await certificate({ subject: 'stranger' }),
      await certificate({ subject: 'old', issuer: at.ca, ...dates }),
      await certificate({ subject: 'server', issuer: at.ca, usages: ['serverAuth'] }),
    ])
      for (const http of PROTOCOLS) {
        const answer = await ask(at.port, who, 'GET', SELF, { http })
        assert.equal(answer.status, 400)
        assert.match(answer.body, /nginx/)
      }
    assert.equal(at.server.stdout().length, 0)
  },
)

test('what nginx lets through is verified by the server all the same', skip, async (t) => {
  const otherCa = await certificate({ subject: 'other-ca', ca: true })
  const other = await certificate({ subject: 'other', issuer: otherCa })
  const stranger = await certificate({ subject: 'stranger' })
  for (const [who, options] of [
    [other, { otherCa }],
    [stranger, { verifyClient: 'optional_no_ca' }],
  ] as const) {
    const at = await stage(t, options)
    for (const http of PROTOCOLS) {
      const answer = await ask(at.port, who, 'GET', SELF, { http })
      assert.equal(answer.status, 400)
      assert.match(JSON.parse(answer.body).message, /no CA of tls\.ca has issued the certificate$/)
      assert.equal((await ask(at.port, at.member, 'GET', SELF, { http })).status, 200)
    }
    const events = await audited(at, 4)
    assert.deepEqual(
      events.map(({ identity }) => identity),
      [who.identity, at.member.identity, who.identity, at.member.identity],
    )
  }
})

test('without verification an API key works through nginx', skip, async (t) => {
  const at = await stage(t, { auth: 'off', verifyClient: 'optional_no_ca' })
  const apiKey = ApiKey.generate()
  const { privateKey: key, certificate: cert } = await certificateOf(apiKey)
  for (const http of PROTOCOLS) {
    const self = await ask(at.port, { key, cert }, 'GET', SELF, { http })
    assert.equal(JSON.parse(self.body).identity, apiKey.identity)
  }
})

test('the admin is refused through nginx, and served directly', skip, async (t) => {
  const at = await stage(t)
  for (const http of PROTOCOLS) {
    const answer = await ask(at.port, at.admin, 'GET', '/v1/status', { http })
    assert.equal(answer.status, 403)
    assert.match(JSON.parse(answer.body).hint, /may not come through a TLS proxy/)
    assert.equal((await ask(at.server.port, at.admin, 'GET', '/v1/status', { http })).status, 200)
  }
})

test('the admin comes through nginx with tls.proxy.admin: on', skip, async (t) => {
  const at = await stage(t, { admin: 'on' })
  for (const http of PROTOCOLS)
    assert.equal((await ask(at.port, at.admin, 'GET', '/v1/status', { http })).status, 200)
})

test(
  'who sends the header himself, through nginx or directly, stays who he is',
  skip,
  async (t) => {
    const at = await stage(t, { admin: 'on' })
    const other = await certificate({ subject: 'other', issuer: at.ca })
    for (const port of [at.port, at.server.port])
      for (const http of PROTOCOLS)
        for (const name of ['x-tls-client-cert', 'X-Tls-Client-Cert', 'X_Tls_Client_Cert'])
          for (const { cert } of [at.admin, at.member, at.proxy]) {
            const headers = { [name]: encodeURIComponent(cert) }
            const self = JSON.parse((await ask(port, other, 'GET', SELF, { http, headers })).body)
            assert.deepEqual([self.identity, self.admin], [other.identity, false])
            assert.equal(
              (await ask(port, other, 'GET', '/v1/status', { http, headers })).status,
              403,
            )
          }
  },
)

test('who shows no certificate has none by sending the header through nginx', skip, async (t) => {
  const at = await stage(t, { verifyClient: 'optional_no_ca' })
  for (const http of PROTOCOLS) {
    const headers = { 'x-tls-client-cert': encodeURIComponent(at.member.cert) }
    const answer = await ask(at.port, undefined, 'GET', SELF, { http, headers })
    assert.equal(answer.status, 400)
    assert.equal(JSON.parse(answer.body).message, 'tls: client certificate is required')
  }
})

test('logs that are followed through nginx arrive as they happen', skip, async (t) => {
  const at = await stage(t)
  for (const http of PROTOCOLS) {
    let isFollowing = false
    // Over HTTP/2 nginx sends the head of an answer with its first byte, so something must happen first.
    const following = follow(t, at.port, at.member, '/v1/log/audit', http)
    void following.then(() => (isFollowing = true))
    let made = 0
    while (!isFollowing) {
      await ask(at.port, at.member, 'PUT', `/v1/key/create/user-${http}-${made++}`)
      assert.ok(made < 500)
    }
    const log = await following
    const path = `/v1/key/create/user-${http}-last`
    await ask(at.port, at.member, 'PUT', path)
    const events = await eventually('the last event comes', () => {
      const requests = log.lines.map((line) => JSON.parse(line).request as Audited)
      return requests.at(-1)?.path === path && requests
    })
    for (const { identity, proxy } of events) {
      assert.equal(identity, at.member.identity)
      assert.equal(proxy, at.proxy.identity)
    }
  }
})

test(
  'nginx that the config does not name is nobody but itself, and the log says so',
  skip,
  async (t) => {
    const issuer = await certificate({ subject: 'other-ca', ca: true })
    const nginx = await certificate({ subject: 'nginx', issuer })
    const at = await stage(t, { nginx, auth: 'off' })
    const answer = await ask(at.port, at.member, 'PUT', '/v1/key/create/user-key')
    assert.equal(answer.status, 403)
    assert.equal(JSON.parse(answer.body).identity, nginx.identity)
    await eventually('a line in the log', () =>
      /x-tls-client-cert is ignored/.test(at.server.stderr().toString()),
    )
  },
)
