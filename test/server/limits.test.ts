/** What a client may ask of one server, and what becomes of those who ask for more. */

import assert from 'node:assert/strict'
import { connect as tcpConnect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'

import { eventually, IDLE_STOP, serverFiles, startServerProcess } from '../support/process.ts'
import { ask, startServer } from '../support/server.ts'
import { answerOf, openSession } from '../support/session.ts'

type Who = { readonly key: string; readonly cert: string }

test('more concurrent streams than a connection may have are all answered', async (t) => {
  const { port, admin } = await startServer(t, { config: 'keys: [ { name: a } ]' })
  const { http2 } = await openSession(t, port, admin)
  assert.equal(http2.remoteSettings.maxConcurrentStreams, 250)
  const streams = Array.from({ length: 300 }, () =>
    http2.request({ ':method': 'PUT', ':path': '/v1/key/encrypt/a' }),
  )
  const answers = streams.map(answerOf)
  for (const stream of streams) stream.write('{"plaintext":')
  await sleep(200)
  for (const stream of streams) stream.end('"SGVsbG8="}')
  for (const { status } of await Promise.all(answers)) assert.equal(status, 200)
})

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const SETTINGS = frame(0x4, 0, 0)

function frame(type: number, flags: number, stream: number, payload?: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload?.length ?? 0, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return payload === undefined ? head : Buffer.concat([head, payload])
}

/** GET, https, and literals for path and authority (RFC 7541). */
function headers(path: string): Buffer {
  const literal = (index: number, text: string): Buffer =>
    Buffer.concat([Buffer.of(index, text.length), Buffer.from(text)])
  return Buffer.concat([Buffer.of(0x82, 0x87), literal(0x04, path), literal(0x01, 'localhost')])
}

/** A TLS connection that ignores what happens to it. */
async function dial(t: TestContext, port: number, who: Who, alpn?: string): Promise<TLSSocket> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
    key: who.key,
    cert: who.cert,
  })
  t.after(() => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return socket
}

test('a client that opens and resets 1,000 streams harms nobody else', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const { port } = process
  const bystander = await openSession(t, port, files.admin)
  for (const path of ['/version', '/v1/key/describe/a', '/v1/log/audit', '/v1/status']) {
    const socket = await dial(t, port, files.admin, 'h2')
    socket.resume()
    const attack = [PREFACE, SETTINGS]
    for (let i = 0; i < 1000; i++) {
      const cancel = Buffer.alloc(4)
      cancel.writeUInt32BE(0x8)
      attack.push(frame(0x1, 0x5, 2 * i + 1, headers(path)), frame(0x3, 0, 2 * i + 1, cancel))
    }
    socket.write(Buffer.concat(attack))
    assert.equal((await ask(port, files.admin, 'GET', '/version')).status, 200)
    assert.equal((await bystander.ask('GET', '/v1/key/describe/a')).status, 200)
    socket.destroy()
  }
  for (let active = ''; !/^kes_http_request_active 0$/m.test(active); await sleep(20))
    active = (await bystander.ask('GET', '/v1/metrics')).body
  assert.doesNotMatch(process.stderr().toString(), /uncaught|bug:|^ +at /im)
  const { code, took } = await process.stop()
  assert.equal(code, 0)
  assert.ok(took < IDLE_STOP, `${took} ms`)
})

test('frames that are none harm no other connection, and do not hold the stop', async (t) => {
  const { port, admin, close } = await startServer(t)
  const bystander = await openSession(t, port, admin)
  for (const bytes of [
    Buffer.concat([PREFACE, frame(0x1, 0x5, 2, headers('/version'))]),
    Buffer.concat([PREFACE, SETTINGS, frame(0x1, 0x5, 1, Buffer.from('ffffffffff', 'hex'))]),
    Buffer.concat([PREFACE, SETTINGS, frame(0x0, 0, 7, Buffer.from('data'))]),
    Buffer.from('GET /version HTTP/1.1\r\nHost: a\r\n\r\n'),
  ]) {
    const socket = await dial(t, port, admin, 'h2')
    socket.resume()
    socket.write(bytes)
    await sleep(50)
    assert.equal((await bystander.ask('GET', '/version')).status, 200)
    assert.equal((await ask(port, admin, 'GET', '/version')).status, 200)
  }
  const begin = performance.now()
  await close()
  assert.ok(performance.now() - begin < IDLE_STOP)
})

test('200 idle connections leave room for others, and stay usable', async (t) => {
  const { port, admin } = await startServer(t)
  const idle: TLSSocket[] = []
  for (let batch = 0; batch < 10; batch++) {
    const dials = Array.from({ length: 20 }, () => dial(t, port, admin, 'http/1.1'))
    idle.push(...(await Promise.all(dials)))
  }
  assert.equal((await ask(port, admin, 'GET', '/version')).status, 200)
  const answered = idle.map(
    (socket) => new Promise<string>((resolve) => socket.once('data', (data) => resolve(`${data}`))),
  )
  for (const socket of idle) socket.write('GET /version HTTP/1.1\r\nHost: a\r\n\r\n')
  for (const answer of await Promise.all(answered)) assert.match(answer, /^HTTP\/1\.1 200 /)
})

test('a head of more than 16 KiB is refused, and the connection it came by', async (t) => {
  const { port, admin } = await startServer(t)
  const large = { 'x-large': 'x'.repeat(20_000) }
  const { status } = await ask(port, admin, 'GET', '/version', { http: 'h1', headers: large })
  assert.equal(status, 431)
  await assert.rejects(async () => {
    const answer = await ask(port, admin, 'GET', '/version', { http: 'h2', headers: large })
    assert.equal(answer.status, 431)
    throw new Error('refused with a status')
  })
  assert.equal((await ask(port, admin, 'GET', '/version')).status, 200)
})

for (const http of ['h1', 'h2'] as const) {
  test(`a body over ${http} that stops coming is answered at the deadline of its route`, async (t) => {
    const { port, admin } = await startServer(t, {
      config: 'keys: [ { name: a } ]\napi: { /v1/key/encrypt/: { timeout: 300ms } }',
    })
    const path = '/v1/key/encrypt/a'
    if (http === 'h2') {
      const { http2 } = await openSession(t, port, admin)
      const stream = http2.request({ ':method': 'PUT', ':path': path })
      stream.write('{')
      const status = await new Promise((resolve) =>
        stream.once('response', (head) => resolve(head[':status'])),
      )
      assert.equal(status, 408)
      return
    }
    const socket = await dial(t, port, admin, 'http/1.1')
    socket.write(`PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{`)
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    assert.match(answer.toString(), /^HTTP\/1\.1 408 /)
  })
}

test('whoever does not finish a head, or a handshake, is cut off', async (t) => {
  const { port, admin } = await startServer(t)
  const ended = new Map<string, boolean>()
  const watch = (what: string, socket: TLSSocket | ReturnType<typeof tcpConnect>): void => {
    ended.set(what, false)
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    socket.on('close', () => ended.set(what, true))
    socket.resume()
  }
  const silent = tcpConnect({ port, host: '127.0.0.1' })
  watch('TCP without TLS', silent)
  const hello = tcpConnect({ port, host: '127.0.0.1' })
  hello.write(Buffer.from('160301020001', 'hex'))
  watch('half a TLS hello', hello)
  watch('TLS without a request', await dial(t, port, admin, 'http/1.1'))
  const half = await dial(t, port, admin, 'http/1.1')
  watch('half a head', half)
  half.write('GET /version HTTP/1.1\r\nHost: a\r\nX-Half')
  const drip = await dial(t, port, admin, 'http/1.1')
  watch('a head byte by byte', drip)
  drip.write('GET /version HTTP/1.1\r\nHost: a\r\nX-Drip: ')
  const timer = setInterval(() => drip.write('x'), 250)
  drip.on('close', () => clearInterval(timer))
  t.after(() => clearInterval(timer))
  await eventually(`all are cut off: ${[...ended.keys()].join(', ')}`, () =>
    [...ended.values()].every((isEnded) => isEnded),
  ).catch((error: unknown) => {
    const left = [...ended].filter(([, isEnded]) => !isEnded).map(([what]) => what)
    throw new Error(`still open: ${left.join(', ')}`, { cause: error })
  })
  assert.equal((await ask(port, admin, 'GET', '/version')).status, 200)
})
