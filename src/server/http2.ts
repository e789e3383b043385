/** HTTP/2 by Node's classes: the only file that knows them. */

import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'

import type { Reply } from '../api/route.ts'
import type { Follower } from '../telemetry/stream.ts'
import { HEADER_LIMIT, STREAM_LIMIT } from '../wire/limits.ts'
import type { Connection } from './connection.ts'
import { Exchange, type Events, FOLLOWER_BACKLOG, lengthOf, nextOf, valuesOf } from './exchange.ts'
import type { State } from './state.ts'

const FLAG_END_STREAM = 0x1

export interface Http2Options {
  /** Milliseconds for which a session may do nothing. */
  readonly idle: number
  /** Whether it does something just now. */
  readonly isBusy: () => boolean
  /** A request has begun. @param rawHeaders names and values in turn: in `headers`, those that came twice are one. */
  readonly onStream: (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    rawHeaders: readonly string[],
  ) => void
}

/** Speaks HTTP/2 on a socket. The session ends when its socket does, or when it has been idle for too long. */
export function serveHttp2(socket: TLSSocket, options: Http2Options): ServerHttp2Session {
  const { idle, isBusy, onStream } = options
  const session = performServerHandshake(socket, {
    settings: {
      maxConcurrentStreams: STREAM_LIMIT,
      maxHeaderListSize: HEADER_LIMIT,
      enablePush: false,
    },
  })
  // Not session.setTimeout(): its timer would keep a session that has ended in memory until it fires.
  const timer = setTimeout(() => (isBusy() ? timer.refresh() : session.destroy()), idle).unref()
  const wake = (): void => void timer.refresh()
  const begin: Http2Options['onStream'] = (stream, headers, flags, rawHeaders) => {
    wake()
    stream.on('close', wake)
    // Node applies our limit once the client has confirmed our settings; requests may come before.
    if (session.pendingSettingsAck && sizeOf(headers) > HEADER_LIMIT) {
      stream.on('error', ignore)
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    } else onStream(stream, headers, flags, rawHeaders)
  }
  session.on('stream', begin)
  session.on('ping', wake)
  session.on('close', () => clearTimeout(timer))
  // What goes wrong on a connection ends that connection; there is nobody to tell.
  session.on('error', ignore)
  return session
}

/** Tells the client that nothing of its request was looked at, so that it may ask again elsewhere. */
export function refuseStream(stream: ServerHttp2Stream): void {
  stream.on('error', ignore)
  stream.close(constants.NGHTTP2_REFUSED_STREAM)
}

/** As RFC 9113, 6.5.2 counts it. */
function sizeOf(headers: IncomingHttpHeaders): number {
  let size = 0
  for (const name in headers) size += name.length + String(headers[name]).length + 32
  return size
}

export class Http2Exchange extends Exchange {
  readonly hasNoBody: boolean
  readonly #stream: ServerHttp2Stream
  readonly #rawHeaders: readonly string[]
  readonly #isHeadOnly: boolean

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    rawHeaders: readonly string[],
    connection: Connection,
    state: State,
    events: Events,
  ) {
    const announced = lengthOf(headers['content-length'])
    super(headers[':method'] ?? '', headers[':path'] ?? '', announced, connection, state, events)
    this.#stream = stream
    this.#rawHeaders = rawHeaders
    this.#isHeadOnly = (flags & FLAG_END_STREAM) !== 0
    this.hasNoBody = this.#isHeadOnly || this.announced === 0
    stream.on('error', ignore)
    stream.on('close', () => this.abort())
  }

  override headerValues(name: string): readonly string[] {
    return valuesOf(this.#rawHeaders, name)
  }

  send({ status, type, body, headers }: Reply): void {
    const stream = this.#stream
    // respond() throws once the client has reset the stream.
    if (stream.destroyed || stream.closed) return
    const fields: OutgoingHttpHeaders = {
      ':status': status,
      'content-length': body === undefined ? 0 : Buffer.byteLength(body),
    }
    if (type !== undefined) fields['content-type'] = type
    for (const name in headers) fields[name] = headers[name]
    if (body === undefined || this.method === 'HEAD') stream.respond(fields, { endStream: true })
    else {
      stream.respond(fields)
      stream.end(body)
    }
    if (!this.#isHeadOnly && !this.hasWholeBody) {
      this.drop(stream, () => stream.close(constants.NGHTTP2_NO_ERROR))
    }
  }

  open({ status, type, headers }: Reply, onEnd: () => void): Follower {
    const stream = this.#stream
    stream.on('close', onEnd)
    if (stream.destroyed || stream.closed) return { write: () => false, end: onEnd }
    stream.respond({ ':status': status, 'content-type': type, ...headers })
    stream.resume()
    return {
      write: (line) => stream.write(line) || stream.writableLength < FOLLOWER_BACKLOG,
      end: () => {
        if (stream.writableLength < FOLLOWER_BACKLOG) stream.end()
        else stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
      },
    }
  }

  async drained(): Promise<void> {
    const stream = this.#stream
    if (stream.writableNeedDrain && !stream.destroyed) await nextOf(stream, 'drain', 'close')
  }

  cut(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  protected startReceiving(): void {
    this.#stream.on('data', (chunk: Buffer) => this.take(chunk))
    if (this.announced === undefined) this.#stream.on('end', () => this.complete())
  }
}

function ignore(): void {}
