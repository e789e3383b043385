/**
 * What a connection sends, gathered until the end of the event loop's turn: one write for all answers of a turn
 * costs a third of a write each.
 */

import type { Socket as NetSocket } from 'node:net'

import { SOCKET_LIMIT } from './limits.ts'

/** What the framing needs of a socket. */
export type Socket = Pick<
  NetSocket,
  'write' | 'end' | 'destroy' | 'pause' | 'resume' | 'writableLength' | 'destroyed'
>

const FIRST_SIZE = 8192
/** A larger buffer is not kept between turns. */
const KEPT_SIZE = 16_384
/** Beyond it, what is there is written and a new buffer begun. */
const LARGEST_SIZE = 65_536

export class Output {
  readonly #socket: Socket
  /** Where to write; changes with every `reserve`. */
  buffer: Buffer = Buffer.alloc(0)
  /** How much of it is written. */
  length = 0
  /** Bytes that were given to the socket. */
  written = 0
  /** What was given to the socket last: it may still be on its way. */
  #previous: Buffer | undefined
  #isDirty = false

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Bytes that the client has not taken yet. */
  get backlog(): number {
    return this.length + this.#socket.writableLength
  }

  /** Makes room for so many bytes. @returns where they begin; the caller moves `length` */
  reserve(size: number): number {
    if (!this.#isDirty) {
      this.#isDirty = true
      schedule(this)
    }
    if (this.length + size > this.buffer.length) this.#grow(size)
    return this.length
  }

  /** Sends what is there, and then bytes that the caller leaves as they are: without a copy of them. */
  append(bytes: Buffer): void {
    this.flush()
    this.written += bytes.length
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  /** Sends what is there. */
  flush(): void {
    this.#isDirty = false
    if (this.length === 0) return
    const socket = this.#socket
    const full = this.buffer
    const { length } = this
    // Without anything on its way, nobody looks at the buffer before the last one any more.
    const spare = socket.writableLength === 0 ? this.#previous : undefined
    this.buffer = spare !== undefined && spare.length <= KEPT_SIZE ? spare : NOTHING
    this.length = 0
    this.#previous = full
    this.written += length
    if (!socket.destroyed) socket.write(length === full.length ? full : full.subarray(0, length))
  }

  /** Nothing more should be read from a client that does not take what it asked for. */
  get isFull(): boolean {
    return this.backlog > SOCKET_LIMIT
  }

  /** Wipes and gives back what is not needed while nothing happens: answers hold secrets. */
  release(): void {
    if (this.backlog > 0) return
    this.buffer.fill(0)
    this.#previous?.fill(0)
    this.buffer = NOTHING
    this.#previous = undefined
  }

  #grow(size: number): void {
    if (this.length > 0 && this.length + size > LARGEST_SIZE) {
      this.flush()
      // Still among those that are flushed at the end of the turn.
      this.#isDirty = true
    }
    const needed = this.length + size
    if (needed <= this.buffer.length) return
    const larger = Buffer.allocUnsafeSlow(
      Math.max(FIRST_SIZE, needed, Math.min(2 * this.buffer.length, LARGEST_SIZE)),
    )
    this.buffer.copy(larger, 0, 0, this.length)
    this.buffer = larger
  }
}

const NOTHING = Buffer.alloc(0)
let dirty: Output[] = []

function schedule(output: Output): void {
  if (dirty.push(output) === 1) setImmediate(flushAll)
}

function flushAll(): void {
  const outputs = dirty
  dirty = []
  for (const output of outputs) output.flush()
}
