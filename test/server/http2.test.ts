import assert from 'node:assert/strict'
import { connect, type ServerHttp2Session } from 'node:http2'
import { type AddressInfo, connect as tcpConnect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect, createServer, type TLSSocket } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { serveHttp2 } from '#src/server/http2.js'
import { eventually } from '../support/process.ts'
import { people } from '../support/server.ts'

const HOUR = 3_600_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

interface Options {
  readonly idle?: number
  readonly isBusy?: () => boolean
}

/** A port that speaks HTTP/2. @param opened told of each session */
async function listen(
  t: TestContext,
  { idle = HOUR, isBusy = () => false }: Options,
  opened: (session: ServerHttp2Session) => void,
): Promise<number> {
  const { server } = await people()
  const listener = createServer({ key: server.key, cert: server.cert, ALPNProtocols: ['h2'] })
  t.after(() => listener.close())
  listener.on('secureConnection', (socket: TLSSocket) =>
    opened(serveHttp2(socket, { idle, isBusy, onStream: (stream) => stream.respond() })),
  )
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return (listener.address() as AddressInfo).port
}

/** Both ends of a connection. */
async function session(t: TestContext, options: Options = {}) {
  let opened: (session: ServerHttp2Session) => void = () => {}
  const ours = new Promise<ServerHttp2Session>((resolve) => (opened = resolve))
  const port = await listen(t, options, (session) => opened(session))
  const socket = tcpConnect({ port, host: '127.0.0.1' })
  const client = connect(`https://127.0.0.1:${port}`, {
    createConnection: () =>
      tlsConnect({ socket, ALPNProtocols: ['h2'], rejectUnauthorized: false }),
  })
  t.after(() => client.destroy())
  client.on('error', () => {})
  return { client, socket, ours: await ours }
}

for (const [how, leave] of [
  ['is reset', (socket: Socket) => socket.resetAndDestroy()],
  ['is closed', (socket: Socket) => socket.destroy()],
  ['is closed on the client’s side', (socket: Socket) => socket.end()],
] as const) {
  test(`a session ends when its connection ${how}, and with it the streams that are open`, async (t) => {
    const { client, socket, ours } = await session(t)
    let isStreamClosed = false
    ours.on('stream', (stream) => {
      stream.on('error', () => {})
      stream.on('close', () => (isStreamClosed = true))
    })
    const stream = client.request({ ':path': '/' })
    stream.on('error', () => {})
    await new Promise((resolve) => stream.on('response', resolve))
    leave(socket)
    await eventually('the session ends', () => ours.destroyed)
    await eventually('the stream ends', () => isStreamClosed)
  })
}

test('a session ends when its client says good-bye', async (t) => {
  const { client, ours } = await session(t)
  await new Promise((resolve) => client.once('remoteSettings', resolve))
  client.close()
  await eventually('the session ends', () => ours.destroyed)
  assert.equal(ours.closed, true)
})

test('a session that has ended is forgotten, long before it could have been idle for too long', async (t) => {
  const refs: WeakRef<ServerHttp2Session>[] = []
  const port = await listen(t, {}, (session) => refs.push(new WeakRef(session)))
  for (let i = 0; i < 10; i++) {
    const client = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
    await new Promise((resolve) => client.once('remoteSettings', resolve))
    client.close()
    await new Promise((resolve) => client.once('close', resolve))
  }
  assert.equal(refs.length, 10)
  await eventually('nobody holds a session', () => {
    collect()
    // The engine itself may hold the latest.
    return refs.filter((ref) => ref.deref() !== undefined).length <= 1
  })
})

test('an idle session ends, after its time', async (t) => {
  const begin = performance.now()
  const { client, ours } = await session(t, { idle: 300 })
  await eventually('the session ends', () => ours.destroyed)
  assert.ok(performance.now() - begin >= 290)
  await eventually('the client sees it', () => client.destroyed)
})

test('a busy session does not end, and one that pings is not idle', async (t) => {
  let isBusy = true
  const { ours } = await session(t, { idle: 100, isBusy: () => isBusy })
  await sleep(500)
  assert.equal(ours.destroyed, false)
  isBusy = false
  await eventually('the session ends', () => ours.destroyed)

  const pinging = await session(t, { idle: 1000 })
  const pings = setInterval(() => pinging.client.ping(() => {}), 100)
  t.after(() => clearInterval(pings))
  await sleep(2500)
  assert.equal(pinging.ours.destroyed, false)
  clearInterval(pings)
  await eventually('the session ends', () => pinging.ours.destroyed)
})
