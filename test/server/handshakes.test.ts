/** How TLS begins and fails: what is no TLS, what was changed on its way, who goes away, and what a reload changes. */

import assert from 'node:assert/strict'
import { type AddressInfo, connect as tcpConnect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'

import { certificate } from '../support/certificates.ts'
import { eventually, IDLE_STOP, serverFiles, startServerProcess } from '../support/process.ts'
import { ask, startServer } from '../support/server.ts'
import { visit } from '../support/visitor.ts'
import { http1, talkPlainly } from '../support/wire.ts'

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
/** A record that says it is a ClientHello of 512 bytes, and begins one. */
const HALF_HELLO = Buffer.from('16030102000100', 'hex')

/** Passes bytes on to a port; the client's next chunk, once it is asked for, with its last bit turned. */
async function startMeddler(
  t: TestContext,
  target: number,
): Promise<{ port: number; meddle(): void }> {
  let isMeddling = false
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const onward = tcpConnect({ port: target, host: '127.0.0.1' })
    for (const [from, to] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
    onward.on('data', (chunk) => client.write(chunk))
    client.on('data', (chunk) => {
      if (isMeddling) chunk.writeUInt8(chunk.readUInt8(chunk.length - 1) ^ 1, chunk.length - 1)
      isMeddling = false
      onward.write(chunk)
    })
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    meddle: () => {
      isMeddling = true
    },
  }
}

for (const version of VERSIONS) {
  test(`a record that was changed on its way ends a ${version} connection, unanswered, and no other`, async (t) => {
    const server = await startServer(t)
    const meddler = await startMeddler(t, server.port)
    const { key, cert } = server.admin
    const range = { minVersion: version, maxVersion: version }
    const socket = connect({
      port: meddler.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      key,
      cert,
      ...range,
    })
    t.after(() => socket.destroy())
    let text = ''
    let isOver = false
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', () => {})
    socket.on('close', () => (isOver = true))
    const status = http1('GET', '/v1/status', [])
    socket.on('secureConnect', () => socket.write(status))
    await eventually('the first answer', () => text.includes('"version"'))
    text = ''
    meddler.meddle()
    socket.write(status)
    await eventually('the end', () => isOver)
    assert.equal(text, '')
    assert.equal((await ask(server.port, server.admin, 'GET', '/v1/status')).status, 200)
  })
}

test('what is no TLS, half of it, or gone before its end, harms nobody and is not waited for', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  const server = await startServerProcess(t, ['--config', files.config])
  const { port } = server
  const noise = [
    Buffer.from('SSH-2.0-OpenSSH_9.6\r\n'),
    Buffer.alloc(4096, 0xff),
    // An alert and application data where a handshake should begin.
    Buffer.from('15030300020228', 'hex'),
    Buffer.from('1703030005aabbccddee', 'hex'),
    // A ClientHello that says that it is longer than a record may be.
    Buffer.from('160301ffff01', 'hex'),
  ]
  for (const bytes of noise) {
    const { closed } = await talkPlainly(port, { bytes })
    assert.ok(closed, bytes.toString('hex', 0, 8))
  }
  for (let i = 0; i < 300; i++) {
    const socket = tcpConnect({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    if (i % 3 > 0) socket.write(HALF_HELLO)
    if (i % 2 > 0) socket.resetAndDestroy()
    else socket.destroy()
  }
  const silent = talkPlainly(port, { bytes: HALF_HELLO, wait: 30_000 })
  assert.equal(
    (await ask(port, files.admin, 'PUT', '/v1/key/generate/a', { body: '{}' })).status,
    200,
  )
  assert.doesNotMatch(server.stderr().toString(), /uncaught|bug:|^ +at /im)
  const { code, took } = await server.stop()
  assert.equal(code, 0)
  assert.ok(took < IDLE_STOP, `${took} ms`)
  assert.equal((await silent).closed, true)
})

test('verification may be switched on and off again and again, and sessions are resumed each time', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const server = await startServer(t, { tls: 'auth: off', ca: ca.cert })
  for (const mode of ['off', 'on', 'off', 'on'] as const) {
    await server.reload({ tls: `auth: ${mode}` })
    for (const version of VERSIONS) {
      const first = await visit(server.port, member, version)
      assert.equal(first.status, 200, `${mode} ${version}`)
      assert.equal(first.isReused, false)
      assert.equal((await visit(server.port, member, version, first)).isReused, true)
      const stranger = await visit(server.port, server.nobody, version)
      assert.equal(stranger.status, mode === 'on' ? 'closed' : 200, `${mode} ${version}`)
    }
  }
})
