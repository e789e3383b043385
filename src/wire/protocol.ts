/** What HTTP/1.1 and HTTP/2 share on a connection: its end, its time limits, and clients that do not read. */

import { coarseNow } from './clock.ts'
import { IDLE_TIMEOUT, LINGER, STALL_BYTES, STALL_TIMEOUT } from './limits.ts'
import { Output, type Socket } from './output.ts'

export abstract class Protocol {
  protected readonly output: Output
  /** Nothing more is read or begun. */
  protected isOver = false
  readonly #socket: Socket
  /** When something came last, by the coarse clock. */
  #activeAt = performance.now()
  #endedAt = 0
  #isPaused = false
  /** Bytes that the client had taken when it was last seen to take enough, and when that was. */
  #taken = 0
  #takenAt = performance.now()

  constructor(socket: Socket) {
    this.#socket = socket
    this.output = new Output(socket)
  }

  /** Bytes came. */
  receive(chunk: Buffer): void {
    this.#activeAt = coarseNow()
    if (this.isOver) return
    this.read(chunk)
    if (this.isIdle) this.output.hurry()
    this.throttle()
  }

  /** The client has taken what waited for it. */
  drained(): void {
    if (this.isOver) return
    this.proceed()
    this.throttle()
  }

  /** The client sends no more. */
  ended(): void {
    this.closed()
    this.end()
  }

  /** Begins no request any more, and ends the connection with the last one. */
  abstract drain(): void
  /** The connection has gone: every exchange on it ends. */
  abstract closed(): void

  tick(now: number): void {
    if (this.#isStalled(now)) return this.destroy()
    if (this.#endedAt > 0) {
      if (now - this.#endedAt >= LINGER && this.output.backlog === 0) this.destroy()
      return
    }
    if (this.isOver) return
    if (now - this.#activeAt >= IDLE_TIMEOUT && this.isIdle) return this.drain()
    if (now - this.#activeAt >= 1000) this.output.release()
    this.check(now)
  }

  /** Nobody waits long for the client any more. */
  protected abstract readonly isLeaving: boolean
  /** No request runs. */
  protected abstract readonly isIdle: boolean
  /** Something of a whole answer waits for the client, so it should be reading. */
  protected abstract readonly isAwaited: boolean
  protected abstract read(chunk: Buffer): void
  /** There is room again to send what waited. */
  protected abstract proceed(): void
  /** Looks after time limits of its own. */
  protected abstract check(now: number): void

  /** Sends what is there and ends our side; the client has LINGER to follow. */
  protected end(): void {
    if (this.#endedAt > 0) return
    this.isOver = true
    this.#endedAt = performance.now()
    this.output.flush()
    this.#socket.end()
    // What still comes is read and dropped: bytes that nobody reads would make the system reset the connection.
    if (this.#isPaused) this.#socket.resume()
  }

  /** The same where the client has said all that it has to say: as soon as it has been sent all of it, nobody waits for its end. */
  protected endSoon(): void {
    this.end()
    this.#socket.destroySoon()
  }

  protected destroy(): void {
    this.isOver = true
    this.#socket.destroy()
  }

  /** Reads from nobody who does not take what he asked for. */
  protected throttle(): void {
    const { mustWait } = this
    if (this.isOver || mustWait === this.#isPaused) return
    this.#isPaused = mustWait
    if (mustWait) this.#socket.pause()
    else this.#socket.resume()
  }

  protected get mustWait(): boolean {
    return this.output.isFull
  }

  #isStalled(now: number): boolean {
    const taken = this.output.written - this.#socket.writableLength
    const isWaiting = this.#endedAt > 0 ? this.output.backlog > 0 : this.isAwaited
    if (!isWaiting || taken - this.#taken >= STALL_BYTES) {
      this.#taken = taken
      this.#takenAt = now
    }
    return now - this.#takenAt >= (this.isLeaving ? LINGER : STALL_TIMEOUT)
  }
}
