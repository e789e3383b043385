/** A server process that gets another config by SIGHUP, and other certificates by their files, while it serves. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { Agent, request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Certificate, certificate } from '../support/certificates.ts'
import {
  eventually,
  type Files,
  serverFiles,
  type ServerProcess,
  startServerProcess,
} from '../support/process.ts'
import { type Answer, ask, usualSections } from '../support/server.ts'
import { openSession } from '../support/session.ts'
import { keep, visit } from '../support/visitor.ts'

interface Scene extends Files {
  readonly process: ServerProcess
  /** Writes another config and sends the signal. */
  hangUp(config: string): void
  log(): string
}

interface ConfigOptions {
  readonly tls?: string
  readonly keys?: string
  readonly rest?: string
}

function configOf(
  files: Files,
  { tls = '', keys = 'keys', rest = '' }: ConfigOptions = {},
): string {
  return `address: 127.0.0.1:0
admin: { identity: ${files.admin.identity} }
tls: { key: server.key, cert: server.cert${tls} }
keystore: { fs: { path: ${keys} } }
${usualSections(rest)}
${rest}
`
}

function allowing(path: string, { identity }: Certificate): string {
  return `policy: { app: { allow: [ "${path}" ], identities: [ ${identity} ] } }`
}

async function scene(t: TestContext, flags: readonly string[] = []): Promise<Scene> {
  const files = await serverFiles(t)
  writeFileSync(files.config, configOf(files))
  const process = await startServerProcess(t, ['--config', 'config.yml', ...flags], {
    cwd: files.directory,
  })
  return {
    ...files,
    process,
    hangUp: (config) => {
      writeFileSync(files.config, config)
      process.kill('SIGHUP')
    },
    log: () => process.stderr().toString(),
  }
}

function serverCertificate(): Promise<Certificate> {
  return certificate({ subject: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
}

function fingerprint({ cert }: Certificate): string {
  return new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase()
}

test('SIGHUP reads the config file again, and a log line says what has changed', async (t) => {
  const it = await scene(t)
  const { port } = it.process
  const kept = await keep(t, port, it.user)
  assert.equal(await kept.ask('GET', '/v1/status'), 403)
  it.hangUp(configOf(it, { rest: allowing('/v1/status', it.user) }))
  await eventually('the reload', () =>
    /"the config was reloaded" changed=policies$/m.test(it.log()),
  )
  assert.equal(await kept.ask('GET', '/v1/status'), 200)
})

test('a config that is wrong is refused with every finding and its place, and the old one stays', async (t) => {
  const it = await scene(t)
  it.hangUp(
    configOf(it, { rest: `${allowing('/v1/status', it.user)}\ncash: {}\nlog: { error: loud }` }),
  )
  const lines = await eventually('two findings', () => {
    const found = it.log().match(/level=ERROR msg=.*refused.*/g) ?? []
    return found.length === 2 && found
  })
  assert.match(lines[0] ?? '', /config\.yml:8:1: cash: unknown field/)
  assert.match(lines[1] ?? '', /config\.yml:9:8: log\.error: write on, off/)
  assert.equal((await ask(it.process.port, it.user, 'GET', '/v1/status')).status, 403)
  assert.equal((await ask(it.process.port, it.admin, 'GET', '/v1/status')).status, 200)
  it.hangUp(configOf(it, { rest: allowing('/v1/status', it.user) }))
  await eventually('the reload', () => /the config was reloaded/.test(it.log()))
  assert.equal((await ask(it.process.port, it.user, 'GET', '/v1/status')).status, 200)
})

test('what the command line says instead of the file, it says for a reload, too', async (t) => {
  const it = await scene(t, ['--auth', 'off', '--addr', '127.0.0.1:0'])
  const config = configOf(it, { tls: ', auth: on, ca: server.cert', rest: 'log: { audit: on }' })
  it.hangUp(config.replace('127.0.0.1:0', '127.0.0.1:1'))
  await eventually('the reload', () => /the config was reloaded/.test(it.log()))
  assert.doesNotMatch(it.log(), /restart/)
  assert.equal((await ask(it.process.port, it.admin, 'GET', '/v1/status')).status, 200)
  await eventually('the audit log', () => it.process.stdout().includes('/v1/status'))
})

test('a hundred signals at once are one or two reloads, and the last config wins', async (t) => {
  const it = await scene(t)
  for (let index = 0; index < 100; index++)
    it.hangUp(configOf(it, { rest: allowing(`/v1/${index}*`, it.user) }))
  it.hangUp(configOf(it, { rest: allowing('/v1/status', it.user) }))
  await eventually('the reload', () => /the config was reloaded/.test(it.log()))
  for (let tries = 0; tries < 100; tries++) {
    if ((await ask(it.process.port, it.user, 'GET', '/v1/status')).status === 200) return
    await sleep(50)
  }
  assert.fail('the last config is not in force')
})

test('--dev takes SIGHUP for what it is', async (t) => {
  const process = await startServerProcess(t, ['--dev', '--addr', '127.0.0.1:0'])
  process.kill('SIGHUP')
  await eventually('the reload', () =>
    /"the config was reloaded" changed=nothing$/m.test(process.stderr().toString()),
  )
  assert.equal((await process.stop()).code, 0)
})

test('files of another certificate are taken without a signal', async (t) => {
  const it = await scene(t)
  const { port } = it.process
  const kept = await keep(t, port, it.admin)
  const renewed = await serverCertificate()
  writeFileSync(join(it.directory, 'server.key'), renewed.key)
  writeFileSync(join(it.directory, 'server.cert'), renewed.cert)
  await eventually('the certificate', () => /changed certificate files are in use/.test(it.log()))
  assert.equal((await visit(port, it.admin, 'TLSv1.3')).server, fingerprint(renewed))
  assert.equal(await kept.ask('GET', '/v1/status'), 200)
})

test('a Kubernetes volume with certificates and CAs is followed', async (t) => {
  const it = await serverFiles(t, { tls: 'auth: on, ca: tls/ca.crt' })
  const volume = join(it.directory, 'tls')
  const swap = (revision: string, ca: Certificate, server: Certificate): void => {
    mkdirSync(join(volume, revision), { recursive: true })
    const contents = { 'ca.crt': ca.cert, 'server.key': server.key, 'server.cert': server.cert }
    for (const [name, text] of Object.entries(contents))
      writeFileSync(join(volume, revision, name), text)
    symlinkSync(revision, join(volume, '..data_tmp'))
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
  }
  const cas = [
    await certificate({ subject: 'ca', ca: true }),
    await certificate({ subject: 'ca', ca: true }),
  ] as const
  const members = [
    await certificate({ subject: 'member', issuer: cas[0] }),
    await certificate({ subject: 'member', issuer: cas[1] }),
  ] as const
  swap('..2026_11_01', cas[0], await serverCertificate())
  for (const name of ['ca.crt', 'server.key', 'server.cert'])
    symlinkSync(join('..data', name), join(volume, name))
  const flags = ['--key', 'tls/server.key', '--cert', 'tls/server.cert']
  const process = await startServerProcess(t, ['--config', 'config.yml', ...flags], {
    cwd: it.directory,
  })
  const { port } = process
  const kept = await keep(t, port, members[0])
  assert.equal(await kept.ask('GET', '/version'), 200)
  assert.equal((await visit(port, members[1], 'TLSv1.3')).status, 'closed')
  const renewed = await serverCertificate()
  swap('..2026_11_02', cas[1], renewed)
  await eventually('the certificate', () =>
    /changed certificate files are in use/.test(process.stderr().toString()),
  )
  const visitor = await visit(port, members[1], 'TLSv1.3')
  assert.deepEqual([visitor.status, visitor.server], [200, fingerprint(renewed)])
  assert.equal((await visit(port, members[0], 'TLSv1.3')).status, 'closed')
  assert.equal(await kept.ask('GET', '/version'), 'closed')
})

const RELOADS = 200

/** Sends one request over a connection that is kept, or over a new one. */
type Client = (method: string, path: string, body?: string) => Promise<Answer>

function keepAliveClient(t: TestContext, port: number, { key, cert }: Certificate): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false, key, cert })
  t.after(() => agent.destroy())
  return (method, path, body = '') =>
    new Promise((resolve, reject) => {
      const headers = { 'content-length': String(Buffer.byteLength(body)) }
      const options = { port, host: '127.0.0.1', method, path, headers, agent }
      const request = httpsRequest(options, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        )
      })
      request.on('error', reject)
      request.end(body)
    })
}

/** Creates a key, and then seals and opens data keys. @throws what does not go as it should */
async function work(client: Client, name: string, isOver: () => boolean): Promise<number> {
  let count = 0
  const call = async (method: string, path: string, body?: string): Promise<string> => {
    const answer = await client(method, path, body)
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${answer.body}`)
    count++
    return answer.body
  }
  for (let round = 0; !isOver(); round++) {
    const key = `${name}-${round}`
    await call('PUT', `/v1/key/create/${key}`)
    for (let index = 0; index < 5; index++) {
      const { plaintext, ciphertext } = JSON.parse(
        await call('PUT', `/v1/key/generate/${key}`, '{}'),
      )
      const opened = await call('PUT', `/v1/key/decrypt/${key}`, JSON.stringify({ ciphertext }))
      assert.equal(JSON.parse(opened).plaintext, plaintext)
    }
  }
  return count
}

test(`${RELOADS} reloads of everything under load: not one request fails`, async (t) => {
  const it = await scene(t)
  const { port } = it.process
  const certificates = [await serverCertificate(), await serverCertificate()]
  const rules = '[ "/v1/key/*" ]'
  /** Each differs from the one before in every section that may differ. */
  const variant = (index: number): string => {
    const other = certificates[index % 2] ?? assert.fail()
    writeFileSync(join(it.directory, 'server.key'), other.key)
    writeFileSync(join(it.directory, 'server.cert'), other.cert)
    return configOf(it, {
      // The same directory, but another keystore as far as the server knows.
      keys: index % 2 === 0 ? './keys' : 'keys',
      rest: `policy: { p${index}: { allow: ${rules}, identities: [ ${it.user.identity} ] } }
cache: { expiry: { any: ${index + 1}s, unused: ${(index % 3) + 1}s } }
log: { audit: ${index % 2 === 0 ? 'on' : 'off'}, format: ${index % 2 === 0 ? 'json' : 'text'} }
api: { /v1/key/decrypt/: { timeout: ${15 + (index % 2)}s } }
keys: [ { name: config-${index} } ]`,
    })
  }
  const reloads = (): number => it.log().match(/the config was reloaded/g)?.length ?? 0
  it.hangUp(variant(0))
  await eventually('the first reload', () => reloads() === 1)

  let isOver = false
  const session = await openSession(t, port, it.user)
  const clients: Client[] = [
    keepAliveClient(t, port, it.user),
    session.ask,
    session.ask,
    // A connection of its own for each request.
    (method, path, body) => ask(port, it.user, method, path, body === undefined ? {} : { body }),
  ]
  const workers = Promise.all(
    clients.map((client, index) => work(client, `w${index}`, () => isOver)),
  ).finally(() => (isOver = true))
  for (let index = 1; index <= RELOADS && !isOver; index++) {
    it.hangUp(variant(index))
    await eventually(`reload ${index}`, () => isOver || reloads() === index + 1)
  }
  isOver = true
  const counts = await workers
  assert.equal(reloads(), RELOADS + 1)
  for (const count of counts) assert.ok(count > 10, `only ${count} requests`)
  assert.doesNotMatch(it.log(), /refused|level=(WARN|ERROR)|"level":"(WARN|ERROR)"/)
  const listed = await ask(port, it.admin, 'GET', '/v1/key/list/config-')
  assert.equal(JSON.parse(listed.body).names.length, RELOADS + 1)
})
