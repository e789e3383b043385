/** The port of the RustFS KMS Admin API beside that of the KES API. */

import assert from 'node:assert/strict'
import { connect as connectHttp2 } from 'node:http2'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'

import { loadConfig } from '#src/config/load.js'
import { certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { APP, OPS, PREFIX, sendTo, sign, startRustfs } from '../support/rustfs.ts'
import { ask, startServer, IN_PROCESS } from '../support/server.ts'
import { http1, talk, talkPlainly } from '../support/wire.ts'

const PRIVATE = { address: '0.0.0.0:0' }
const KEYS = `${PREFIX}/keys`

test('without the section rustfs there is no such port', async (t) => {
  const { rustfsPort } = await startServer(t)
  assert.equal(rustfsPort, undefined)
})

test('the KES port serves nothing of RustFS, and its port nothing of KES', async (t) => {
  const server = await startRustfs(t)
  for (const path of [KEYS, '/minio/admin/v3/kms/keys']) {
    assert.equal((await ask(server.port, server.admin, 'GET', path)).status, 404)
    const signed = sign({ method: 'GET', target: path }, OPS, { door: server.port })
    const { status } = await ask(server.port, server.nobody, 'GET', path, {
      headers: signed.headers,
      http: 'h1',
    })
    assert.equal(status, 404)
  }
  assert.equal((await server.call('GET', '/../../../../v1/key/list/')).status, 404)
})

test('on a loopback address it is plain HTTP', async (t) => {
  const server = await startRustfs(t)
  const { text } = await talkPlainly(server.door, { bytes: http1('GET', KEYS) })
  assert.match(text, /^HTTP\/1\.1 401 /)
})

test('elsewhere it has the server’s certificate, asks for none, and speaks HTTP/2, too', async (t) => {
  const server = await startRustfs(t, PRIVATE)
  const { text, tls } = await talk(server.door, { bytes: http1('GET', KEYS) })
  assert.match(text, /^HTTP\/1\.1 401 /)
  assert.match(String(tls), /^TLSv1\.[23]$/)
  const plain = await talkPlainly(server.door, { bytes: http1('GET', KEYS) })
  assert.doesNotMatch(plain.text, /401/)
  const signed = sign({ method: 'GET', target: KEYS }, OPS, { door: server.door })
  const status = await new Promise((resolve, reject) => {
    const session = connectHttp2(`https://127.0.0.1:${server.door}`, { rejectUnauthorized: false })
    session.on('error', reject)
    const { host: _, ...headers } = signed.headers
    const stream = session.request({ ':method': 'GET', ':path': KEYS, ...headers })
    stream.on('response', (head) => resolve(head[':status']))
    stream.on('close', () => session.close())
    stream.resume()
  })
  assert.equal(status, 200)
})

test('a client certificate changes nothing', async (t) => {
  const server = await startRustfs(t, PRIVATE)
  const { key, cert } = server.admin
  const { text } = await talk(server.door, { bytes: http1('GET', KEYS), tls: { key, cert } })
  assert.match(text, /^HTTP\/1\.1 401 /)
})

test('every call is audited and counted as those of KES are, with the access key', async (t) => {
  const server = await startRustfs(t, { config: 'log: { audit: on }' })
  await server.call('POST', '/keys', { Tags: { name: 'k' } })
  await server.call('GET', '/keys', undefined, { as: APP })
  await server.call('GET', '/status')
  await server.call('GET', '/keys', undefined, { as: { ...APP, secret: 'another secret' } })
  const lines = await eventually('four events', () => {
    const written = server.stdout().trim().split('\n')
    return written.length === 4 && written
  })
  const events = lines.map(
    (line) => JSON.parse(line) as { request: Record<string, unknown>; response: { code: number } },
  )
  assert.deepEqual(
    events.map(({ request, response }) => [request['path'], request['identity'], response.code]),
    [
      [KEYS, 'rustfs:ops', 200],
      [KEYS, 'rustfs:app', 403],
      [`${PREFIX}/status`, 'rustfs:ops', 200],
      // Who only says that he is app is nobody.
      [KEYS, undefined, 401],
    ],
  )
  assert.equal(events[0]?.request['ip'], '127.0.0.1')
  const { body } = await ask(server.port, server.admin, 'GET', '/v1/metrics', {
    headers: { accept: 'text/plain;version=0.0.4' },
  })
  for (const operation of ['key:create', 'key:list', 'kms:status'])
    assert.match(body, new RegExp(`\\{[^}]*${operation}[^}]*\\} 1`), operation)
})

test('why somebody was refused stands in the error log, and not in the answer', async (t) => {
  const server = await startRustfs(t)
  const { body } = await server.call('GET', '/keys', undefined, { as: APP })
  assert.doesNotMatch(body, /policy|hint/)
  await eventually('the line', () =>
    /req\.identity=rustfs:app .*policy=app hint=.*\/v1\/key\/list\//.test(server.stderr()),
  )
})

test('access keys, their secrets and policies are those of the config that was loaded last', async (t) => {
  const server = await startRustfs(t)
  const status = async (as = APP): Promise<number> =>
    (await server.call('GET', '/keys', undefined, { as })).status
  assert.equal(await status(), 403)
  await server.reload({ app: 'allow: [ "/v1/key/list/*" ]' })
  assert.equal(await status(), 200)
  const config = server.stderr()
  assert.doesNotMatch(config, new RegExp(APP.secret))
})

test(
  'a config without the section closes the door to everybody; another address needs a restart',
  { skip: IN_PROCESS },
  async (t) => {
    const server = await startRustfs(t)
    assert.equal((await server.call('GET', '/keys')).status, 200)
    await server.reload({ address: '127.0.0.1:1' })
    assert.equal((await server.call('GET', '/keys')).status, 200)
    assert.match(server.stderr(), /rustfs: a change needs a restart/)
    const plain = loadConfigWithoutRustfs(server.directory, server.admin.identity)
    await server.instance.reload(() => plain)
    assert.equal((await server.call('GET', '/keys')).status, 401)
  },
)

function loadConfigWithoutRustfs(directory: string, admin: string) {
  return loadConfig(
    `
address: 127.0.0.1:0
admin: { identity: ${admin} }
tls: { key: ${directory}/server.key, cert: ${directory}/server.cert }
keystore: { memory: {} }`,
    `${directory}/config.yml`,
  )
}

test('a reload brings new certificates to this port, too', async (t) => {
  const server = await startRustfs(t, PRIVATE)
  const shown = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ port: server.door, host: '127.0.0.1', rejectUnauthorized: false })
      socket.on('secureConnect', () => {
        resolve(socket.getPeerCertificate().subject?.CN)
        socket.destroy()
      })
      socket.on('error', reject)
    })
  assert.equal(await shown(), 'localhost')
  const other = await certificate({ subject: 'renewed', dns: ['localhost'], ip: ['127.0.0.1'] })
  await server.reload({ certificate: other })
  assert.equal(await shown(), 'renewed')
})

test(
  'a port that is taken ends the start, and leaves nothing open',
  { skip: IN_PROCESS },
  async (t) => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    t.after(() => taken.close())
    const { port } = taken.address() as { port: number }
    await assert.rejects(startRustfs(t, { address: `127.0.0.1:${port}` }), { code: 'EADDRINUSE' })
  },
)

test('a stop answers what runs, ends idle connections, and begins nothing', async (t) => {
  for (const options of [{}, PRIVATE]) {
    const server = await startRustfs(t, options)
    const speak = server.isPrivate ? talk : talkPlainly
    const idle = speak(server.door, { bytes: '', wait: 10_000 })
    assert.equal((await server.call('GET', '/keys')).status, 200)
    await server.close()
    assert.equal((await idle).closed, true)
    const signed = sign({ method: 'GET', target: KEYS }, OPS, { door: server.door })
    await assert.rejects(sendTo(server, signed), { code: 'ECONNREFUSED' })
  }
})

test('a stop does not wait for a handshake that does not come', async (t) => {
  const server = await startRustfs(t, PRIVATE)
  const silent = talkPlainly(server.door, { bytes: '', wait: 30_000 })
  // The first bytes of a handshake, so that it has begun for sure.
  const begun = talkPlainly(server.door, { bytes: Buffer.from([0x16, 3, 1, 2, 0]), wait: 30_000 })
  assert.equal((await server.call('GET', '/keys')).status, 200)
  await server.close()
  assert.deepEqual([(await silent).closed, (await begun).closed], [true, true])
})
