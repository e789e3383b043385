/**
 * Which requests begin when there are more than the server can do: those that it can answer in time, so that the others learn
 * at once that they should come again later. A busy server looks the same as an overloaded one for a moment, so only what lasts counts.
 */

import type { OverloadConfig } from '../config/config.ts'

/** Milliseconds that the server must have been behind, all the time, before it refuses anything. */
const LASTING = 1000
/** Milliseconds without a request after which nothing can be left of an overload. */
const IDLE = 500

export class Admission {
  readonly #clock: () => number
  readonly #atEndOfTurn: (act: () => void) => void
  /** What is read in one turn of the event loop waits for what was read before it. */
  #isInTurn = false
  #turnBegan = 0
  #turnEnded = 0
  #keptUpAt = 0
  #isBehind = false
  #delay = 0

  constructor(
    clock = (): number => performance.now(),
    atEndOfTurn: (act: () => void) => void = setImmediate,
  ) {
    this.#clock = clock
    this.#atEndOfTurn = atEndOfTurn
  }

  /** To be asked for each request. @param running requests that are not answered yet @param now by the clock */
  admits({ inFlight, delay }: OverloadConfig, running: number, now: number): boolean {
    if (!this.#isInTurn) this.#beginTurn(now)
    this.#delay = delay
    if (inFlight > 0 && running > inFlight) return false
    return !this.#isBehind || now - this.#turnBegan <= delay
  }

  #beginTurn(now: number): void {
    this.#isInTurn = true
    this.#turnBegan = now
    if (now - this.#turnEnded > IDLE) this.#keptUpAt = now
    this.#atEndOfTurn(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    const now = this.#clock()
    this.#isInTurn = false
    this.#turnEnded = now
    const isLong = this.#delay > 0 && now - this.#turnBegan > this.#delay
    if (!isLong) this.#keptUpAt = now
    this.#isBehind = now - this.#keptUpAt > LASTING
  }
}
