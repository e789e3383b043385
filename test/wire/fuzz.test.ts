/**
 * Inputs nobody thought of. Whatever comes: no exception, nothing left behind, bounded output, and the same outcome
 * however the bytes were cut on the way. What we take as HTTP/1.1, Node's parser must read in the same way: requests
 * are smuggled through what two programs read differently.
 */

import assert from 'node:assert/strict'
import { createServer, METHODS } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'node:test'

import { AnswerHead } from '#src/wire/answer.js'
import { ChunkedBody } from '#src/wire/http1-chunks.js'
import { HpackDecoder } from '#src/wire/hpack-decoder.js'
import { STREAM_LIMIT } from '#src/wire/limits.js'
import type { Stream } from '#src/wire/request.js'
import {
  frame,
  framesOf,
  http1Talker,
  http2Talker,
  PREFACE,
  type Talker,
} from '../support/frames.ts'
import { fuzz, mutate, pieces, type Random } from '../support/fuzz.ts'

const HEAD = new AnswerHead({ status: 200, type: 'text/plain', headers: {}, repeats: true })

/** Serves requests in several ways, by their targets, and writes down what it saw. */
class Witness {
  readonly seen: string[] = []
  active = 0
  most = 0

  readonly serve = (stream: Stream): void => {
    const { method, target } = stream.head
    let body = ''
    let isOver = false
    this.most = Math.max(this.most, ++this.active)
    const over = (): void => {
      assert.ok(!isOver, 'told twice')
      isOver = true
      this.active--
    }
    const answer = (): void => {
      this.seen.push(`${method} ${target} ${body}`)
      over()
      stream.respond(HEAD, `${body.length}`, false)
    }
    if (target.includes('refuse')) return answer()
    stream.receiver = {
      data: (chunk) => (body += chunk.toString('latin1')),
      end: answer,
      closed: over,
    }
    if (target.includes('open')) {
      this.seen.push(`${method} ${target}`)
      stream.open(HEAD)
      stream.write('line\n')
      return stream.end()
    }
    if (stream.hasNoBody) return answer()
    stream.accept(100_000)
  }
}

async function listen(
  make: (serve: (stream: Stream) => void) => Talker,
  chunks: readonly Buffer[],
): Promise<{ talk: Talker; witness: Witness }> {
  const witness = new Witness()
  const talk = make(witness.serve)
  await talk.say(...chunks)
  const { most } = witness
  talk.session.closed()
  assert.equal(witness.active, 0, 'a request was left behind')
  assert.ok(most <= STREAM_LIMIT)
  return { talk, witness }
}

/** Frames in another order, twice, not at all, or with another type, flags, stream or payload. */
function mutateFrames(random: Random, input: Buffer, others: readonly Buffer[]): Buffer {
  if (random.chance(3)) return mutate(random, input, others)
  const framesIn = (bytes: Buffer) => framesOf(bytes.subarray(PREFACE.length))
  let frames: ReturnType<typeof framesOf>
  let more: ReturnType<typeof framesOf>
  try {
    frames = framesIn(input)
    more = framesIn(random.pick(others))
  } catch {
    return mutate(random, input, others)
  }
  for (let changes = 1 + random.below(5); changes > 0; changes--) {
    const at = random.below(frames.length + 1)
    const one = frames[at]
    switch (random.below(7)) {
      case 0:
        frames.splice(at, 1)
        break
      case 1:
        if (one !== undefined) frames.splice(random.below(frames.length), 0, one)
        break
      case 2:
        frames.splice(at, 0, ...more.slice(random.below(more.length + 1)).slice(0, 4))
        break
      case 3:
        if (one !== undefined) frames[at] = { ...one, flags: one.flags ^ (1 << random.below(8)) }
        break
      case 4:
        if (one !== undefined) frames[at] = { ...one, stream: random.below(12) }
        break
      case 5:
        if (one !== undefined) frames[at] = { ...one, type: random.below(11) }
        break
      default:
        if (one !== undefined) frames[at] = { ...one, payload: mutate(random, one.payload, others) }
    }
  }
  const rest = frames.map(({ type, flags, stream, payload }) => frame(type, flags, stream, payload))
  return Buffer.concat([PREFACE, ...rest])
}

test('HTTP/2: any frames', async () => {
  await fuzz('http2', mutateFrames, async (input, random) => {
    const whole = await listen(http2Talker, [input])
    const cut = await listen(http2Talker, pieces(random, input))
    assert.deepEqual(cut.witness.seen, whole.witness.seen)
    const [a, b] = [framesOf(whole.talk.socket.bytes), framesOf(cut.talk.socket.bytes)]
    // The date may change between the two.
    const outline = (frames: typeof a) =>
      frames.map(({ type, flags, stream }) => [type, flags, stream])
    assert.deepEqual(outline(b), outline(a))
    assert.ok(whole.talk.socket.bytes.length <= 1000 + 20 * input.length)
  })
})

test('HTTP/1.1: any requests', async () => {
  await fuzz('http1', mutate, async (input, random) => {
    const whole = await listen(http1Talker, [input])
    const cut = await listen(http1Talker, pieces(random, input))
    assert.deepEqual(cut.witness.seen, whole.witness.seen)
    const statuses = ({ talk }: typeof whole) =>
      [...talk.socket.bytes.toString('latin1').matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(
        ([, status]) => status,
      )
    // What can become no head is refused at once, or at its end, as the bytes come.
    const [a, b] = [statuses(cut), statuses(whole)]
    const length = Math.min(a.length, b.length)
    assert.ok(Math.abs(a.length - b.length) <= 1)
    assert.deepEqual(a.slice(0, length), b.slice(0, length))
    assert.ok(whole.talk.socket.bytes.length <= 1000 + 20 * input.length)
  })
})

/** What Node's parser makes of bytes: the requests that are whole, up to so many. */
async function readByNode(input: Buffer, count: number): Promise<string[]> {
  const seen: string[] = []
  const server = createServer(
    { requireHostHeader: false, keepAliveTimeout: 0 },
    (request, response) => {
      let body = ''
      request.setEncoding('latin1')
      request.on('data', (chunk) => (body += chunk))
      request.on('end', () => {
        seen.push(`${request.method} ${request.url} ${body}`)
        response.end()
      })
      request.on('error', () => {})
    },
  )
  const socket = new Duplex({
    read() {},
    write: (_chunk, _encoding, done) => done(),
  })
  socket.on('error', () => {})
  server.emit('connection', socket)
  // Byte by byte: what is wrong further on must not take away what came before.
  for (let at = 0; at < input.length && seen.length < count; at++) {
    socket.push(input.subarray(at, at + 1))
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (let turn = 0; seen.length < count && turn < 10 + 3 * count; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.destroy()
  server.close()
  return seen
}

test('HTTP/1.1: what we take, Node’s parser reads in the same way', async () => {
  await fuzz('http1', mutate, async (input, random) => {
    // A third of the inputs, and no long ones: this takes long.
    if (!random.chance(3) || input.length > 600) return
    const { witness } = await listen(http1Talker, [input])
    const ours = witness.seen.filter((line) => METHODS.includes(line.slice(0, line.indexOf(' '))))
    // Node knows fewer methods, and speaks no more after an upgrade or CONNECT.
    if (ours.length !== witness.seen.length || /upgrade|CONNECT/i.test(input.toString('latin1')))
      return
    // Nor does it know tabs around a length or coding, which RFC 9110, 5.6.3 allows.
    if (/(?:length|encoding):[^\r\n]*\t/i.test(input.toString('latin1'))) return
    // Of those that we answer at once, or for long, we do not look at the body.
    if (ours.some((line) => /refuse|open/.test(line))) return
    const theirs = await readByNode(input, ours.length)
    assert.deepEqual(theirs.slice(0, ours.length), ours)
  })
})

test('HPACK: any blocks', async () => {
  await fuzz('hpack', mutate, (input, random) => {
    const decoder = new HpackDecoder(4096, 16_384)
    const [a, b] = [input.subarray(0, random.below(input.length + 1)), input]
    for (const block of [a, b]) {
      const fields = decoder.decode(block, 0, block.length)
      if (fields === undefined) return
      assert.ok(fields.reduce((sum, { size }) => sum + size, 0) <= 16_384)
    }
  })
})

test('chunked bodies: any chunks', async () => {
  await fuzz('chunks', mutate, (input, random) => {
    const read = (parts: readonly Buffer[]): string => {
      const chunks = new ChunkedBody()
      let [body, length] = ['', 0]
      for (const part of parts) {
        const end = chunks.read(part, 0, (chunk) => (body += chunk.toString('latin1')))
        // How much of a body was read when it turned out to be none does not matter.
        if (end < 0) return 'refused'
        length += end
        if (chunks.isComplete) return `${length} ${body}`
      }
      return `incomplete ${body}`
    }
    assert.equal(read(pieces(random, input)), read([input]))
  })
})
