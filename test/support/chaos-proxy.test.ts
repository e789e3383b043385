import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ChaosProxy, movingName } from './chaos-proxy.ts'
import { eventually } from './process.ts'

/** A server that answers each chunk with `word` and the chunk. */
async function echo(t: TestContext, word = ''): Promise<{ port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => socket.write(word + chunk.toString()))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { port: (server.address() as AddressInfo).port }
}

async function client(t: TestContext, port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect(port, host)
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function say(socket: Socket, text: string): Promise<string> {
  socket.write(text)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  return chunk.toString()
}

test('it passes bytes and the end of a connection', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t))
  const socket = await client(t, proxy.port)
  assert.equal(await say(socket, 'hello'), 'hello')
  assert.equal(proxy.connections, 1)
  socket.end()
  await once(socket, 'close')
  await eventually('both sides are closed', () => proxy.connections === 0)
})

test('while it hangs nothing comes through; afterwards all of it, in order', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t))
  const socket = await client(t, proxy.port)
  await proxy.become('hang')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write('one ')
  await sleep(30)
  socket.write('two')
  await sleep(30)
  assert.equal(text, '')
  await proxy.become('pass')
  await eventually('all bytes', () => text === 'one two')
})

test('while it is mute the server hears, and is not heard', async (t) => {
  const heard: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      heard.push(chunk.toString())
      socket.write('yes')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const proxy = await ChaosProxy.start(t, server.address() as AddressInfo)
  const socket = await client(t, proxy.port)
  await proxy.become('mute')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write('hello')
  await eventually('it hears', () => heard.join('') === 'hello' && proxy.held === 1)
  assert.equal(text, '')
  await proxy.become('pass')
  await eventually('it is heard', () => text === 'yes')
})

test('a delay holds bytes back, each way', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t))
  const socket = await client(t, proxy.port)
  await proxy.become({ delay: 40 })
  const start = performance.now()
  assert.equal(await say(socket, 'hello'), 'hello')
  assert.ok(performance.now() - start >= 78)
})

test('reset cuts open connections and new ones', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t))
  const socket = await client(t, proxy.port)
  assert.equal(await say(socket, 'hello'), 'hello')
  void proxy.become('reset')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  const next = connect(proxy.port, '127.0.0.1')
  const [again] = (await once(next, 'error')) as [NodeJS.ErrnoException]
  assert.equal(again.code, 'ECONNRESET')
})

test('while it refuses nobody listens; afterwards it has the same port', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t))
  await proxy.become('refuse')
  const refused = connect(proxy.port, '127.0.0.1')
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
  await proxy.become('pass')
  assert.equal(await say(await client(t, proxy.port), 'hello'), 'hello')
})

test('a server that is down is a connection that is cut', async (t) => {
  const proxy = await ChaosProxy.start(t, { port: 1 })
  const socket = connect(proxy.port, '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('new connections go to a new target', async (t) => {
  const proxy = await ChaosProxy.start(t, await echo(t, 'a: '))
  assert.equal(await say(await client(t, proxy.port), 'x'), 'a: x')
  proxy.target = await echo(t, 'b: ')
  assert.equal(await say(await client(t, proxy.port), 'x'), 'b: x')
})

test('a name can move to another address', async (t) => {
  const first = await ChaosProxy.start(t, await echo(t, 'a: '))
  const { port } = first
  await ChaosProxy.start(t, await echo(t, 'b: '), { host: '127.0.0.2', port })
  const name = movingName(t, 'store.test', '127.0.0.1')
  assert.equal(await say(await client(t, port, name.name), 'x'), 'a: x')
  name.address = '127.0.0.2'
  assert.equal(await say(await client(t, port, name.name), 'x'), 'b: x')
  await assert.rejects(client(t, port, 'nobody.invalid'))
})
