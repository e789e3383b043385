/** What the client holds, and that it lets go of it: handles, timers, descriptors, the process. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import type { KesClientError, KesClientOptions } from '#src/client/index.js'
import type { ChildTask } from '../support/client-child.ts'
import { newClient, thrownBy } from '../support/client.ts'
import { answer, deadPort, http1Peer, http2Peer, tcpPeer, tlsPeer } from '../support/peers.ts'
import { eventually } from '../support/process.ts'
import { people, startServer } from '../support/server.ts'

const CHILD = fileURLToPath(new URL('../support/client-child.js', import.meta.url))
const VERSION = '{"version":"1","commit":""}\n'

interface Outcome {
  readonly outcome: string
  /** What it has made and not let go of. */
  readonly left: readonly string[]
}

async function optionsFor(port: number): Promise<KesClientOptions> {
  const { server, admin } = await people()
  return { endpoints: `localhost:${port}`, cert: admin.cert, key: admin.key, ca: server.cert }
}

/** Runs the task in a process of its own; fails when that does not end by itself. */
async function runChild(
  port: number,
  {
    options,
    ...task
  }: Omit<ChildTask, 'options'> & { readonly options?: Partial<KesClientOptions> },
): Promise<Outcome> {
  const whole: ChildTask = { ...task, options: { ...(await optionsFor(port)), ...options } }
  // Whatever keeps the process alive would do so for longer: an idle connection lives for a minute.
  const limits = { timeout: 30_000, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [CHILD, JSON.stringify(whole)],
    limits,
  )
  return JSON.parse(stdout)
}

for (const http of ['h2', 'h1'] as const) {
  test(`an idle connection does not keep the process alive, over ${http}`, async (t) => {
    const { port } = await startServer(t)
    const outcome = await runChild(port, { call: 'version', options: { http } })
    assert.equal(outcome.outcome, 'done')
    assert.deepEqual(outcome.left, [])
  })

  test(`a call in progress does, over ${http}`, async (t) => {
    const slowly = (respond: () => void): void => void setTimeout(respond, 500)
    const { port } =
      http === 'h2'
        ? await http2Peer(t, (stream) => slowly(() => answer(stream, VERSION)))
        : await http1Peer(t, (response) => slowly(() => response.end(VERSION)))
    const { outcome } = await runChild(port, { call: 'version', options: { http } })
    assert.equal(outcome, 'done')
  })

  test(`a closed client leaves nothing, over ${http}`, async (t) => {
    const { port } = await startServer(t)
    for (const call of ['version', 'create', 'log', 'crowd'] as const) {
      const task = { call, close: true, warmUp: true, options: { http } }
      const outcome = await runChild(port, task)
      assert.equal(outcome.outcome, 'done')
      assert.deepEqual(outcome.left, [])
    }
  })
}

/** Where a call can be when it is taken back. */
const STAGES: Record<
  string,
  (
    t: TestContext,
  ) => Promise<
    [port: number, task: Omit<ChildTask, 'options' | 'abort'>, options?: Partial<KesClientOptions>]
  >
> = {
  'before TLS': async (t) => [(await tcpPeer(t, () => {})).port, { call: 'version' }],
  'before the server has spoken': async (t) => [
    (await tlsPeer(t, () => {})).port,
    { call: 'create' },
  ],
  'before the answer': async (t) => [(await http2Peer(t, () => {})).port, { call: 'version' }],
  'before the answer, over HTTP/1.1': async (t) => [
    (await http1Peer(t, () => {})).port,
    { call: 'version' },
  ],
  'before the answer of a create, over HTTP/1.1': async (t) => [
    (await http1Peer(t, () => {})).port,
    { call: 'create' },
  ],
  'in the midst of the answer': async (t) => [
    (
      await http2Peer(t, (stream) => {
        stream.respond({ ':status': 200 })
        stream.write('{')
      })
    ).port,
    { call: 'version' },
  ],
  'in the midst of the answer, over HTTP/1.1': async (t) => [
    (await http1Peer(t, (response) => response.write('{'))).port,
    { call: 'version' },
  ],
  'in the midst of an error': async (t) => [
    (
      await http2Peer(t, (stream) => {
        stream.respond({ ':status': 404 })
        stream.write('{')
      })
    ).port,
    { call: 'version' },
  ],
  'waiting for its turn': async (t) => [
    (await http2Peer(t, () => {}, { settings: { maxConcurrentStreams: 3 } })).port,
    { call: 'crowd' },
  ],
  'waiting for its turn, over HTTP/1.1': async (t) => [
    (await http1Peer(t, () => {})).port,
    { call: 'crowd' },
  ],
  'between two attempts': async (t) => [await deadPort(t), { call: 'version' }, { retries: 1000 }],
  'between two attempts, as asked': async (t) => [
    (
      await http2Peer(t, (stream) => {
        stream.respond({ ':status': 503, 'retry-after': '20' })
        stream.end()
      })
    ).port,
    { call: 'version' },
  ],
  'following a log': async (t) => [(await startServer(t)).port, { call: 'read-log', warmUp: true }],
  'following a log, over HTTP/1.1': async (t) => [
    (await startServer(t)).port,
    { call: 'read-log', warmUp: true },
    { http: 'h1' },
  ],
}

for (const [stage, prepare] of Object.entries(STAGES)) {
  test(`a call that is taken back ${stage} leaves nothing`, async (t) => {
    const [port, task, options = {}] = await prepare(t)
    const outcome = await runChild(port, { ...task, options, abort: 400 })
    assert.equal(outcome.outcome, 'AbortError')
    assert.deepEqual(outcome.left, [])
  })
}

test('a signal that has ended already sends nothing', async (t) => {
  const peer = await tcpPeer(t, () => {})
  const client = newClient(t, await optionsFor(peer.port))
  const signal = AbortSignal.abort(new Error('before'))
  for (const call of [
    client.version({ signal }),
    client.createKey('a', { signal }),
    client.auditLog({ signal }),
  ]) {
    assert.match(String(await thrownBy(call)), /before/)
  }
  assert.equal(peer.connections(), 0)
})

test('a call that is taken back does not take others with it', async (t) => {
  const peer = await http2Peer(t, (stream) => void setTimeout(() => answer(stream, VERSION), 200))
  const client = newClient(t, await optionsFor(peer.port))
  const controller = new AbortController()
  const calls = Array.from({ length: 20 }, (_, index) =>
    client.version(index % 2 === 0 ? { signal: controller.signal } : {}),
  )
  const outcomes = Promise.allSettled(calls)
  setTimeout(() => controller.abort(), 20)
  for (const [index, { status }] of (await outcomes).entries()) {
    assert.equal(status, index % 2 === 0 ? 'rejected' : 'fulfilled')
  }
  assert.equal(peer.connections(), 1)
})

test('close ends what runs, and what comes later is refused', async (t) => {
  const peer = await http2Peer(t, () => {})
  const client = newClient(t, await optionsFor(peer.port))
  const running = [thrownBy(client.version()), thrownBy(client.createKey('a'))]
  await eventually('they run', () => peer.open() === 1)
  await client.close()
  await client.close()
  for (const call of [...running, thrownBy(client.version()), thrownBy(client.errorLog())]) {
    assert.equal(((await call) as KesClientError).code, 'CLOSED')
  }
  await eventually('nothing is open', () => peer.open() === 0)
})

test('a client that is closed while it connects leaves nothing', async (t) => {
  for (const peer of [await tcpPeer(t, () => {}), await tlsPeer(t, () => {})]) {
    const client = newClient(t, await optionsFor(peer.port))
    const call = thrownBy(client.version())
    await eventually('it connects', () => peer.open() === 1)
    await client.close()
    assert.equal(((await call) as KesClientError).code, 'CLOSED')
    await eventually('nothing is open', () => peer.open() === 0)
  }
})

function sockets(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // the directory itself, closed by now
    }
  })
  return links.filter((link) => link.startsWith('socket:')).length
}

for (const [http, count] of [
  ['h2', 1000],
  ['h1', 400],
] as const) {
  const skip = process.platform === 'linux' ? false : 'needs /proc'
  test(
    `${count} connections one after another leave no descriptor, over ${http}`,
    { skip },
    async (t) => {
      const peer =
        http === 'h2'
          ? await http2Peer(t, (stream, _, session) => {
              stream.on('close', () => session.close())
              answer(stream, VERSION)
            })
          : await http1Peer(t, (response, _, request) => {
              response.on('close', () => request.socket.destroy())
              response.end(VERSION)
            })
      const client = newClient(t, await optionsFor(peer.port))
      await client.version()
      await eventually('the first is closed', () => peer.open() === 0)
      const before = sockets()
      for (let i = 0; i < count; i++) await client.version()
      assert.ok(peer.connections() >= count, `${peer.connections()} connections`)
      await eventually('all are closed', () => sockets() <= before)
    },
  )
}

test('a dead peer with unsent bytes leaves no descriptor', async (t) => {
  const skip = process.platform !== 'linux'
  if (skip) return
  const peer = await tlsPeer(t, (socket) => {
    // SETTINGS with a window that takes everything, and then nothing is read any more.
    socket.write(Buffer.from('000006040000000000000410000000', 'hex'))
    socket.pause()
  })
  const before = sockets()
  const client = newClient(t, { ...(await optionsFor(peer.port)), pingInterval: 200, retries: 0 })
  await Promise.all(
    Array.from({ length: 20 }, () => thrownBy(client.encrypt('a', Buffer.alloc(700_000)))),
  )
  await client.close()
  // The peer, in this process too, has not noticed anything.
  assert.equal(sockets() - before, peer.open())
})

test('importing the client loads neither HTTP nor TLS nor X.509', async () => {
  const index = new URL('../../../dist/client/index.js', import.meta.url)
  const script = `
    const before = new Set(process.moduleLoadList)
    await import(${JSON.stringify(index.href)})
    const loaded = process.moduleLoadList.filter((name) => !before.has(name))
    console.log(loaded.filter((name) => /NativeModule (http2|https|http|tls|_http_client|internal\\/http2\\/core)$/.test(name)).join())`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script,
  ])
  assert.equal(stdout.trim(), '')
})
