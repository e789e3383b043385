import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { AnswerHead } from '#src/wire/answer.js'
import type { Serve } from '#src/wire/request.js'
import { speak } from '#src/wire/serve.js'
import type { Owner } from '../support/server.ts'

const HEAD = new AnswerHead({ status: 200, headers: {}, repeats: true })

/** A server without TLS, and a client's connection to it. @param before done with the server's side of it, before HTTP is spoken */
async function open(
  t: Owner,
  serve: Serve,
  before: (socket: Socket) => Promise<void> = async () => {},
): Promise<{ client: Socket; server: Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true })
  const spoken = new Promise<Socket>((resolve) => {
    server.on('connection', (socket) => {
      socket.on('error', () => {})
      void before(socket).then(() => {
        speak(socket, serve)
        resolve(socket)
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.after(() => {
    client.destroy()
    server.close()
  })
  return { client, server: spoken }
}

/** Answers what was asked for. */
const echo: Serve = (stream) => stream.respond(HEAD, stream.head.target, false)

function requests(from: number, to: number): string {
  return Array.from(
    { length: to - from },
    (_, i) => `GET /${from + i} HTTP/1.1\r\nHost: h\r\n\r\n`,
  ).join('')
}

/** The bodies of so many answers. */
async function bodies(client: Socket, count: number): Promise<string[]> {
  let text = ''
  for await (const chunk of client) {
    text += String(chunk)
    if (text.split('HTTP/1.1 200').length > count && text.endsWith(`/${count - 1}`)) break
  }
  return [...text.matchAll(/\r\n\r\n(\/\d+)/g)].map(([, body]) => body ?? '')
}

function expected(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `/${i}`)
}

test('what came before anybody spoke HTTP is read first', async (t) => {
  const { client } = await open(t, echo, async (socket) => {
    // As long as nobody reads, the stream keeps it.
    while (socket.readableLength === 0) {
      socket.read(0)
      await sleep(1)
    }
  })
  client.write(requests(0, 3))
  const rest = sleep(50).then(() => client.write(requests(3, 6)))
  assert.deepEqual(await bodies(client, 6), expected(6))
  await rest
})

test('a client that reads late gets all its answers, in the order of its requests', async (t) => {
  const count = 1500
  const serve: Serve = (stream) =>
    stream.respond(HEAD, 'x'.repeat(20_000) + stream.head.target, false)
  const { client, server } = await open(t, serve)
  client.pause()
  let wasPaused = false
  for (let at = 0; at < count; at += 100) {
    client.write(requests(at, at + 100))
    await sleep(1)
    wasPaused ||= (await server).isPaused()
  }
  assert.ok(wasPaused)
  const text: string[] = []
  for await (const chunk of client) {
    text.push(String(chunk))
    if (text.at(-1)?.endsWith(`/${count - 1}`) === true) break
  }
  const targets = [...text.join('').matchAll(/x(\/\d+)(?=HTTP|$)/g)].map(
    ([, target]) => target ?? '',
  )
  assert.deepEqual(targets, expected(count))
})

test('the end of what a client says is seen behind its last byte', async (t) => {
  const { client } = await open(t, echo)
  client.end(requests(0, 4))
  assert.deepEqual(await bodies(client, 4), expected(4))
})

/** Milliseconds; a server that waits for the client to follow waits for longer. */
const AT_ONCE = 600

/** How many bytes came until the server had said all, and how long it then waited for the client, which says nothing. */
async function waitedFor(
  client: Socket,
  server: Socket,
): Promise<{ length: number; time: number }> {
  let length = 0
  client.on('data', (chunk: Buffer) => (length += chunk.length))
  const ended = once(client, 'end').then(() => performance.now())
  const closed = once(server, 'close').then(() => performance.now())
  return { time: (await closed) - (await ended), length }
}

test('a connection whose client has said that it is the last request is not waited for, and its answer is whole', async (t) => {
  const size = 8_000_000
  const serve: Serve = (stream) => stream.respond(HEAD, Buffer.alloc(size, 'x'), false)
  const { client, server } = await open(t, serve)
  const lasted = waitedFor(client, await server)
  client.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')
  const { length, time } = await lasted
  assert.ok(length > size)
  assert.ok(time < AT_ONCE, String(time))
})

test('a connection whose client says more than it has announced is waited for, so that nothing of the answer is lost', async (t) => {
  const serve: Serve = (stream) => stream.respond(HEAD, 'x', false)
  const { client, server } = await open(t, serve)
  const lasted = waitedFor(client, await server)
  client.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET')
  const { time } = await lasted
  assert.ok(time >= AT_ONCE, String(time))
})

test('bytes that come in another way than from the socket are read as well', async (t) => {
  const { client, server } = await open(t, echo)
  const socket = await server
  socket.emit('data', Buffer.from(requests(0, 1)))
  assert.deepEqual(await bodies(client, 1), expected(1))
})
