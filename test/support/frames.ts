/** HTTP/2 by hand: frames as bytes, and a session of ours without a socket. */

import type { AnswerHead } from '#src/wire/answer.js'
import { Http1Session } from '#src/wire/http1-session.js'
import { Http2Session } from '#src/wire/http2-session.js'
import type { Socket } from '#src/wire/output.js'
import type { Protocol } from '#src/wire/protocol.js'
import type { Serve, Stream } from '#src/wire/request.js'

export const DATA = 0
export const HEADERS = 1
export const PRIORITY = 2
export const RST_STREAM = 3
export const SETTINGS = 4
export const PUSH_PROMISE = 5
export const PING = 6
export const GOAWAY = 7
export const WINDOW_UPDATE = 8
export const CONTINUATION = 9
export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer | readonly number[] = [],
): Buffer {
  const body = Buffer.from(payload as number[])
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.of(0, id), uint32(value)])
}

/** What a client says first. */
export const HELLO = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)])

/** A field as a literal without a table, Huffman code or long strings. */
export function literal(name: string, value: string): Buffer {
  const length = (text: string): Buffer =>
    text.length < 127
      ? Buffer.of(text.length)
      : Buffer.of(127, ((text.length - 127) & 127) | 128, (text.length - 127) >> 7)
  return Buffer.concat([
    Buffer.of(0),
    length(name),
    Buffer.from(name, 'latin1'),
    length(value),
    Buffer.from(value, 'latin1'),
  ])
}

/** A header block. */
export function block(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => literal(name, value)))
}

/** GET over https. */
export function get(path = '/'): Buffer {
  return block([
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'localhost'],
  ])
}

/** The head of a request with a body. */
export function put(...more: (readonly [name: string, value: string])[]): Buffer {
  return block([
    [':method', 'PUT'],
    [':scheme', 'https'],
    [':path', '/'],
    [':authority', 'localhost'],
    ...more,
  ])
}

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** Whole frames; throws when bytes are left over. */
export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  let at = 0
  while (at < bytes.length) {
    const end = at + 9 + bytes.readUIntBE(at, 3)
    if (end > bytes.length) throw new Error('half a frame')
    frames.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    })
    at = end
  }
  return frames
}

/** A socket that remembers, and takes all or nothing. */
export class FakeSocket {
  readonly chunks: Buffer[] = []
  writableLength = 0
  destroyed = false
  hasEnded = false
  isPaused = false
  /** Does the client read? */
  isTaken = true

  write(chunk: Buffer): boolean {
    // A copy: whoever writes may use its buffer again once the socket has taken it.
    this.chunks.push(Buffer.from(chunk))
    if (!this.isTaken) this.writableLength += chunk.length
    return this.isTaken
  }

  end(): void {
    this.hasEnded = true
  }

  destroySoon(): void {
    if (this.writableLength === 0) this.destroy()
  }

  destroy(): void {
    this.destroyed = true
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

export interface Talker {
  readonly socket: FakeSocket
  readonly session: Protocol
  readonly streams: Stream[]
  /** Hands bytes over in one piece, and waits for what is sent at the end of the turn. */
  say(...bytes: readonly Buffer[]): Promise<void>
  /** Nothing is said any more, by either side. */
  readonly isOver: boolean
}

function talker(
  make: (socket: Socket, serve: Serve) => Protocol,
  serve: (stream: Stream) => void,
): Talker {
  const socket = new FakeSocket()
  const streams: Stream[] = []
  const session = make(socket as unknown as Socket, (stream) => {
    streams.push(stream)
    serve(stream)
  })
  return {
    socket,
    session,
    streams,
    say: async (...bytes) => {
      for (const chunk of bytes) session.receive(chunk)
      await new Promise((resolve) => setImmediate(resolve))
    },
    get isOver() {
      return socket.hasEnded || socket.destroyed
    },
  }
}

/** An HTTP/2 session of ours. @param serve told of each request */
export function http2Talker(serve: (stream: Stream) => void): Talker {
  return talker((socket, handle) => new Http2Session(socket, handle), serve)
}

/** An HTTP/1.1 session of ours. */
export function http1Talker(serve: (stream: Stream) => void): Talker {
  return talker((socket, handle) => new Http1Session(socket, handle), serve)
}

/** Answers every request at the end of its body, with the body. */
export function echo(head: AnswerHead): (stream: Stream) => void {
  return (stream) => {
    const chunks: Buffer[] = []
    const answer = (): void => stream.respond(head, Buffer.concat(chunks).toString('latin1'), false)
    if (stream.hasNoBody) return answer()
    stream.receiver = {
      data: (chunk) => chunks.push(Buffer.from(chunk)),
      end: answer,
      closed: () => {},
    }
    stream.accept(1_048_576)
  }
}
