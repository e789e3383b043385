/** Several endpoints, and one that comes and goes: what is repeated, where, how often, and what never is. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ConnectionError, KesClient, RefusedError, ServerError } from '#src/client/index.js'
import { bytes } from '../support/bytes.ts'
import { adminClient, thrownBy } from '../support/client.ts'
import {
  answer,
  type Asked,
  deadPort,
  frame,
  http1Peer,
  http2Peer,
  type Peer,
  relay,
  tcpPeer,
  tlsPeer,
  words,
} from '../support/peers.ts'
import { serverFiles, startServerProcess } from '../support/process.ts'
import { people, startServer } from '../support/server.ts'

const VERSION = '{"version":"1","commit":""}\n'
const DATA_KEY = '{"plaintext":"AAAA","ciphertext":"AAAA"}\n'

function good({ path, method }: Asked): string {
  if (path === '/version') return VERSION
  return method === 'PUT' && path.includes('/generate/') ? DATA_KEY : ''
}

interface Counting extends Peer {
  /** Requests that the server has read, by method and path. */
  readonly asked: string[]
}

/** Answers `status` to what `fails` says, and well to everything else. */
async function counting(
  t: TestContext,
  status: number,
  fails: (count: number) => boolean = () => true,
  headers: Record<string, string> = {},
): Promise<Counting> {
  const asked: string[] = []
  const peer = await http2Peer(t, (stream, request) => {
    asked.push(`${request.method} ${request.path}`)
    if (!fails(asked.length)) return answer(stream, good(request))
    stream.respond({ ':status': status, ...headers })
    stream.end('{"message":"failed"}')
  })
  return { ...peer, asked }
}

test('calls go round the endpoints', async (t) => {
  const peers = await Promise.all([1, 2, 3].map(() => counting(t, 0, () => false)))
  const client = await adminClient(
    t,
    peers.map(({ url }) => url),
  )
  for (let i = 0; i < 30; i++) await client.version()
  assert.deepEqual(
    peers.map(({ asked }) => asked.length),
    [10, 10, 10],
  )
  for (const peer of peers) assert.equal(peer.connections(), 1)
})

test('with one of two endpoints dead no call fails, with or without an effect', async (t) => {
  const alive = await startServer(t)
  const dead = `https://localhost:${await deadPort(t)}`
  const client = await adminClient(t, [dead, `https://localhost:${alive.port}`])
  for (let i = 0; i < 10; i++) {
    await client.createKey(`a${i}`)
    assert.equal((await client.generateKey(`a${i}`)).plaintext.length, 32)
  }
  assert.equal((await client.listKeys()).names.length, 10)
})

test('an endpoint that hangs costs a safe call its attempt, and then nothing for a while', async (t) => {
  let begun = 0
  const slow = await http2Peer(t, () => void begun++)
  const fast = await counting(t, 0, () => false)
  const client = await adminClient(t, [slow.url, fast.url], { attemptTimeout: 1000 })
  for (let i = 0; i < 50; i++) await client.version()
  assert.equal(fast.asked.length, 50)
  // 25 of them would have begun with the one that hangs.
  assert.ok(begun < 15, `${begun} began there`)
})

test('a call with an effect does not leave an endpoint that is slow', async (t) => {
  const late: string[] = []
  const slow = await http2Peer(t, (stream, { path }) => {
    late.push(path)
    setTimeout(() => answer(stream, ''), 500)
  })
  const dead = `https://localhost:${await deadPort(t)}`
  const client = await adminClient(t, [slow.url, dead], { attemptTimeout: 50 })
  await client.createKey('a')
  assert.deepEqual(late, ['/v1/key/create/a'])
})

test('endpoints that accept and say nothing are passed over', async (t) => {
  const silent = await tcpPeer(t, () => {})
  const mute = await tlsPeer(t, () => {})
  const alive = await counting(t, 0, () => false)
  const urls = [`https://localhost:${silent.port}`, mute.url, alive.url]
  const client = await adminClient(t, urls, { connectTimeout: 100 })
  for (let i = 0; i < 20; i++) await client.createKey(`a${i}`)
  assert.equal(alive.asked.length, 20)
})

test('an endpoint with a certificate that is not trusted is passed over, but alone it is the error', async (t) => {
  const alive = await counting(t, 0, () => false)
  const { admin } = await people()
  const other = await tlsPeer(t, () => {}, { cert: admin.cert, key: admin.key })
  const client = await adminClient(t, [other.url, alive.url])
  for (let i = 0; i < 4; i++) await client.createKey(`a${i}`)
  const alone = await thrownBy((await adminClient(t, [other.url])).version())
  assert.ok(alone instanceof ConnectionError && alone.reason === 'untrusted')
  assert.ok(other.connections() <= 4)
})

test('when every endpoint fails the error names each with its reason', async (t) => {
  const refused = `https://localhost:${await deadPort(t)}`
  const silent = `https://localhost:${(await tcpPeer(t, () => {})).port}`
  const client = await adminClient(t, [refused, silent], { connectTimeout: 50, retries: 2 })
  const error = await thrownBy(client.createKey('a'))
  assert.ok(error instanceof ConnectionError)
  assert.ok(error.message.includes(`${refused}: connection refused`), error.message)
  assert.ok(error.message.includes(`${silent}: no connection within 50 ms`), error.message)
  assert.equal(error.isUnprocessed, true)
  assert.ok(error.cause instanceof AggregateError)
})

for (const status of [502, 503, 504, 429]) {
  test(`${status} sends a safe call to the other endpoint`, async (t) => {
    const [bad, well] = [await counting(t, status), await counting(t, 0, () => false)]
    const client = await adminClient(t, [bad.url, well.url])
    for (let i = 0; i < 10; i++) await client.generateKey('a')
    assert.equal(well.asked.length, 10)
    assert.ok(bad.asked.length > 0)
  })

  test(`a storm of ${status} ends a safe call after a few attempts, and one with an effect after one`, async (t) => {
    const peers = [await counting(t, status), await counting(t, status)]
    const client = await adminClient(
      t,
      peers.map(({ url }) => url),
    )
    const asked = () => peers.flatMap((peer) => peer.asked.splice(0)).length
    const error = await thrownBy(client.generateKey('a'))
    assert.ok(error instanceof ServerError && error.status === status)
    assert.equal(asked(), 6)
    const alone = await adminClient(t, [peers[0]?.url ?? ''])
    await thrownBy(alone.generateKey('a'))
    assert.equal(asked(), 3)
    for (const call of [
      () => client.createKey('a'),
      () => client.importKey('a', { key: Buffer.alloc(32) }),
      () => client.deleteKey('a'),
      () => client.request('PUT', '/v1/key/rotate/a'),
      () => client.request('PUT', '/v1/anything', { body: {} }),
    ]) {
      assert.ok((await thrownBy(call())) instanceof ServerError)
      assert.equal(asked(), 1)
    }
  })
}

for (const status of [400, 403, 404, 409, 500, 501]) {
  test(`${status} is not repeated`, async (t) => {
    const peers = [await counting(t, status), await counting(t, status)]
    const client = await adminClient(
      t,
      peers.map(({ url }) => url),
    )
    await thrownBy(client.generateKey('a'))
    assert.equal(peers.flatMap(({ asked }) => asked).length, 1)
  })
}

test('an error page of any size is an error by its status', async (t) => {
  let count = 0
  const page = `<html>${'x'.repeat(300_000)}</html>`
  const peer = await http2Peer(t, (stream) => answer(stream, page, ++count < 3 ? 502 : 404))
  const error = await thrownBy((await adminClient(t, [peer.url])).version())
  assert.ok(error instanceof RefusedError && error.status === 404)
  assert.equal(error.message.length, 1024)
  assert.equal(count, 3)
})

test('503 that passes is not noticed, but with retries: 0', async (t) => {
  const peer = await counting(t, 503, (count) => count === 1)
  assert.ok(await (await adminClient(t, [peer.url])).version())
  const never = await counting(t, 503, (count) => count === 1)
  const client = await adminClient(t, [never.url], { retries: 0 })
  assert.ok((await thrownBy(client.version())) instanceof ServerError)
  assert.equal(never.asked.length, 1)
})

test('Retry-After is waited for, or is the end where it is longer than the call may take', async (t) => {
  const peer = await counting(t, 503, (count) => count === 1, { 'retry-after': '1' })
  const client = await adminClient(t, [peer.url])
  const begin = performance.now()
  await client.version()
  assert.ok(performance.now() - begin >= 990)

  const long = await counting(t, 503, () => true, { 'retry-after': '3600' })
  const patient = await adminClient(t, [long.url])
  const error = await thrownBy(patient.version())
  assert.ok(error instanceof ServerError)
  assert.equal(error.retryAfter, 3_600_000)
  assert.equal(long.asked.length, 1)
})

test('an endpoint that asks to be left alone is left alone while there is another', async (t) => {
  const busy = await counting(t, 503, () => true, { 'retry-after': '60' })
  const well = await counting(t, 0, () => false)
  const client = await adminClient(t, [busy.url, well.url])
  for (let i = 0; i < 20; i++) await client.version()
  assert.equal(well.asked.length, 20)
  assert.equal(busy.asked.length, 1)
})

test('what a server may have done is never asked for again, and what it has not done always is', async (t) => {
  const reset = (code: number) => frame(3, 0, 1, words(code))
  const goaway = (last: number, code: number) => frame(7, 0, 0, words(last, code))
  const cases: [string, Buffer | undefined, isRepeated: boolean][] = [
    ['REFUSED_STREAM', reset(7), true],
    ['GOAWAY below the stream', goaway(0, 0), true],
    ['GOAWAY below the stream, with an error', goaway(0, 2), true],
    ['RST_STREAM CANCEL', reset(8), false],
    ['RST_STREAM INTERNAL_ERROR', reset(2), false],
    ['GOAWAY that includes the stream, with an error', goaway(1, 2), false],
    ['a closed connection', undefined, false],
  ]
  for (const [name, first, isRepeated] of cases) {
    const alive = await counting(t, 0, () => false)
    const bad = await tlsPeer(t, (socket) => {
      socket.write(frame(4, 0, 0))
      socket.on('data', (chunk: Buffer) => {
        // HEADERS of stream 1: in a chunk of its own or behind other frames.
        if (!chunk.includes(frame(1, 5, 1).subarray(3))) return
        if (first === undefined) socket.destroy()
        else socket.write(first)
      })
    })
    for (let i = 0; i < 2; i++) {
      const client = await adminClient(t, [bad.url, alive.url])
      // Begin with the bad one, whichever is whose turn.
      const before = bad.connections()
      let error: unknown
      let calls = 0
      while (bad.connections() === before) {
        calls++
        error = await client.createKey('a').then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
      }
      assert.equal(error === undefined, isRepeated, `${name}: ${String(error)}`)
      assert.equal(alive.asked.splice(0).length, isRepeated ? calls : calls - 1, name)
      await client.close()
    }
  }
})

test('a safe call survives each of these', async (t) => {
  for (const code of [8, 2, 7, 11]) {
    const alive = await counting(t, 0, () => false)
    const bad = await http2Peer(t, (stream) => stream.close(code))
    const client = await adminClient(t, [bad.url, alive.url])
    for (let i = 0; i < 4; i++) await client.generateKey('a')
  }
})

test('over HTTP/1.1, too: a create that was cut is asked for once, a generate again', async (t) => {
  let [creates, generates] = [0, 0]
  const bad = await http1Peer(t, (_response, { path }, request) => {
    if (path.includes('/create/')) creates++
    else generates++
    request.socket.destroy()
  })
  const client = await adminClient(t, [bad.url])
  const error = await thrownBy(client.createKey('a'))
  assert.ok(error instanceof ConnectionError && !error.isUnprocessed)
  assert.equal(creates, 1)
  await thrownBy(client.generateKey('a'))
  assert.ok(generates > 1 && generates <= 7, `${generates}`)
})

test('an endpoint that is back is used again', async (t) => {
  const first = await counting(t, 0, () => false)
  const port = await deadPort(t)
  const client = await adminClient(t, [first.url, `https://localhost:${port}`])
  for (let i = 0; i < 4; i++) await client.version()
  const asked: string[] = []
  await http2Peer(
    t,
    (stream, request) => {
      asked.push(request.path)
      answer(stream, good(request))
    },
    { port },
  )
  for (let i = 0; i < 400 && asked.length === 0; i++) {
    await client.version()
    await sleep(20)
  }
  assert.ok(asked.length > 0)
})

test('many calls that fail together count as one failure of the endpoint', async (t) => {
  const peers = [await counting(t, 0, () => false), await counting(t, 0, () => false)] as const
  const cable = await relay(t, peers[0].port)
  const client = await adminClient(t, [cable.url, peers[1].url])
  await Promise.all(Array.from({ length: 10 }, () => client.version()))
  const calls = Promise.all(Array.from({ length: 100 }, () => client.version()))
  await new Promise((resolve) => setImmediate(resolve))
  cable.cut()
  await calls
  const before = peers[0].asked.length
  // A second or so, and not the half minute of a hundred failures.
  const begin = performance.now()
  while (peers[0].asked.length === before) {
    assert.ok(performance.now() - begin < 10_000)
    await client.version()
    await sleep(20)
  }
})

test('a timeout is for all attempts together', async (t) => {
  const peers = [await http2Peer(t, () => {}), await http2Peer(t, () => {})]
  const urls = peers.map(({ url }) => url)
  const client = await adminClient(t, urls, { timeout: 500, attemptTimeout: 100 })
  const begin = performance.now()
  const error = await thrownBy(client.version())
  assert.ok(error instanceof ConnectionError && error.reason === 'timeout')
  assert.ok(performance.now() - begin < 5000)
  assert.equal(error.message.match(/no answer within/g)?.length, 2)
})

test('a server that restarts under load costs no safe call anything', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  const args = ['--config', 'config.yml']
  let server = await startServerProcess(t, args, { cwd: files.directory })
  const { port } = server
  for (const http of ['h2', 'h1'] as const) {
    const client = await adminClient(t, [`https://localhost:${port}`], { http, retries: 12 })
    let [isOver, done] = [false, 0]
    const worker = async (): Promise<void> => {
      while (!isOver) {
        const { plaintext, ciphertext } = await client.generateKey('a', { context: bytes('c') })
        assert.deepEqual(await client.decrypt('a', ciphertext, { context: bytes('c') }), plaintext)
        done++
      }
    }
    const load = Promise.all(Array.from({ length: 8 }, worker))
    let failed: unknown
    load.catch((error: unknown) => (failed = error))
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      for (const target = done + 20; done < target && failed === undefined;) await sleep(5)
      await server.stop(signal)
      server = await startServerProcess(t, [...args, '--addr', `127.0.0.1:${port}`], {
        cwd: files.directory,
      })
    }
    for (const target = done + 20; done < target && failed === undefined;) await sleep(5)
    isOver = true
    await load
  }
})

for (const http of ['h2', 'h1'] as const) {
  test(`a server that restarts between two calls costs neither anything, over ${http}`, async (t) => {
    const config = 'keys: [ { name: a } ]'
    let server = await startServer(t, { config })
    const { port } = server
    const client = await adminClient(t, [`https://localhost:${port}`], { http })
    for (let i = 0; i < 3; i++) {
      await client.generateKey('a')
      await server.close()
      server = await startServer(t, { config, port })
      await client.createKey('b')
    }
  })
}

test('a process that is stopped is noticed, and the calls that may be repeated go elsewhere', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  // Of several processes, others would go on.
  const args = ['--config', 'config.yml', '--workers', '1']
  const stopped = await startServerProcess(t, args, { cwd: files.directory })
  const alive = await counting(t, 0, () => false)
  const client = await adminClient(t, [`https://localhost:${stopped.port}`, alive.url], {
    pingInterval: 150,
    connectTimeout: 150,
    attemptTimeout: 20_000,
  })
  for (let i = 0; i < 4; i++) await client.version()
  stopped.kill('SIGSTOP')
  t.after(() => stopped.kill('SIGCONT'))
  const before = alive.asked.length
  await Promise.all(Array.from({ length: 10 }, () => client.version()))
  assert.equal(alive.asked.length - before, 10)
})

test('a connection that is cut under many calls is made again once', async (t) => {
  const server = await counting(t, 0, () => false)
  const cable = await relay(t, server.port)
  const client = await adminClient(t, [cable.url])
  await client.version()
  for (let i = 0; i < 5; i++) {
    const calls = Promise.all(Array.from({ length: 50 }, () => client.version()))
    await new Promise((resolve) => setImmediate(resolve))
    cable.cut()
    await calls
  }
  assert.ok(cable.connections() <= 6, `${cable.connections()} connections`)
})

test('a client without endpoints that work ends in bounded time and attempts', async (t) => {
  const dead = await deadPort(t)
  const begin = performance.now()
  const client = new KesClient({ endpoints: `localhost:${dead}`, retries: 2 })
  t.after(() => client.close())
  assert.ok((await thrownBy(client.version())) instanceof ConnectionError)
  // 100 + 200 ms of pauses at most.
  assert.ok(performance.now() - begin < 10_000)
})
