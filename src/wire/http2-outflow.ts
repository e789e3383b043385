/** What a client lets us send on one HTTP/2 connection (RFC 9113, 6.9), and answers that wait for it. */

import { type AnswerHead, writeDate, writeLength } from './answer.ts'
import { HpackEncoder } from './hpack-encoder.ts'
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  FRAME_HEAD,
  HEADERS,
  LARGEST,
  writeFrameHead,
} from './http2-frames.ts'
import type { Http2Stream } from './http2-stream.ts'
import { FRAME_LIMIT, HEADER_TABLE_SIZE, PENDING_LIMIT, STREAM_WINDOW } from './limits.ts'
import type { Output } from './output.ts'

export class Outflow {
  readonly encoder = new HpackEncoder(HEADER_TABLE_SIZE)
  /** What a new stream may be sent. */
  initialWindow = STREAM_WINDOW
  /** Streams with something to send. */
  readonly #waiting = new Set<Http2Stream>()
  readonly #output: Output
  #window = STREAM_WINDOW
  #pending = 0

  constructor(output: Output) {
    this.#output = output
  }

  /** So much waits that no further request should be taken. */
  get isFull(): boolean {
    return this.#pending > PENDING_LIMIT
  }

  /** An answer waits for the client, all of it. */
  get holdsAnswers(): boolean {
    for (const stream of this.#waiting) if (stream.endsAfterPending) return true
    return false
  }

  /** The client takes more on the connection. False when it is more than there is. */
  widen(length: number): boolean {
    this.#window += length
    return this.#window <= LARGEST
  }

  /** A header block, and nothing else. @param length of the body; undefined when it is not known */
  sendHead(stream: Http2Stream, head: AnswerHead, length: number | undefined, ends: boolean): void {
    const at = this.#output.reserve(FRAME_HEAD + head.blockLength)
    const { buffer } = this.#output
    let end = this.encoder.begin(buffer, at + FRAME_HEAD)
    const { fields } = head
    for (let i = 0; i < fields.length; i++) {
      end = this.encoder.write(fields[i] as (typeof fields)[number], buffer, end)
      // Where Node's classes have it.
      if (i === 0 && length !== undefined) end = writeLength(buffer, end, length)
    }
    end = writeDate(buffer, end)
    const flags = ends ? END_HEADERS | END_STREAM : END_HEADERS
    writeFrameHead(buffer, at, end - at - FRAME_HEAD, HEADERS, flags, stream.id)
    this.#output.length = end
  }

  /** A whole body, whose end is the stream's; at once if the client takes it. @param length bytes of it */
  sendBody(stream: Http2Stream, body: string, length: number): void {
    // What has as many bytes as characters is ASCII, which is written faster as latin1.
    const encoding = length === body.length ? 'latin1' : 'utf8'
    const fits = length <= FRAME_LIMIT && length <= this.#window && length <= stream.sendWindow
    if (!fits || this.#output.isFull) return this.send(stream, Buffer.from(body, encoding), true)
    const at = this.#output.reserve(FRAME_HEAD + length)
    writeFrameHead(this.#output.buffer, at, length, DATA, END_STREAM, stream.id)
    this.#output.buffer.write(body, at + FRAME_HEAD, length, encoding)
    this.#output.length = at + FRAME_HEAD + length
    this.#window -= length
    stream.sendWindow -= length
    stream.sent()
  }

  /** Part of a body. @param ends it is the last */
  send(stream: Http2Stream, bytes: Buffer, ends: boolean): void {
    if (bytes.length > 0) stream.pending.push(bytes)
    stream.pendingLength += bytes.length
    this.#pending += bytes.length
    stream.endsAfterPending = ends
    this.#waiting.add(stream)
    this.proceed()
  }

  /** The stream has ended. */
  forget(stream: Http2Stream): void {
    if (!this.#waiting.delete(stream)) return
    this.#pending -= stream.pendingLength
    stream.pending.length = 0
    stream.pendingLength = 0
  }

  /** Sends what waits, a frame of each stream in turn, as far as the client takes it. */
  proceed(): void {
    for (let isMoving = true; isMoving && this.#waiting.size > 0;) {
      isMoving = false
      for (const stream of this.#waiting) {
        if (this.#output.isFull) return
        if (this.#sendFrame(stream)) isMoving = true
      }
    }
  }

  #sendFrame(stream: Http2Stream): boolean {
    const { pending } = stream
    const [chunk] = pending
    const room = Math.min(FRAME_LIMIT, this.#window, stream.sendWindow)
    const length = Math.min(chunk?.length ?? 0, room)
    if (chunk !== undefined && length <= 0) return false
    const isLast = pending.length === 0 || (pending.length === 1 && length === chunk?.length)
    const ends = isLast && stream.endsAfterPending
    if (chunk !== undefined || ends) {
      const at = this.#output.reserve(FRAME_HEAD + length)
      writeFrameHead(this.#output.buffer, at, length, DATA, ends ? END_STREAM : 0, stream.id)
      chunk?.copy(this.#output.buffer, at + FRAME_HEAD, 0, length)
      this.#output.length = at + FRAME_HEAD + length
    }
    if (length === chunk?.length) pending.shift()
    else if (chunk !== undefined) pending[0] = chunk.subarray(length)
    this.#window -= length
    stream.sendWindow -= length
    stream.pendingLength -= length
    this.#pending -= length
    if (isLast) this.#waiting.delete(stream)
    if (ends) stream.sent()
    else if (isLast) stream.taken()
    return true
  }
}
