/** A budget that fills up with time: for what a client may do now and then, but not all the time. */

import type { Allowance } from './limits.ts'

export class Budget {
  readonly #allowance: Allowance
  #left: number
  #filledAt: number

  constructor(allowance: Allowance) {
    this.#allowance = allowance
    this.#left = allowance.burst
    this.#filledAt = performance.now()
  }

  /** False when it is used up. */
  spend(): boolean {
    if (this.#left < 1) this.#fill()
    if (this.#left < 1) return false
    this.#left--
    return true
  }

  #fill(): void {
    const { burst, perSecond } = this.#allowance
    const now = performance.now()
    this.#left = Math.min(burst, this.#left + ((now - this.#filledAt) / 1000) * perSecond)
    this.#filledAt = now
  }
}
