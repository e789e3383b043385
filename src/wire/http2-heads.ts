/** The heads of requests and trailers: HEADERS and CONTINUATION frames (RFC 9113, 6.2 and 6.10), put together and decoded. */

import { coarseNow } from './clock.ts'
import type { Field } from './field.ts'
import { HpackDecoder } from './hpack-decoder.ts'
import {
  COMPRESSION_ERROR,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  HAS_PRIORITY,
  LARGEST,
  PADDED,
  PROTOCOL_ERROR,
  readUint32,
} from './http2-frames.ts'
import * as limits from './limits.ts'

/** What comes before the fields. */
interface Start {
  readonly id: number
  /** No body follows. */
  readonly ends: boolean
  /** By its priority, which is of no other interest. */
  readonly dependsOnItself: boolean
}

export interface Head extends Start {
  readonly fields: readonly Field[]
  /** The fields are not all there: they were too many. */
  readonly isTooLarge: boolean
}

export class HeadReader {
  readonly #decoder = new HpackDecoder(limits.HEADER_TABLE_SIZE, limits.HEADER_LIMIT)
  /** A head of which frames are still to come. */
  #start: Start | undefined
  #bytes: Buffer = Buffer.alloc(0)
  #frames = 0
  #since = 0

  /** No other frame may come before its end. */
  get isInHead(): boolean {
    return this.#start !== undefined
  }

  isLate(now: number): boolean {
    return this.isInHead && now - this.#since >= limits.HEAD_TIMEOUT
  }

  /** A HEADERS frame. @returns the head; undefined when it goes on; the error that ends the connection */
  begin(
    flags: number,
    id: number,
    data: Buffer,
    at: number,
    end: number,
  ): Head | number | undefined {
    if (id === 0 || id % 2 === 0) return PROTOCOL_ERROR
    let [start, stop] = [at, end]
    if ((flags & PADDED) !== 0) {
      if (stop === start) return PROTOCOL_ERROR
      stop -= data[start++] as number
    }
    let dependsOnItself = false
    if ((flags & HAS_PRIORITY) !== 0) {
      if (stop - start < 5) return PROTOCOL_ERROR
      dependsOnItself = (readUint32(data, start) & LARGEST) === id
      start += 5
    }
    if (stop < start) return PROTOCOL_ERROR
    const head = { id, ends: (flags & END_STREAM) !== 0, dependsOnItself }
    if ((flags & END_HEADERS) !== 0) return this.#decode(head, data, start, stop)
    this.#start = head
    this.#bytes = Buffer.from(data.subarray(start, stop))
    this.#frames = 0
    this.#since = coarseNow()
    return undefined
  }

  /** A CONTINUATION frame. @returns as `begin` */
  proceed(
    flags: number,
    id: number,
    data: Buffer,
    at: number,
    end: number,
  ): Head | number | undefined {
    const start = this.#start
    if (start?.id !== id) return PROTOCOL_ERROR
    const isTooLong =
      ++this.#frames > limits.CONTINUATION_LIMIT ||
      this.#bytes.length + end - at > limits.HEADER_BLOCK_LIMIT
    if (isTooLong) return ENHANCE_YOUR_CALM
    this.#bytes = Buffer.concat([this.#bytes, data.subarray(at, end)])
    if ((flags & END_HEADERS) === 0) return undefined
    this.#start = undefined
    return this.#decode(start, this.#bytes, 0, this.#bytes.length)
  }

  /** Also of a head that is not wanted: the tables of both sides must stay the same. */
  #decode(
    { id, ends, dependsOnItself }: Start,
    data: Buffer,
    from: number,
    to: number,
  ): Head | number {
    const fields = this.#decoder.decode(data, from, to)
    if (fields === undefined) return COMPRESSION_ERROR
    return { id, ends, dependsOnItself, fields, isTooLarge: this.#decoder.isTooLarge }
  }
}
