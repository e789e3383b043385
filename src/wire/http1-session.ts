/**
 * One HTTP/1.1 connection of a client (RFC 9112): one request after the other, answered in their order. No upgrade,
 * no CONNECT. Nothing is read as a request before the one ahead of it is answered and its body gone.
 */

import { coarseNow } from './clock.ts'
import { ChunkedBody } from './http1-chunks.ts'
import { canBeHead, type Http1Head, readHead } from './http1-head.ts'
import { Http1Stream } from './http1-stream.ts'
import * as limits from './limits.ts'
import type { Socket } from './output.ts'
import { Protocol } from './protocol.ts'
import type { Serve } from './request.ts'
import { statusText } from './status.ts'

const NOTHING = Buffer.alloc(0)
const [CR, LF] = [13, 10]

export class Http1Session extends Protocol {
  readonly #serve: Serve
  /** What was read and is no part of the request that is being served. */
  #input: Buffer = NOTHING
  /** How far it was searched for the end of a head. */
  #searched = 0
  /** The request that is being received or answered. */
  #stream: Http1Stream | undefined
  #chunks: ChunkedBody | undefined
  /** Bytes of a body of known length that are still to come. */
  #left = 0
  #dropped = 0
  #isDraining = false
  /** An answer may be given while the request is being read: what comes next is for the loop that reads. */
  #isAdvancing = false
  /** When the head, or the request, must be there. */
  #headUntil = performance.now() + limits.HEAD_TIMEOUT
  #requestUntil = Number.POSITIVE_INFINITY
  /** The last head and what it says: to compare it costs less than to look it up. */
  #lastText = ''
  #lastHead: Http1Head | undefined

  constructor(socket: Socket, serve: Serve) {
    super(socket)
    this.#serve = serve
  }

  protected override get isLeaving(): boolean {
    return this.#isDraining
  }

  protected override get isIdle(): boolean {
    return this.#stream === undefined
  }

  protected override get isAwaited(): boolean {
    return this.output.backlog > 0 && this.#stream?.isOpen !== true
  }

  protected override get mustWait(): boolean {
    return super.mustWait || this.#input.length > limits.PIPELINE_LIMIT
  }

  protected override read(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk])
    this.#advance()
  }

  protected override proceed(): void {
    this.#stream?.taken()
    this.#advance()
  }

  override drain(): void {
    this.#isDraining = true
    if (this.#stream === undefined) this.end()
  }

  override closed(): void {
    this.isOver = true
    const stream = this.#stream
    this.#stream = undefined
    stream?.gone()
  }

  protected override check(now: number): void {
    const stream = this.#stream
    if (stream === undefined) {
      if (now >= this.#headUntil) this.#refuse(408)
    } else if (!stream.isReceived && now >= this.#requestUntil) this.#failBody(stream, 408)
  }

  /** Sends bytes of an answer. */
  send(text: string, encoding: 'latin1' | 'utf8', length: number): void {
    const at = this.output.reserve(length)
    this.output.buffer.write(text, at, length, encoding)
    this.output.length = at + length
  }

  /** The same of bytes, which the caller leaves as they are. */
  sendBytes(bytes: Buffer): void {
    this.output.append(bytes)
  }

  get backlog(): number {
    return this.output.backlog
  }

  /** The answer is given, so what still comes of the body is dropped. */
  answered(stream: Http1Stream): void {
    if (stream.isReceived) return this.#next(stream)
    if (!stream.keepsAlive) return this.end()
    this.#dropped = 0
    this.#requestUntil = performance.now() + limits.DROP_TIME
    this.#advance()
  }

  /** Somebody wants the body. */
  wanted(): void {
    this.#advance()
    this.throttle()
  }

  /** Ends the connection without an answer: what was asked for may be asked again on another one. */
  refuse(): void {
    this.closed()
    this.end()
  }

  /** Ends the connection in the middle of an answer. */
  cut(): void {
    this.destroy()
  }

  /** Answers what is no request, and ends the connection. */
  #refuse(status: number): void {
    const text = `HTTP/1.1 ${status} ${statusText(status)}\r\nConnection: close\r\n\r\n`
    this.send(text, 'latin1', text.length)
    this.closed()
    this.end()
  }

  /** As far as what was read allows: requests one by one, each after the answer to the one before. */
  #advance(): void {
    if (this.#isAdvancing) return
    this.#isAdvancing = true
    while (!this.isOver && this.#input.length > 0) {
      const stream = this.#stream
      if (stream === undefined) {
        if (this.output.isFull || !this.#readHead()) break
      } else if (stream.isReceived || !stream.takesBody) break
      else this.#readBody(stream)
    }
    this.#isAdvancing = false
  }

  /** @returns whether there was a whole one */
  #readHead(): boolean {
    const start = this.#skipEmptyLines()
    const input = this.#input
    const end = input.indexOf('\r\n\r\n', Math.max(start, this.#searched - 3))
    const length = (end < 0 ? input.length : end) - start
    if (length > limits.HEADER_LIMIT) return this.#refuseHead(431)
    if (end < 0) return this.#awaitHead(start)
    const text = input.toString('latin1', start, end)
    const head = text === this.#lastText ? this.#lastHead : readHead(text)
    if (head === undefined || typeof head === 'number') return this.#refuseHead(head ?? 400)
    this.#lastText = text
    this.#lastHead = head
    this.#input = end + 4 === input.length ? NOTHING : input.subarray(end + 4)
    this.#searched = 0
    this.#begin(head)
    return true
  }

  /** Refuses at once what can become none, so that nobody waits for its end. */
  #awaitHead(start: number): boolean {
    const input = this.#input
    for (let at = Math.max(start, this.#searched); at < input.length; at++) {
      if (input[at] === LF && input[at - 1] !== CR) return this.#refuseHead(400)
    }
    if (this.#searched === 0) {
      const lineEnd = input.indexOf(LF, start)
      const line = input.toString('latin1', start, lineEnd < 0 ? input.length : lineEnd)
      if (!canBeHead(line)) return this.#refuseHead(400)
      this.#headUntil = performance.now() + limits.HEAD_TIMEOUT
    }
    this.#searched = input.length
    return false
  }

  #refuseHead(status: number): false {
    this.#refuse(status)
    return false
  }

  /** Some clients send one after a body (RFC 9112, 2.2). */
  #skipEmptyLines(): number {
    const input = this.#input
    return input[0] === CR && input[1] === LF ? 2 : 0
  }

  #begin(head: Http1Head): void {
    const { request, isChunked } = head
    this.#left = request.contentLength ?? 0
    this.#chunks = isChunked ? new ChunkedBody() : undefined
    const hasNoBody = !isChunked && this.#left === 0
    const stream = new Http1Stream(this, head, hasNoBody)
    this.#stream = stream
    if (!hasNoBody) this.#requestUntil = coarseNow() + limits.REQUEST_TIMEOUT
    this.#serve(stream)
  }

  #readBody(stream: Http1Stream): void {
    const input = this.#input
    let end: number
    if (this.#chunks === undefined) {
      end = Math.min(input.length, this.#left)
      this.#left -= end
      stream.isReceived = this.#left === 0
      this.#take(stream, end === input.length ? input : input.subarray(0, end))
    } else {
      end = this.#chunks.read(input, 0, (chunk) => this.#take(stream, chunk))
      if (end < 0) return this.#failBody(stream, 400)
      stream.isReceived = this.#chunks.isComplete
    }
    if (this.isOver) return
    this.#input = end === input.length ? NOTHING : input.subarray(end)
    if (!stream.isReceived) return
    if (stream.isAnswered) this.#next(stream)
    else stream.receiver?.end()
  }

  #take(stream: Http1Stream, chunk: Buffer): void {
    if (!stream.isAnswered) return stream.receiver?.data(chunk)
    this.#dropped += chunk.length
    if (this.#dropped > limits.DROP_LIMIT) this.destroy()
  }

  /** Whoever waits for the body is told, and the client, unless it has its answer. */
  #failBody(stream: Http1Stream, status: number): void {
    if (stream.isAnswered || stream.isOpen) this.destroy()
    else this.#refuse(status)
  }

  /** A request is received and answered. */
  #next(stream: Http1Stream): void {
    if (this.#stream !== stream) return
    this.#stream = undefined
    if (stream.isLast && this.#input.length === 0) return this.endSoon()
    if (!stream.keepsAlive || this.#isDraining) return this.end()
    this.#headUntil = Number.POSITIVE_INFINITY
    this.#searched = 0
    this.#advance()
    this.throttle()
  }
}
