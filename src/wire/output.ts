/**
 * What a connection sends, gathered until the end of the event loop's turn: one write for all answers of a turn
 * costs a third of a write each, and lets more requests come in. Who asks one thing at a time need not wait for others.
 */

import type { Socket as NetSocket } from 'node:net'

import { SOCKET_LIMIT } from './limits.ts'

/** What the framing needs of a socket. */
export type Socket = Pick<
  NetSocket,
  'write' | 'end' | 'destroySoon' | 'destroy' | 'pause' | 'resume' | 'writableLength' | 'destroyed'
>

/** Enough for one answer: many connections have no more. */
const FIRST_SIZE = 1024
/** A larger buffer is not kept between turns. */
const KEPT_SIZE = 16_384
/** Beyond it, what is there is written and a new buffer begun. */
const LARGEST_SIZE = 65_536
/** Turns after one with several answers in which all are gathered. */
const GATHERING = 100

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
  /** There was something to send in this turn. */
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

  /** Sends what is there, if it is likely to be all of this turn, on all connections: that is seen from the turns before. */
  hurry(): void {
    if (this.length === 0 || gathering > 0) return
    if (hasHurried) gathering = GATHERING
    else {
      hasHurried = true
      this.flush()
    }
  }

  /** Sends what is there. */
  flush(): void {
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

  endTurn(): void {
    this.#isDirty = false
    this.flush()
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
    if (this.length > 0 && this.length + size > LARGEST_SIZE) this.flush()
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
/** Something has left before the end of this turn. */
let hasHurried = false
/** Turns for which everything is gathered. */
let gathering = 0

function schedule(output: Output): void {
  if (dirty.push(output) === 1) setImmediate(endTurn)
}

function endTurn(): void {
  const outputs = dirty
  dirty = []
  hasHurried = false
  if (outputs.length > 1) gathering = GATHERING
  else if (gathering > 0) gathering--
  for (const output of outputs) output.endTurn()
}
