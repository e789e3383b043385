/**
 * Requests whose heads have come and whose bodies have not: while the server has no moment to itself they wait for it, in
 * windows and sockets, and not in a turn of the event loop. How long, what was done lately says.
 */

import { performance } from 'node:perf_hooks'

/** Milliseconds that are looked at together. */
const WINDOW = 100
/** Share of a window that the event loop was busy, from which on whoever waits is taken to wait for it. */
const SATURATED = 0.95
/** Of what was done in a window, in the estimate of what can be done; the rest is the estimate from before. */
const WEIGHT = 0.2
/** So many may always run: if nothing but refusals were done, nothing would be known about the rest. */
const FEW = 16

export class Backlog {
  readonly #busy: () => number
  #began = Number.NEGATIVE_INFINITY
  #done = 0
  /** Requests per millisecond. */
  #rate = 0
  #isSaturated = false
  /** When too many were running: first, without a longer pause than the caller allows, and last. */
  #since = 0
  #last = Number.NEGATIVE_INFINITY

  /** @param busy share of the time since it was asked last, 0 to 1, in which the event loop did not wait */
  constructor(busy = busyShare()) {
    this.#busy = busy
  }

  /** A request is here as a whole, and is done now. */
  done(): void {
    this.#done++
  }

  /**
   * Since when, in milliseconds of the clock, more have been running than can be done within `delay`.
   *
   * @param pause for so long there may have been fewer in between @param now by the clock @returns undefined if there are not now
   */
  behindSince(running: number, delay: number, pause: number, now: number): number | undefined {
    if (now - this.#began >= WINDOW) this.#measure(now)
    if (!this.#isSaturated || running <= Math.max(FEW, this.#rate * delay)) return undefined
    if (now - this.#last > pause) this.#since = now
    this.#last = now
    return this.#since
  }

  #measure(now: number): void {
    const elapsed = now - this.#began
    this.#isSaturated = this.#busy() >= SATURATED
    if (this.#isSaturated) {
      const rate = this.#done / elapsed
      this.#rate = this.#rate === 0 ? rate : this.#rate + WEIGHT * (rate - this.#rate)
    } else {
      this.#rate = 0
      this.#last = Number.NEGATIVE_INFINITY
    }
    this.#began = now
    this.#done = 0
  }
}

function busyShare(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const { utilization } = performance.eventLoopUtilization(last)
    last = performance.eventLoopUtilization()
    return utilization
  }
}
