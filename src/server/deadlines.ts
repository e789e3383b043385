/**
 * Requests that are not answered yet, and when each must be. One timer looks after all of them, and only while there are
 * any: a timer per request would cost more than most requests do.
 */

import type { Exchange } from './exchange.ts'

const RESOLUTION = 50

export class InFlight {
  readonly #exchanges = new Set<Exchange>()
  #timer: NodeJS.Timeout | undefined

  /** @param timeout milliseconds from when it began; 0 = none. */
  add(exchange: Exchange, timeout: number): void {
    if (timeout === 0) return
    exchange.deadline = exchange.startedAt + timeout
    this.#exchanges.add(exchange)
    this.#timer ??= setInterval(() => this.#look(), RESOLUTION)
  }

  delete(exchange: Exchange): void {
    this.#exchanges.delete(exchange)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    if (this.#exchanges.size === 0) return this.close()
    const now = performance.now()
    for (const exchange of this.#exchanges) if (exchange.deadline <= now) exchange.expire()
  }
}
