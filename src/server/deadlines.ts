/**
 * Requests that are not answered yet, and when each must be. One timer looks after all of them, and only while
 * there are any: a timer per request would cost more than most requests do.
 */

import type { Exchange } from './exchange.ts'

/** Milliseconds. */
const RESOLUTION = 50

export class InFlight {
  #youngest: Exchange | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param timeout milliseconds from when it began; 0 = none. */
  add(exchange: Exchange, timeout: number): void {
    if (timeout === 0) return
    exchange.deadline = exchange.startedAt + timeout
    exchange.older = this.#youngest
    if (this.#youngest !== undefined) this.#youngest.younger = exchange
    this.#youngest = exchange
    this.#timer ??= setInterval(() => this.#look(), RESOLUTION)
  }

  delete(exchange: Exchange): void {
    const { older, younger } = exchange
    if (younger !== undefined) younger.older = older
    else if (this.#youngest === exchange) this.#youngest = older
    if (older !== undefined) older.younger = younger
    exchange.older = undefined
    exchange.younger = undefined
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    if (this.#youngest === undefined) return this.close()
    const now = performance.now()
    let exchange: Exchange | undefined = this.#youngest
    while (exchange !== undefined) {
      // Expiring takes it out of the list.
      const older: Exchange | undefined = exchange.older
      if (exchange.deadline <= now) exchange.expire()
      exchange = older
    }
  }
}
