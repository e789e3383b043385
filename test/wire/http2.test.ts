/** HTTP/2 by hand: what clients may ask of one connection, and what becomes of those who ask for more. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AnswerHead } from '#src/wire/answer.js'
import { HpackDecoder } from '#src/wire/hpack-decoder.js'
import * as limits from '#src/wire/limits.js'
import type { Stream } from '#src/wire/request.js'
import * as h2 from '../support/frames.ts'
import {
  block,
  echo,
  frame,
  type Frame,
  framesOf,
  get,
  HELLO,
  http2Talker,
  put,
  setting,
  uint32,
} from '../support/frames.ts'

const HEAD = new AnswerHead({ status: 200, type: 'text/plain', headers: {}, repeats: true })
const WHOLE = h2.END_STREAM | h2.END_HEADERS
const [NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR] = [0, 1, 3]
const [STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM] = [5, 6, 7]
const [COMPRESSION_ERROR, ENHANCE_YOUR_CALM] = [9, 11]

function request(id: number, fields = get()): Buffer {
  return frame(h2.HEADERS, WHOLE, id, fields)
}

function goAway(frames: readonly Frame[]): number | undefined {
  return frames.findLast(({ type }) => type === h2.GOAWAY)?.payload.readUInt32BE(4)
}

function resets(frames: readonly Frame[]): Record<number, number> {
  const all = frames.filter(({ type }) => type === h2.RST_STREAM)
  return Object.fromEntries(all.map(({ stream, payload }) => [stream, payload.readUInt32BE(0)]))
}

function fields(decoder: HpackDecoder, { payload }: Frame): string[] {
  const list = decoder.decode(payload, 0, payload.length) ?? []
  return list.map(({ name, value }) => `${name}: ${value}`)
}

const never = (): void => {}

test('a request is answered with its head and its body, and both sides’ settings are confirmed', async () => {
  const talk = http2Talker(echo(HEAD))
  await talk.say(
    HELLO,
    frame(h2.HEADERS, h2.END_HEADERS, 1, put(['content-length', '5'])),
    frame(h2.DATA, h2.END_STREAM, 1, Buffer.from('hello')),
  )
  const [settings, update, ack, head, data, ...rest] = framesOf(talk.socket.bytes)
  assert.deepEqual([settings?.type, update?.type, rest.length], [h2.SETTINGS, h2.WINDOW_UPDATE, 0])
  assert.deepEqual([ack?.type, ack?.flags], [h2.SETTINGS, h2.ACK])
  const names = fields(new HpackDecoder(4096, 16_384), head as Frame)
  assert.deepEqual(names.slice(0, 3), [
    ':status: 200',
    'content-length: 5',
    'content-type: text/plain',
  ])
  assert.match(names[3] ?? '', /^date: \w{3}, \d\d /)
  assert.deepEqual([data?.flags, data?.payload.toString()], [h2.END_STREAM, 'hello'])
})

test('bytes may come in any pieces', async () => {
  const bytes = Buffer.concat([
    HELLO,
    frame(h2.HEADERS, 0, 1, put().subarray(0, 20)),
    frame(h2.CONTINUATION, h2.END_HEADERS, 1, put().subarray(20)),
    frame(h2.DATA, 0, 1, Buffer.from('one ')),
    frame(h2.DATA, 0x8, 1, Buffer.from('\x03two\0\0\0', 'latin1')),
    frame(h2.HEADERS, WHOLE, 1, block([['x-trailer', 'dropped']])),
    request(3),
  ])
  for (const size of [1, 2, 3, 7, 10, 100]) {
    const talk = http2Talker(echo(HEAD))
    for (let at = 0; at < bytes.length; at += size) await talk.say(bytes.subarray(at, at + size))
    const frames = framesOf(talk.socket.bytes)
    const data = frames.filter(({ type }) => type === h2.DATA)
    assert.deepEqual(
      data.map(({ payload }) => payload.toString()),
      ['one two', ''],
    )
    assert.deepEqual(
      talk.streams.map(({ head }) => head.method),
      ['PUT', 'GET'],
    )
  }
})

test('all answers of a turn leave in one write', async () => {
  const talk = http2Talker(echo(HEAD))
  await talk.say(HELLO)
  const before = talk.socket.chunks.length
  await talk.say(...[1, 3, 5, 7].map((id) => request(id)))
  assert.equal(talk.socket.chunks.length, before + 1)
})

const literal = (name: string, value: string): readonly [string, string] => [name, value]
const BASE = [literal(':method', 'GET'), literal(':scheme', 'https'), literal(':path', '/')]

const MALFORMED: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'no method': BASE.slice(1),
  'no scheme': [BASE[0], BASE[2]] as never,
  'no path': BASE.slice(0, 2),
  'an empty path': [...BASE.slice(0, 2), literal(':path', '')],
  'a path that is none': [...BASE.slice(0, 2), literal(':path', 'v1/status')],
  'a path with a space': [...BASE.slice(0, 2), literal(':path', '/a b')],
  'a path with a line break': [...BASE.slice(0, 2), literal(':path', '/a\r\nb')],
  'a method that is no token': [literal(':method', 'G T'), ...BASE.slice(1)],
  'a method twice': [...BASE, literal(':method', 'GET')],
  'a path twice': [...BASE, literal(':path', '/b')],
  'a pseudo field after a field': [literal('a', 'b'), ...BASE],
  'a pseudo field of answers': [...BASE, literal(':status', '200')],
  'an unknown pseudo field': [...BASE, literal(':protocol', 'websocket')],
  'an upper-case name': [...BASE, literal('X-Upper', 'a')],
  'an empty name': [...BASE, literal('', 'a')],
  'a name with a space': [...BASE, literal('a b', 'a')],
  'a name with a colon': [...BASE, literal('a:b', 'a')],
  'a value with a line feed': [...BASE, literal('a', 'b\nc: d')],
  'a value with a NUL': [...BASE, literal('a', 'b\0')],
  'a value that begins with a space': [...BASE, literal('a', ' b')],
  'a value that ends with a tab': [...BASE, literal('a', 'b\t')],
  connection: [...BASE, literal('connection', 'close')],
  'keep-alive': [...BASE, literal('keep-alive', '1')],
  'proxy-connection': [...BASE, literal('proxy-connection', 'close')],
  'transfer-encoding': [...BASE, literal('transfer-encoding', 'chunked')],
  upgrade: [...BASE, literal('upgrade', 'h2c')],
  'te other than trailers': [...BASE, literal('te', 'gzip')],
  'a length that is none': [...BASE, literal('content-length', '+5')],
  'a length twice': [...BASE, literal('content-length', '0'), literal('content-length', '0')],
  'a length, and no body': [...BASE, literal('content-length', '5')],
  'two hosts': [...BASE, literal('host', 'a'), literal('host', 'a')],
  'another host than authority': [...BASE, literal(':authority', 'a'), literal('host', 'b')],
  'CONNECT with a path': [literal(':method', 'CONNECT'), ...BASE.slice(1)],
}

for (const [what, list] of Object.entries(MALFORMED)) {
  test(`a head with ${what} is no request, and the next one is`, async () => {
    const talk = http2Talker(echo(HEAD))
    await talk.say(HELLO, request(1, block(list)), request(3))
    assert.deepEqual(
      talk.streams.map(({ head }) => head.target),
      ['/'],
    )
    assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 1: PROTOCOL_ERROR })
    assert.ok(!talk.isOver)
  })
}

test('every value of a field that came more than once is there', async () => {
  const talk = http2Talker(never)
  await talk.say(HELLO, request(1, block([...BASE, ['x-a', '1'], ['x-b', '2'], ['x-a', '3']])))
  assert.deepEqual(talk.streams[0]?.head.values('x-a'), ['1', '3'])
})

/** Frames that end the connection, and the error that is told. */
const FATAL: Readonly<Record<string, readonly [bytes: readonly Buffer[], code: number]>> = {
  'a frame before settings': [[h2.PREFACE, request(1)], PROTOCOL_ERROR],
  'a confirmation before settings': [[h2.PREFACE, frame(h2.SETTINGS, h2.ACK, 0)], PROTOCOL_ERROR],
  'no preface': [[Buffer.from('GET / HTTP/1.1\r\n')], PROTOCOL_ERROR],
  'a frame of more than 16 KiB': [
    [HELLO, Buffer.from('004001000000000001', 'hex')],
    FRAME_SIZE_ERROR,
  ],
  'a head of an even stream': [[HELLO, request(2)], PROTOCOL_ERROR],
  'a head of an earlier stream': [[HELLO, request(3), request(1)], PROTOCOL_ERROR],
  'a head of a stream that has ended': [[HELLO, request(1), request(1)], STREAM_CLOSED],
  'data on stream 0': [[HELLO, frame(h2.DATA, 0, 0, [1])], PROTOCOL_ERROR],
  'data on a stream that never was': [[HELLO, frame(h2.DATA, 0, 5, [1])], PROTOCOL_ERROR],
  'more padding than there is data': [[HELLO, frame(h2.DATA, 0x8, 1, [9, 1])], PROTOCOL_ERROR],
  'a head that is not HPACK': [[HELLO, request(1, Buffer.of(0xff))], COMPRESSION_ERROR],
  'another frame within a head': [
    [HELLO, frame(h2.HEADERS, 0, 1, get()), frame(h2.PING, 0, 0, Buffer.alloc(8))],
    PROTOCOL_ERROR,
  ],
  'a continuation of another stream': [
    [HELLO, frame(h2.HEADERS, 0, 1, get()), frame(h2.CONTINUATION, 4, 3)],
    PROTOCOL_ERROR,
  ],
  'a continuation of nothing': [[HELLO, frame(h2.CONTINUATION, 4, 1)], PROTOCOL_ERROR],
  'a push': [[HELLO, frame(h2.PUSH_PROMISE, 4, 1, [0, 0, 0, 2])], PROTOCOL_ERROR],
  'a reset of the wrong length': [
    [HELLO, request(1), frame(h2.RST_STREAM, 0, 1, [0])],
    FRAME_SIZE_ERROR,
  ],
  'a reset of a stream that never was': [
    [HELLO, frame(h2.RST_STREAM, 0, 1, uint32(8))],
    PROTOCOL_ERROR,
  ],
  'a ping on a stream': [[HELLO, frame(h2.PING, 0, 1, Buffer.alloc(8))], PROTOCOL_ERROR],
  'a ping of the wrong length': [[HELLO, frame(h2.PING, 0, 0, [1])], FRAME_SIZE_ERROR],
  'settings on a stream': [[HELLO, frame(h2.SETTINGS, 0, 1)], PROTOCOL_ERROR],
  'settings of the wrong length': [[HELLO, frame(h2.SETTINGS, 0, 0, [1])], FRAME_SIZE_ERROR],
  'a confirmation with settings': [
    [HELLO, frame(h2.SETTINGS, 1, 0, setting(1, 1))],
    FRAME_SIZE_ERROR,
  ],
  'a window beyond 2^31-1': [
    [HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 2 ** 31))],
    FLOW_CONTROL_ERROR,
  ],
  'frames of less than 16 KiB': [
    [HELLO, frame(h2.SETTINGS, 0, 0, setting(5, 100))],
    PROTOCOL_ERROR,
  ],
  'push that is neither on nor off': [
    [HELLO, frame(h2.SETTINGS, 0, 0, setting(2, 2))],
    PROTOCOL_ERROR,
  ],
  'a window of 0 more': [[HELLO, frame(h2.WINDOW_UPDATE, 0, 0, uint32(0))], PROTOCOL_ERROR],
  'a window that overflows': [
    [HELLO, frame(h2.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1))],
    FLOW_CONTROL_ERROR,
  ],
  'a window of a stream that never was': [
    [HELLO, frame(h2.WINDOW_UPDATE, 0, 1, uint32(1))],
    PROTOCOL_ERROR,
  ],
  'a GOAWAY on a stream': [[HELLO, frame(h2.GOAWAY, 0, 1, Buffer.alloc(8))], PROTOCOL_ERROR],
  'a GOAWAY that is too short': [
    [HELLO, frame(h2.GOAWAY, 0, 0, Buffer.alloc(4))],
    FRAME_SIZE_ERROR,
  ],
}

for (const [what, [bytes, code]] of Object.entries(FATAL)) {
  test(`${what} ends the connection with error ${code}`, async () => {
    const talk = http2Talker(echo(HEAD))
    await talk.say(...bytes)
    assert.equal(goAway(framesOf(talk.socket.bytes)), code)
    assert.ok(talk.socket.hasEnded)
    const { length } = talk.socket.bytes
    await talk.say(request(99))
    assert.equal(talk.socket.bytes.length, length)
  })
}

test('too large a head is refused, and the tables of both sides stay the same', async () => {
  const talk = http2Talker(echo(HEAD))
  // Put into the table on the way: x-known: yes.
  const indexed = Buffer.concat([Buffer.of(0x40), block([['x-known', 'yes']]).subarray(1)])
  const large = Buffer.concat([
    get(),
    indexed,
    block([['x-large', 'a'.repeat(15_000)]]),
    block([['x-more', 'a'.repeat(3000)]]),
  ])
  await talk.say(
    HELLO,
    frame(h2.HEADERS, h2.END_STREAM, 1, large.subarray(0, 16_000)),
    frame(h2.CONTINUATION, h2.END_HEADERS, 1, large.subarray(16_000)),
    request(3, Buffer.concat([get(), Buffer.of(0xbe)])),
  )
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 1: ENHANCE_YOUR_CALM })
  assert.deepEqual(talk.streams[0]?.head.values('x-known'), ['yes'])
})

/** Says the same again and again; resolves when the connection has ended, with how often that took. */
async function flood(
  most: number,
  say: (round: number) => Buffer,
  serve = echo(HEAD),
): Promise<{ rounds: number; code: number | undefined; sent: number }> {
  const talk = http2Talker(serve)
  await talk.say(HELLO)
  for (let round = 1; round <= most; round++) {
    await talk.say(say(round))
    if (!talk.isOver) continue
    const { bytes } = talk.socket
    return { rounds: round, code: goAway(framesOf(bytes)), sent: bytes.length }
  }
  return assert.fail(`${most} rounds, and the connection is open`)
}

const RST_PAYLOAD = uint32(8)
const PING_FRAME = frame(h2.PING, 0, 0, Buffer.alloc(8))
const ONE = (id: number): Buffer =>
  Buffer.concat([request(id), frame(h2.RST_STREAM, 0, id, RST_PAYLOAD)])

const FLOODS: Readonly<Record<string, readonly [say: (round: number) => Buffer, most: number]>> = {
  'streams that are opened and reset': [(round) => ONE(2 * round - 1), limits.RESETS.burst + 100],
  'streams that are broken so that we reset them': [
    (round) =>
      Buffer.concat([
        frame(h2.HEADERS, 4, 2 * round - 1, put()),
        frame(h2.WINDOW_UPDATE, 0, 2 * round - 1, uint32(0)),
      ]),
    limits.RESETS.burst + 100,
  ],
  'heads that are malformed': [
    (round) => request(2 * round - 1, block([['a', 'b']])),
    limits.RESETS.burst + 100,
  ],
  pings: [() => PING_FRAME, limits.PINGS.burst + 50],
  settings: [() => frame(h2.SETTINGS, 0, 0, setting(4, 65_535)), limits.SETTINGS_FRAMES.burst + 20],
  'confirmations of settings': [
    () => frame(h2.SETTINGS, h2.ACK, 0),
    limits.SETTINGS_FRAMES.burst + 20,
  ],
  priorities: [() => frame(h2.PRIORITY, 0, 3, [0, 0, 0, 0, 1]), limits.IDLE_FRAMES.burst + 100],
  'frames of unknown types': [
    () => frame(0xbe, 0, 0, Buffer.alloc(100)),
    limits.IDLE_FRAMES.burst + 100,
  ],
  'empty data': [
    (round) => (round === 1 ? frame(h2.HEADERS, h2.END_HEADERS, 1, put()) : frame(h2.DATA, 0, 1)),
    limits.IDLE_FRAMES.burst + 100,
  ],
  'data that is all padding': [
    (round) =>
      round === 1
        ? frame(h2.HEADERS, h2.END_HEADERS, 1, put())
        : frame(h2.DATA, 0x8, 1, [3, 0, 0, 0]),
    limits.IDLE_FRAMES.burst + 100,
  ],
  'continuations without end': [
    (round) =>
      round === 1
        ? frame(h2.HEADERS, 0, 1, get())
        : frame(h2.CONTINUATION, 0, 1, block([['a', 'b']])),
    limits.CONTINUATION_LIMIT + 2,
  ],
  'empty continuations without end': [
    (round) => (round === 1 ? frame(h2.HEADERS, 0, 1, get()) : frame(h2.CONTINUATION, 0, 1)),
    limits.CONTINUATION_LIMIT + 2,
  ],
  'large continuations': [
    (round) =>
      round === 1
        ? frame(h2.HEADERS, 0, 1, get())
        : frame(h2.CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x82)),
    4,
  ],
}

for (const [what, [say, most]] of Object.entries(FLOODS)) {
  test(`a flood of ${what} ends the connection`, async () => {
    const { code, sent } = await flood(most, say)
    assert.equal(code, ENHANCE_YOUR_CALM)
    assert.ok(sent < 100_000, `${sent} bytes were sent`)
  })
}

test('a flood of window updates ends the connection', async () => {
  const update = frame(h2.WINDOW_UPDATE, 0, 0, uint32(1))
  const thousand = Buffer.concat(Array.from({ length: 1000 }, () => update))
  const { code } = await flood(200, () => thousand)
  assert.equal(code, ENHANCE_YOUR_CALM)
})

test('rapid reset runs no more requests than the budget allows, and leaves none behind', async () => {
  let closed = 0
  const talk = http2Talker((stream) => {
    stream.receiver = { data: never, end: never, closed: () => closed++ }
  })
  await talk.say(HELLO, ...Array.from({ length: 5000 }, (_, index) => ONE(2 * index + 1)))
  assert.ok(talk.streams.length <= limits.RESETS.burst + 100, String(talk.streams.length))
  assert.equal(closed, talk.streams.length)
  assert.equal(goAway(framesOf(talk.socket.bytes)), ENHANCE_YOUR_CALM)
})

test('who sends no more of a body whose answer is there has reset nothing', async () => {
  const talk = http2Talker((stream) => {
    stream.respond(HEAD, 'enough', false)
  })
  await talk.say(HELLO)
  for (let round = 1; round <= 2 * limits.RESETS.burst; round++) {
    const id = 2 * round - 1
    await talk.say(frame(h2.HEADERS, h2.END_HEADERS, id, put()))
    await talk.say(frame(h2.RST_STREAM, 0, id, uint32(0)))
  }
  assert.equal(goAway(framesOf(talk.socket.bytes)), undefined)
  assert.equal(talk.isOver, false)
  await talk.say(request(1_000_001))
  assert.equal(talk.streams.length, 2 * limits.RESETS.burst + 1)
})

test('more streams than may be are refused, and the others served', async () => {
  const talk = http2Talker(never)
  const ids = Array.from({ length: limits.STREAM_LIMIT + 5 }, (_, index) => 2 * index + 1)
  await talk.say(HELLO, ...ids.map((id) => request(id)))
  assert.equal(talk.streams.length, limits.STREAM_LIMIT)
  const refused = ids.slice(limits.STREAM_LIMIT).map((id) => [id, REFUSED_STREAM])
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), Object.fromEntries(refused))
})

test('an answer goes as far as the windows allow, and on when they are widened', async () => {
  const body = 'x'.repeat(100_000)
  const talk = http2Talker((stream) => stream.respond(HEAD, body, false))
  const data = (): number =>
    framesOf(talk.socket.bytes).reduce(
      (sum, { type, payload }) => sum + (type === h2.DATA ? payload.length : 0),
      0,
    )
  await talk.say(HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 10)), request(1))
  assert.equal(data(), 10)
  await talk.say(frame(h2.WINDOW_UPDATE, 0, 1, uint32(90)))
  assert.equal(data(), 100)
  await talk.say(frame(h2.SETTINGS, 0, 0, setting(4, 1_000_000)))
  assert.equal(data(), 65_535)
  await talk.say(frame(h2.WINDOW_UPDATE, 0, 0, uint32(1_000_000)))
  assert.equal(data(), body.length)
  const last = framesOf(talk.socket.bytes).at(-1)
  assert.deepEqual([last?.type, last?.flags], [h2.DATA, h2.END_STREAM])
})

test('a body of bytes is sent in frames, and left out of the answer to HEAD', async () => {
  const body = Buffer.from(Array.from({ length: 50_000 }, (_, at) => at % 251))
  const talk = http2Talker((stream) => stream.respond(HEAD, body, false))
  const headOnly = block([
    [':method', 'HEAD'],
    [':scheme', 'https'],
    [':path', '/'],
    [':authority', 'localhost'],
  ])
  await talk.say(HELLO, request(1), request(3, headOnly))
  const frames = framesOf(talk.socket.bytes)
  const [first, second] = frames.filter(({ type }) => type === h2.HEADERS)
  const decoder = new HpackDecoder(4096, 16_384)
  for (const head of [first, second]) {
    assert.equal(fields(decoder, head as Frame)[1], 'content-length: 50000')
  }
  const data = frames.filter(({ type }) => type === h2.DATA)
  assert.deepEqual(Buffer.concat(data.map(({ payload }) => payload)), body)
  assert.ok(data.every(({ stream }) => stream === 1))
  assert.ok(data.every(({ payload }) => payload.length <= limits.FRAME_LIMIT))
  assert.equal(data.at(-1)?.flags, h2.END_STREAM)
})

test('a window that is made negative by settings is made good first', async () => {
  const talk = http2Talker((stream) => stream.respond(HEAD, 'x'.repeat(100), false))
  const data = (): number =>
    framesOf(talk.socket.bytes).filter(({ type }) => type === h2.DATA).length
  await talk.say(HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 50)), request(1))
  await talk.say(frame(h2.SETTINGS, 0, 0, setting(4, 0)), frame(h2.WINDOW_UPDATE, 0, 1, uint32(50)))
  assert.equal(data(), 1)
  await talk.say(frame(h2.WINDOW_UPDATE, 0, 1, uint32(1)))
  assert.equal(data(), 2)
})

test('a client that takes no answers gets no more requests served, and is cut off', async () => {
  const body = 'x'.repeat(1_000_000)
  const talk = http2Talker((stream) => stream.respond(HEAD, body, false))
  await talk.say(HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 0)))
  await talk.say(...Array.from({ length: 200 }, (_, index) => request(2 * index + 1)))
  assert.ok(
    talk.streams.length <= limits.PENDING_LIMIT / body.length + 2,
    String(talk.streams.length),
  )
  const now = performance.now()
  talk.session.tick(now)
  assert.ok(!talk.isOver)
  talk.session.tick(now + limits.STALL_TIMEOUT + 1)
  assert.ok(talk.socket.destroyed)
})

test('a client that opens its window byte by byte is cut off, too', async () => {
  const talk = http2Talker((stream) => stream.respond(HEAD, 'x'.repeat(1_000_000), false))
  await talk.say(HELLO, frame(h2.SETTINGS, 0, 0, setting(4, 0)), request(1))
  const start = performance.now()
  for (let second = 0; second <= limits.STALL_TIMEOUT / 1000; second++) {
    talk.session.tick(start + second * 1000)
    await talk.say(frame(h2.WINDOW_UPDATE, 0, 1, uint32(1)))
  }
  talk.session.tick(start + limits.STALL_TIMEOUT + 1000)
  assert.ok(talk.socket.destroyed)
})

test('nothing more is read from a socket that is full, until it is taken', async () => {
  const talk = http2Talker((stream) => stream.respond(HEAD, 'x'.repeat(10_000), false))
  talk.socket.isTaken = false
  await talk.say(
    HELLO,
    frame(h2.SETTINGS, 0, 0, setting(4, 1_000_000)),
    frame(h2.WINDOW_UPDATE, 0, 0, uint32(2 ** 30)),
  )
  for (let id = 1; !talk.socket.isPaused; id += 2) await talk.say(request(id))
  assert.ok(talk.socket.bytes.length < limits.SOCKET_LIMIT + 50_000)
  talk.socket.isTaken = true
  talk.socket.writableLength = 0
  talk.session.drained()
  await talk.say()
  assert.ok(!talk.socket.isPaused)
})

test('more data than the connection’s or the stream’s window is an error', async () => {
  const chunk = Buffer.alloc(16_384, 'a')
  const talk = http2Talker((stream) => {
    stream.receiver = { data: never, end: never, closed: never }
  })
  await talk.say(HELLO, frame(h2.HEADERS, h2.END_HEADERS, 1, put()))
  await talk.say(...Array.from({ length: 4 }, () => frame(h2.DATA, 0, 1, chunk)))
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 1: FLOW_CONTROL_ERROR })
})

/** What a client may send on a stream, by our WINDOW_UPDATEs. */
function windowOf(frames: readonly Frame[], id: number): number {
  const updates = frames.filter(({ type, stream }) => type === h2.WINDOW_UPDATE && stream === id)
  return updates.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), limits.STREAM_WINDOW)
}

test('large bodies are let in whole, as many at a time as the budget holds, in their order', async () => {
  const size = 6_000_000
  const talk = http2Talker((stream) => {
    stream.receiver = { data: never, end: () => stream.respond(HEAD, 'ok', false), closed: never }
    stream.accept(size)
  })
  await talk.say(HELLO)
  for (const id of [1, 3, 5]) {
    await talk.say(frame(h2.HEADERS, h2.END_HEADERS, id, put(['content-length', String(size)])))
  }
  const windows = (): number[] => [1, 3, 5].map((id) => windowOf(framesOf(talk.socket.bytes), id))
  assert.deepEqual(windows(), [size, size, limits.STREAM_WINDOW])
  for (let sent = 0; sent < size; sent += 16_000) {
    const length = Math.min(16_000, size - sent)
    const ends = sent + length === size ? h2.END_STREAM : 0
    await talk.say(frame(h2.DATA, ends, 1, Buffer.alloc(length)))
  }
  assert.deepEqual(windows(), [size, size, size])
  assert.ok(!talk.isOver)
})

test('a body whose length nobody told gets room as it comes', async () => {
  let received = 0
  const talk = http2Talker((stream) => {
    stream.receiver = { data: (chunk) => (received += chunk.length), end: never, closed: never }
    stream.accept(1_000_000)
  })
  await talk.say(HELLO, frame(h2.HEADERS, h2.END_HEADERS, 1, put()))
  assert.equal(windowOf(framesOf(talk.socket.bytes), 1), limits.STREAM_WINDOW)
  for (let sent = 0; sent < 60; sent++) {
    await talk.say(frame(h2.DATA, 0, 1, Buffer.alloc(16_384)))
  }
  assert.equal(received, 60 * 16_384)
  assert.equal(windowOf(framesOf(talk.socket.bytes), 1), 1_000_001)
})

test('a body that comes before anybody wants it waits, as far as its window goes', async () => {
  for (const chunks of [[], ['one ', 'two']]) {
    let [body, ends] = ['', 0]
    const talk = http2Talker((stream) => {
      stream.receiver = {
        data: (chunk) => (body += chunk.toString()),
        end: () => ends++,
        closed: never,
      }
    })
    await talk.say(
      HELLO,
      frame(h2.HEADERS, h2.END_HEADERS, 1, put()),
      ...chunks.map((chunk) => frame(h2.DATA, 0, 1, Buffer.from(chunk))),
      frame(h2.DATA, h2.END_STREAM, 1),
    )
    assert.deepEqual([body, ends], ['', 0])
    talk.streams[0]?.accept(100)
    assert.deepEqual([body, ends], [chunks.join(''), 1])
  }
})

test('a request that is refused may be asked again elsewhere', async () => {
  const talk = http2Talker((stream) => stream.refuse())
  await talk.say(HELLO, request(1))
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 1: REFUSED_STREAM })
})

test('a body that is not wanted is dropped, and broken off when it has no end', async () => {
  const talk = http2Talker((stream) => stream.respond(HEAD, 'no', false))
  await talk.say(HELLO, frame(h2.HEADERS, h2.END_HEADERS, 1, put()))
  let sent = 0
  const chunk = Buffer.alloc(16_384)
  while (resets(framesOf(talk.socket.bytes))[1] === undefined) {
    assert.ok(windowOf(framesOf(talk.socket.bytes), 1) - sent >= 16_384, 'the client is held up')
    await talk.say(...Array.from({ length: 64 }, () => frame(h2.DATA, 0, 1, chunk)).slice(0, 1))
    sent += chunk.length
    if (sent > 2 * limits.DROP_LIMIT) assert.fail('it has no end')
    // Reading back all frames each time would take long.
    if (talk.socket.chunks.length > 200) break
  }
  talk.session.tick(performance.now() + limits.DROP_TIME + 1)
  await talk.say()
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 1: NO_ERROR })
  // What was on its way is no fault.
  await talk.say(frame(h2.DATA, 0, 1, chunk), request(3))
  assert.equal(talk.streams.length, 2)
  assert.ok(!talk.isOver)
})

test('an orderly end tells first, takes what was on its way, and answers what it took', async () => {
  const waiting: Stream[] = []
  const talk = http2Talker((stream) => waiting.push(stream))
  await talk.say(HELLO, request(1))
  talk.session.drain()
  await talk.say()
  const [first, ping] = framesOf(talk.socket.bytes).slice(-2)
  assert.deepEqual([first?.type, first?.payload.readUInt32BE(0)], [h2.GOAWAY, 2 ** 31 - 1])
  assert.equal(ping?.type, h2.PING)
  await talk.say(request(3), frame(h2.PING, h2.ACK, 0, ping?.payload))
  const second = framesOf(talk.socket.bytes).at(-1)
  assert.deepEqual([second?.type, second?.payload.readUInt32BE(0)], [h2.GOAWAY, 3])
  await talk.say(request(5))
  assert.deepEqual(resets(framesOf(talk.socket.bytes)), { 5: REFUSED_STREAM })
  for (const stream of waiting) {
    assert.ok(!talk.isOver)
    stream.respond(HEAD, 'done', true)
  }
  assert.equal(waiting.length, 2)
  assert.ok(talk.socket.hasEnded)
})

test('an orderly end does not wait long for a client that is silent', async () => {
  const talk = http2Talker(never)
  await talk.say(HELLO)
  talk.session.drain()
  talk.session.tick(performance.now() + limits.GOAWAY_TIMEOUT + 1)
  assert.ok(talk.socket.hasEnded)
  talk.session.tick(performance.now() + limits.GOAWAY_TIMEOUT + limits.LINGER + 2)
  assert.ok(talk.socket.destroyed)
})

test('whoever is slow with his first frame, or with a head, is cut off', async () => {
  for (const beginning of [
    [],
    [h2.PREFACE.subarray(0, 10)],
    [HELLO, frame(h2.HEADERS, 0, 1, get())],
  ]) {
    const talk = http2Talker(never)
    await talk.say(...beginning)
    talk.session.tick(performance.now() + limits.HEAD_TIMEOUT - 2000)
    assert.ok(!talk.isOver)
    talk.session.tick(performance.now() + limits.HEAD_TIMEOUT + 1)
    assert.ok(talk.isOver)
  }
})

test('whoever asks for nothing is bidden farewell; whoever waits is not', async () => {
  const idle = http2Talker(echo(HEAD))
  const waits = http2Talker(never)
  for (const talk of [idle, waits]) {
    await talk.say(HELLO, request(1))
    talk.session.tick(performance.now() + limits.IDLE_TIMEOUT + 1)
    await talk.say()
  }
  assert.equal(goAway(framesOf(idle.socket.bytes)), NO_ERROR)
  assert.equal(goAway(framesOf(waits.socket.bytes)), undefined)
})

test('everyone is told when the connection goes, once', async () => {
  const told: string[] = []
  const talk = http2Talker((stream) => {
    stream.receiver = {
      data: never,
      end: () => told.push('end'),
      closed: () => told.push(stream.head.target),
    }
    if (stream.head.target === '/open') stream.open(HEAD)
  })
  await talk.say(HELLO, request(1, get('/a')), request(3, get('/open')), request(5, get('/reset')))
  await talk.say(frame(h2.RST_STREAM, 0, 5, uint32(8)))
  talk.session.closed()
  talk.session.closed()
  assert.deepEqual(told, ['/reset', '/a', '/open'])
})

test('an answer that goes on is sent as it comes, and its end told', async () => {
  let ends = 0
  const talk = http2Talker((stream) => {
    stream.receiver = { data: never, end: never, closed: () => ends++ }
    stream.open(HEAD)
  })
  await talk.say(HELLO, request(1))
  const [stream] = talk.streams
  stream?.write('one\n')
  stream?.write('two\n')
  await talk.say()
  assert.equal(ends, 0)
  stream?.end()
  await talk.say()
  const data = framesOf(talk.socket.bytes).filter(({ type }) => type === h2.DATA)
  assert.deepEqual(
    data.map(({ payload, flags }) => [payload.toString(), flags]),
    [
      ['one\n', 0],
      ['two\n', 0],
      ['', 1],
    ],
  )
  assert.equal(ends, 1)
  assert.ok(stream?.isGone)
})
