/** Clients that attack our own framing over real connections: they are cut off, memory stays, and others are served. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'

import { nextOf } from '#src/server/exchange.js'
import { serverFiles, startServerProcess } from '../support/process.ts'
import * as h2 from '../support/frames.ts'
import { frame, get, HELLO, put, setting, uint32 } from '../support/frames.ts'
import { WORKERS } from '../support/server.ts'
import { openSession } from '../support/session.ts'
import { workersOf } from '../support/workers.ts'

const files = await serverFiles(
  { after },
  { config: 'http: lean\nlog: { error: off }\nkeys: [ { name: a } ]' },
)
const server = await startServerProcess({ after }, ['--config', 'config.yml'], {
  cwd: files.directory,
})
const bystander = await openSession({ after }, server.port, files.admin)

/** What a process of the server may need beside what it has, in kB. */
const ROOM = 60_000
const processes = WORKERS > 1 ? [server.pid, ...workersOf(server)] : [server.pid]

/** Of each process of the server. */
function rss(): number[] {
  return processes.map((pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
  })
}

function assertSmall(before: readonly number[], room = ROOM): void {
  const more = rss().map((now, index) => now - (before[index] ?? 0))
  assert.ok(Math.max(...more) < room, `${more.join(', ')} kB more`)
}

interface Attacker {
  readonly socket: TLSSocket
  hasEnded(): boolean
}

async function dial(
  t: { after(end: () => unknown): void },
  alpn: 'h2' | 'http/1.1',
): Promise<Attacker> {
  const { key, cert } = files.admin
  const socket = connect({
    port: server.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: [alpn],
    key,
    cert,
  })
  t.after(() => socket.destroy())
  let ended = false
  socket.on('close', () => (ended = true))
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return { socket, hasEnded: () => ended }
}

async function assertServes(): Promise<void> {
  assert.equal((await bystander.ask('PUT', '/v1/key/generate/a', '{}')).status, 200)
}

function repeat(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)))
}

const PATH = get('/v1/key/describe/a')
/** Puts a field of 4 kB into the table, and names it again and again. */
const BOMB = Buffer.concat([
  PATH,
  Buffer.from('400178', 'hex'),
  Buffer.from('7fa11e', 'hex'),
  Buffer.alloc(4000, 'a'),
  Buffer.alloc(10_000, 0xbe),
])

/** What an attacker sends, piece by piece, until he is cut off. */
const ATTACKS: Readonly<Record<string, (index: number) => Buffer>> = {
  'opens and resets streams': (index) =>
    Buffer.concat([frame(1, 5, 2 * index + 1, PATH), frame(3, 0, 2 * index + 1, uint32(8))]),
  'makes us reset streams': (index) =>
    Buffer.concat([frame(1, 4, 2 * index + 1, put()), frame(8, 0, 2 * index + 1, uint32(0))]),
  'never ends a head': (index) => (index === 0 ? frame(1, 0, 1, PATH) : frame(9, 0, 1)),
  'sends bombs of HPACK': (index) => frame(1, 5, 2 * index + 1, BOMB),
  pings: () => frame(6, 0, 0, Buffer.alloc(8)),
  'changes settings': (index) => frame(4, 0, 0, setting(4, index)),
  'sends empty data': (index) => (index === 0 ? frame(1, 4, 1, put()) : frame(0, 0, 1)),
  'sends priorities': () => frame(2, 0, 1, [0, 0, 0, 0, 1]),
}
/** Pieces to a write. */
const AT_ONCE = 500

/** Resolves when the server has cut it off. */
async function attack(
  { socket, hasEnded }: Attacker,
  piece: (index: number) => Buffer,
): Promise<void> {
  socket.resume()
  socket.write(HELLO)
  for (let index = 0; !hasEnded(); index += AT_ONCE) {
    const bytes = repeat(AT_ONCE, (offset) => piece(index + offset))
    if (!socket.write(bytes)) await nextOf(socket, 'drain', 'close')
  }
}

for (const [what, piece] of Object.entries(ATTACKS)) {
  // Budgets grow with time, so on a busy machine it takes longer to exceed them.
  test(`a client that ${what} is cut off`, { timeout: 120_000 }, async (t) => {
    await assertServes()
    const before = rss()
    const attackers = await Promise.all(Array.from({ length: 4 }, () => dial(t, 'h2')))
    const cutOff = Promise.all(attackers.map((attacker) => attack(attacker, piece)))
    await assertServes()
    await cutOff
    await assertServes()
    assertSmall(before)
  })
}

test('clients that ask for much and take nothing cost no more memory than they may', async (t) => {
  await assertServes()
  const before = rss()
  const closed = Buffer.concat([HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 0))])
  const open = Buffer.concat([
    HELLO,
    frame(h2.SETTINGS, 0, 0, setting(4, 2 ** 31 - 1)),
    frame(h2.WINDOW_UPDATE, 0, 0, uint32(2 ** 30)),
  ])
  const requests = repeat(20_000, (index) => frame(1, 5, 2 * index + 1, get('/v1/metrics')))
  for (const first of [closed, open]) {
    for (let client = 0; client < 5; client++) {
      const { socket } = await dial(t, 'h2')
      socket.pause()
      socket.write(Buffer.concat([first, requests]))
    }
  }
  for (let client = 0; client < 5; client++) {
    const { socket } = await dial(t, 'http/1.1')
    socket.pause()
    socket.write(Buffer.from('GET /v1/metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20_000)))
  }
  for (let round = 0; round < 50; round++) await assertServes()
  // 15 clients: what waits in sockets, and the largest piece that was on its way to each.
  assertSmall(before, 2 * ROOM)
})

test('it was no fault of the server, and it ends well', async () => {
  assert.doesNotMatch(server.stderr().toString(), /uncaught|bug:|^ +at /im)
  const { code } = await server.stop()
  assert.equal(code, 0)
})
