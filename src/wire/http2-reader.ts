/** Bytes of an HTTP/2 connection, cut into frames (RFC 9113, 3.4 and 4.1), however they were cut on the way. */

import { FRAME_LIMIT } from './limits.ts'
import {
  FRAME_HEAD,
  FRAME_SIZE_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
  readUint32,
} from './http2-frames.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
const NOTHING = Buffer.alloc(0)

export interface FrameSink {
  /** The payload is `data` from `start` to `end`, and stays as it is. @returns whether to go on */
  frame(
    type: number,
    flags: number,
    stream: number,
    data: Buffer,
    start: number,
    end: number,
  ): boolean
}

export class FrameReader {
  readonly #sink: FrameSink
  #prefaceRead = 0
  /** A frame of which not all is there, or not even its head. */
  #partial: Buffer = NOTHING
  #have = 0

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  get hasPreface(): boolean {
    return this.#prefaceRead === PREFACE.length
  }

  /** @returns NO_ERROR, or the error that ends the connection */
  read(chunk: Buffer): number {
    let at = 0
    if (!this.hasPreface) {
      at = this.#readPreface(chunk)
      if (at < 0) return PROTOCOL_ERROR
    }
    while (this.#have > 0) {
      const size = this.#partialSize()
      if (size < 0) return FRAME_SIZE_ERROR
      if (this.#have < size) {
        if (at === chunk.length) return NO_ERROR
        const end = Math.min(chunk.length, at + size - this.#have)
        chunk.copy(this.#partial, this.#have, at, end)
        this.#have += end - at
        at = end
        continue
      }
      const frame = this.#partial
      this.#partial = NOTHING
      this.#have = 0
      if (!this.#emit(frame, 0, size)) return NO_ERROR
    }
    while (chunk.length - at >= FRAME_HEAD) {
      const length = payloadLength(chunk, at)
      if (length > FRAME_LIMIT) return FRAME_SIZE_ERROR
      const end = at + FRAME_HEAD + length
      if (end > chunk.length) break
      if (!this.#emit(chunk, at, end)) return NO_ERROR
      at = end
    }
    if (at < chunk.length) this.#keep(chunk, at)
    return NO_ERROR
  }

  #readPreface(chunk: Buffer): number {
    const length = Math.min(chunk.length, PREFACE.length - this.#prefaceRead)
    for (let i = 0; i < length; i++) {
      if (chunk[i] !== PREFACE[this.#prefaceRead + i]) return -1
    }
    this.#prefaceRead += length
    return length
  }

  /** Bytes of the partial frame that must be there to go on; -1 when it is too large. Makes room for them. */
  #partialSize(): number {
    if (this.#have < FRAME_HEAD) return FRAME_HEAD
    const length = payloadLength(this.#partial, 0)
    if (length > FRAME_LIMIT) return -1
    const size = FRAME_HEAD + length
    if (this.#partial.length < size) {
      const whole = Buffer.allocUnsafeSlow(size)
      this.#partial.copy(whole, 0, 0, this.#have)
      this.#partial = whole
    }
    return size
  }

  #keep(chunk: Buffer, at: number): void {
    this.#have = chunk.length - at
    this.#partial = Buffer.allocUnsafeSlow(Math.max(FRAME_HEAD, this.#have))
    chunk.copy(this.#partial, 0, at)
  }

  #emit(data: Buffer, at: number, end: number): boolean {
    const stream = readUint32(data, at + 5) & 0x7fffffff
    const [type, flags] = [data[at + 3] as number, data[at + 4] as number]
    return this.#sink.frame(type, flags, stream, data, at + FRAME_HEAD, end)
  }
}

function payloadLength(data: Buffer, at: number): number {
  return ((data[at] as number) << 16) | ((data[at + 1] as number) << 8) | (data[at + 2] as number)
}
