/** The log streams, followed by the client. */

import assert from 'node:assert/strict'
import type { ServerHttp2Stream } from 'node:http2'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  AnswerError,
  ConnectionError,
  type KesClient,
  KesClientError,
  type KesClientOptions,
  NotAllowedError,
  ServerError,
} from '#src/client/index.js'
import { adminClient, thrownBy } from '../support/client.ts'
import { deadPort, http1Peer, http2Peer, type Peer, relay } from '../support/peers.ts'
import { eventually, serverFiles, startServerProcess } from '../support/process.ts'
import { startServer } from '../support/server.ts'

function clientOf(
  t: TestContext,
  { port }: Pick<Peer, 'port'>,
  options: Partial<KesClientOptions> = {},
): Promise<KesClient> {
  return adminClient(t, `localhost:${port}`, options)
}

type ErrorClass = abstract new (...options: never[]) => Error

const EVENT = { time: '2026-01-02T03:04:05.678Z', request: { path: '/version' }, response: {} }
const LINE = `${JSON.stringify({ message: 'm' })}\n`

for (const http of ['h2', 'h1'] as const) {
  test(`audit events come as they happen, over ${http}`, async (t) => {
    const server = await startServer(t)
    const client = await clientOf(t, server, { http })
    await using log = await client.auditLog()
    const begin = Date.now()
    await client.createKey('a')
    await thrownBy(client.describeKey('gone'))
    const [first, second] = [(await log.next()).value, (await log.next()).value]
    assert.ok(first && second)
    assert.deepEqual(
      [first.path, first.status, first.identity, first.ip],
      ['/v1/key/create/a', 200, server.admin.identity, '127.0.0.1'],
    )
    assert.ok(first.time instanceof Date && Math.abs(first.time.getTime() - begin) < 60_000)
    assert.ok(Number.isInteger(first.took) && first.took > 1000)
    assert.equal(JSON.parse(first.line).request.path, first.path)
    assert.deepEqual([second.path, second.status], ['/v1/key/describe/gone', 404])
  })

  test(`error events come as they happen, over ${http}`, async (t) => {
    const server = await startServer(t)
    const client = await clientOf(t, server, { http })
    const log = await client.errorLog()
    await thrownBy(client.describeKey('gone'))
    for await (const event of log) {
      assert.match(event.message, /key does not exist/)
      assert.deepEqual(JSON.parse(event.line), { message: event.message })
      break
    }
    assert.deepEqual(await log.next(), { value: undefined, done: true })
  })

  test(`a log ends without an error when the server stops, over ${http}`, async (t) => {
    const server = await startServer(t)
    const log = await (await clientOf(t, server, { http })).auditLog()
    const rest = log.next()
    await server.close()
    assert.deepEqual(await rest, { value: undefined, done: true })
  })

  test(`a log whose connection breaks ends with an error, over ${http}`, async (t) => {
    const server = await startServer(t)
    const cable = await relay(t, server.port)
    const log = await (await clientOf(t, cable, { http })).auditLog()
    const rest = thrownBy(log.next())
    cable.cut()
    const error = await rest
    assert.ok(error instanceof ConnectionError && error.reason === 'closed', String(error))
  })

  test(`who may not follow a log is told so at once, over ${http}`, async (t) => {
    const server = await startServer(t)
    const { nobody } = server
    const client = await clientOf(t, server, { http, cert: nobody.cert, key: nobody.key })
    for (const reconnect of [false, true]) {
      const error = await thrownBy(client.auditLog({ reconnect }))
      assert.ok(error instanceof NotAllowedError && error.api === '/v1/log/audit')
    }
  })

  test(`a log is ended by its signal, by close, by leaving the loop and by the client, over ${http}`, async (t) => {
    const server = await startServer(t)
    const client = await clientOf(t, server, { http })
    const controller = new AbortController()
    const [byabort, byClose, byClient] = [
      await client.errorLog({ signal: controller.signal }),
      await client.errorLog(),
      await client.errorLog(),
    ]
    const [aborted, ended, left] = [
      thrownBy(byabort.next()),
      byClose.next(),
      thrownBy(byClient.next()),
    ]
    controller.abort(new Error('enough'))
    assert.match(String(await aborted), /enough/)
    await byClose.close()
    assert.deepEqual(await ended, { value: undefined, done: true })
    // One that was never read from.
    const unread = await client.errorLog()
    await unread.close()
    const other = await client.errorLog()
    await client.close()
    assert.equal(((await left) as KesClientError).code, 'CLOSED')
    assert.equal(((await thrownBy(other.next())) as KesClientError).code, 'CLOSED')
    await eventually(
      'nobody follows',
      () => !process.getActiveResourcesInfo().includes('TCPSocketWrap'),
    )
  })
}

/** Each connection of a log is answered by the next of these. */
async function scripted(
  t: TestContext,
  ...answers: ((stream: ServerHttp2Stream) => void)[]
): Promise<Peer> {
  return http2Peer(t, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/x-ndjson' })
    answers.shift()?.(stream)
  })
}

test('with reconnect, a log goes on when the server ends it, cuts it or is away', async (t) => {
  const peer = await scripted(
    t,
    (stream) => stream.end(LINE),
    (stream) => {
      stream.write(LINE)
      setTimeout(() => stream.close(8), 20)
    },
    (stream) => {
      stream.write(LINE)
      setTimeout(() => stream.session?.destroy(), 20)
    },
    (stream) => stream.write(LINE),
  )
  const lost: KesClientError[] = []
  const client = await clientOf(t, peer)
  const log = await client.errorLog({ reconnect: (error) => lost.push(error) })
  let events = 0
  for await (const { message } of log) {
    assert.equal(message, 'm')
    if (++events === 4) break
  }
  assert.equal(lost.length, 3)
  for (const error of lost) assert.ok(error instanceof ConnectionError)
})

test('with reconnect, a log survives a server that is away for longer than any retries', async (t) => {
  const port = await deadPort(t)
  const first = await startServer(t, { port })
  const client = await clientOf(t, { port }, { retries: 0 })
  const lost: KesClientError[] = []
  const log = await client.auditLog({ reconnect: (error) => lost.push(error) })
  const next = log.next()
  await first.close()
  await eventually('it is noticed', () => lost.length === 1)
  await sleep(300)
  await startServer(t, { port })
  let events = 0
  void next.then(() => events++)
  // The log is open again some time after the server is back; calls before that are not seen.
  for (let i = 0; i < 1000 && events === 0; i++) {
    await client.version().catch(() => {})
    await sleep(20)
  }
  assert.equal((await next).value?.path, '/version')
  await log.close()
})

test('with reconnect, a log ends when the server refuses it, or its signal ends', async (t) => {
  let count = 0
  const peer = await http2Peer(t, (stream) => {
    if (++count === 1) {
      stream.respond({ ':status': 200 })
      stream.end(LINE)
    } else {
      stream.respond({ ':status': 403 })
      stream.end('{"message":"not authorized: insufficient permissions"}')
    }
  })
  const log = await (await clientOf(t, peer)).errorLog({ reconnect: true })
  assert.equal((await log.next()).done, false)
  assert.ok((await thrownBy(log.next())) instanceof NotAllowedError)

  const away = await scripted(t, (stream) => stream.end(LINE))
  const controller = new AbortController()
  const client = await clientOf(t, away, { retries: 0 })
  const second = await client.errorLog({ reconnect: true, signal: controller.signal })
  await second.next()
  const end = thrownBy(second.next())
  await away.stop()
  await sleep(50)
  controller.abort(new Error('enough'))
  assert.match(String(await end), /enough/)
})

test('a log that ends in the midst of a line is an error, and so is a line of another kind', async (t) => {
  const cases: [string, ErrorClass, RegExp][] = [
    ['{"message":"a', ConnectionError, /midst of a line/],
    ['{"message":"a"}', ConnectionError, /midst of a line/],
    ['{"error":"cannot go on"}\n', ServerError, /^cannot go on$/],
    ['{"error":{"a":1}}\n', AnswerError, /message/],
    ['<html>\n', AnswerError, /no JSON/],
    ['12\n', AnswerError, /no object/],
    ['null\n', AnswerError, /no object/],
    ['{"message":12}\n', AnswerError, /message/],
    ['{}\n', AnswerError, /message/],
    [`{"message":"${'x'.repeat(1_100_000)}"}\n`, AnswerError, /more than 1048576 bytes/],
    ['x'.repeat(1_100_000), AnswerError, /more than 1048576 bytes/],
  ]
  for (const [text, Class, message] of cases) {
    const peer = await scripted(t, (stream) => stream.end(`${LINE}\n${text}`))
    const log = await (await clientOf(t, peer)).errorLog()
    assert.equal((await log.next()).done, false)
    const error = await thrownBy(log.next())
    assert.ok(error instanceof Class, `${text.slice(0, 40)}: ${String(error)}`)
    assert.match(error.message, message)
    assert.deepEqual(await log.next(), { value: undefined, done: true })
  }
})

test('an audit event that lacks what it must have is an error', async (t) => {
  const events: object[] = [
    { ...EVENT, time: 'yesterday' },
    { ...EVENT, time: undefined },
    { ...EVENT, request: undefined },
    { ...EVENT, request: {} },
    { ...EVENT, response: undefined },
    { ...EVENT, response: { code: '200' } },
  ]
  for (const event of events) {
    const peer = await scripted(t, (stream) => stream.end(`${JSON.stringify(event)}\n`))
    const log = await (await clientOf(t, peer)).auditLog()
    assert.ok((await thrownBy(log.next())) instanceof AnswerError, JSON.stringify(event))
  }
  const good = await scripted(t, (stream) => stream.end(`${JSON.stringify(EVENT)}\n`))
  const { value } = await (await (await clientOf(t, good)).auditLog()).next()
  assert.deepEqual(
    { ...value, line: '' },
    {
      time: new Date('2026-01-02T03:04:05.678Z'),
      path: '/version',
      ip: undefined,
      identity: undefined,
      status: 0,
      took: 0,
      line: '',
    },
  )
})

test('an answer over HTTP/1.1 that is cut in the midst of a line is an error', async (t) => {
  for (const cut of [true, false]) {
    const peer = await http1Peer(t, (response, _asked, request) => {
      response.write(`${LINE}{"mess`)
      if (cut) setTimeout(() => request.socket.destroy(), 20)
      else response.end()
    })
    const log = await (await clientOf(t, peer)).errorLog()
    assert.equal((await log.next()).done, false)
    assert.ok((await thrownBy(log.next())) instanceof ConnectionError)
  }
})

test('a log that nobody reads stops the server, not the memory', async (t) => {
  let sent = 0
  const peer = await scripted(t, (stream) => {
    const pour = (): void => {
      while (!stream.destroyed && stream.write(LINE.repeat(1000))) sent += LINE.length * 1000
      if (!stream.destroyed) stream.once('drain', pour)
    }
    pour()
  })
  const log = await (await clientOf(t, peer)).errorLog()
  await log.next()
  let before = -1
  await eventually('it stops', () => {
    const stands = sent === before
    before = sent
    return stands && sent > 0
  })
  assert.ok(sent < 5_000_000, `${sent} bytes`)
  await log.close()
})

test('a process that stood still does not take its connections for dead', async (t) => {
  const files = await serverFiles(t)
  const server = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const client = await clientOf(t, server, { pingInterval: 400 })
  const log = await client.auditLog()
  const next = log.next()
  // A ping is sent, and its answer comes while this process does nothing for longer than a ping may take.
  server.kill('SIGSTOP')
  await sleep(450)
  server.kill('SIGCONT')
  for (const end = performance.now() + 700; performance.now() < end;);
  await client.version()
  assert.equal((await next).value?.path, '/version')
  await log.close()
})
