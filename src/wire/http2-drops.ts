/** Bodies whose requests are answered already: the client may finish them, so that it reads the answer, but not for ever. */

import type { Inflow } from './http2-inflow.ts'
import type { Http2Stream } from './http2-stream.ts'
import { DROP_LIMIT, DROP_TIME, STREAM_WINDOW } from './limits.ts'

export class Drops {
  readonly #inflow: Inflow
  readonly #stop: (stream: Http2Stream) => void
  /** Until when. */
  readonly #streams = new Map<Http2Stream, number>()

  /** @param stop tells a client to send no more; its answer is whole */
  constructor(inflow: Inflow, stop: (stream: Http2Stream) => void) {
    this.#inflow = inflow
    this.#stop = stop
  }

  has(stream: Http2Stream): boolean {
    return this.#streams.size > 0 && this.#streams.has(stream)
  }

  begin(stream: Http2Stream): void {
    this.#streams.set(stream, performance.now() + DROP_TIME)
    this.#inflow.release(stream)
    this.#refill(stream)
  }

  /** More of it has come. */
  take(stream: Http2Stream): void {
    if (stream.received > DROP_LIMIT) this.#giveUp(stream)
    else this.#refill(stream)
  }

  end(stream: Http2Stream): void {
    this.#streams.delete(stream)
  }

  check(now: number): void {
    for (const [stream, until] of this.#streams) if (now >= until) this.#giveUp(stream)
  }

  #refill(stream: Http2Stream): void {
    const used = STREAM_WINDOW - stream.receiveWindow
    if (used > STREAM_WINDOW / 2) this.#inflow.refill(stream, used)
  }

  #giveUp(stream: Http2Stream): void {
    // An answer that waits for its client: it may not be reading while it sends.
    if (!stream.isSent && !stream.isOpen) {
      this.#streams.set(stream, performance.now() + DROP_TIME)
      return
    }
    this.#streams.delete(stream)
    // One that goes on ignores what still comes.
    if (stream.isSent) this.#stop(stream)
  }
}
