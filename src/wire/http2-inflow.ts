/**
 * How much clients may send on one HTTP/2 connection (RFC 9113, 6.9). Every stream may have its first window; large
 * bodies get the rest at once, as many at a time as the connection's budget holds: each of those can become whole, so
 * none waits for another for ever, and memory is bounded.
 */

import { sendNumbers, WINDOW_UPDATE } from './http2-frames.ts'
import type { Http2Stream } from './http2-stream.ts'
import { BODY_BUDGET, CONNECTION_WINDOW, STREAM_WINDOW } from './limits.ts'
import type { Output } from './output.ts'

export class Inflow {
  readonly #output: Output
  /** Bytes that may still come on the connection. */
  #window = STREAM_WINDOW
  #granted = 0
  readonly #waiting = new Set<Http2Stream>()

  constructor(output: Output) {
    this.#output = output
  }

  /** The connection's window is ours to widen: the protocol has no setting for it. */
  open(): void {
    this.#credit(0, CONNECTION_WINDOW - this.#window)
    this.#window = CONNECTION_WINDOW
  }

  /** Bytes of a DATA frame have come. False when they were too many. */
  take(length: number): boolean {
    this.#window -= length
    if (this.#window < 0) return false
    if (this.#window < CONNECTION_WINDOW / 2) {
      this.#credit(0, CONNECTION_WINDOW - this.#window)
      this.#window = CONNECTION_WINDOW
    }
    return true
  }

  /** A body needs more than its first window. */
  request(stream: Http2Stream): void {
    if (stream.grant > 0 || this.#waiting.has(stream)) return
    this.#waiting.add(stream)
    this.#grant()
  }

  /** A stream has ended, or its body is not wanted any more. */
  release(stream: Http2Stream): void {
    this.#waiting.delete(stream)
    if (stream.grant === 0) return
    this.#granted -= stream.grant
    stream.grant = 0
    if (this.#waiting.size > 0) this.#grant()
  }

  /** Lets a client finish a body that nobody wants, and pays back what a window does not count for. */
  refill(stream: Http2Stream, length: number): void {
    stream.receiveWindow += length
    this.#credit(stream.id, length)
  }

  #grant(): void {
    for (const stream of this.#waiting) {
      if (this.#granted > 0 && this.#granted + stream.wanted > BODY_BUDGET) return
      this.#waiting.delete(stream)
      stream.grant = stream.wanted
      this.#granted += stream.grant
      // All that is still to come fits then.
      this.refill(stream, Math.max(0, stream.wanted - stream.received - stream.receiveWindow))
    }
  }

  #credit(id: number, length: number): void {
    if (length > 0) sendNumbers(this.#output, WINDOW_UPDATE, id, [length])
  }
}
