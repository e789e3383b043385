/**
 * Which requests begin when there are more than the server can do: those that it can answer in time, so that the others learn
 * at once that they should come again later. A busy server looks the same as an overloaded one for a moment, so only what lasts counts.
 */

import type { OverloadConfig } from '../config/config.ts'
import { Backlog } from './backlog.ts'

/** Milliseconds that the server must have been behind, all the time, before it refuses anything. */
const LASTING = 1000
/** Milliseconds without a request after which nothing can be left of an overload. */
const IDLE = 500

export class Admission {
  readonly #clock: () => number
  readonly #atEndOfTurn: (act: () => void) => void
  readonly #backlog: Backlog
  /** What is read in one turn of the event loop waits for what was read before it. */
  #isInTurn = false
  #turnBegan = 0
  #turnEnded = 0
  #wasLong = false
  /** When the first of the long turns began that follow one another. */
  #behindSince = 0
  #delay = 0

  constructor(
    clock = (): number => performance.now(),
    atEndOfTurn: (act: () => void) => void = setImmediate,
    backlog = new Backlog(),
  ) {
    this.#clock = clock
    this.#atEndOfTurn = atEndOfTurn
    this.#backlog = backlog
  }

  /** To be asked for each request. @param running requests that are not answered yet @param now by the clock */
  admits({ inFlight, delay }: OverloadConfig, running: number, now: number): boolean {
    if (!this.#isInTurn) this.#beginTurn(now)
    this.#delay = delay
    if (inFlight > 0 && running > inFlight) return false
    if (delay === 0) return true
    const behindSince = this.#backlog.behindSince(running, delay, LASTING, now)
    if (behindSince !== undefined && now - behindSince > LASTING) return false
    if (now - this.#turnBegan <= delay) return true
    // Not only when the turn has ended: it may be as long as all requests take that have come.
    return now - this.#behindSince <= LASTING
  }

  /** To be told of each request that is done, not of those that are refused. */
  done(): void {
    this.#backlog.done()
  }

  #beginTurn(now: number): void {
    this.#isInTurn = true
    this.#turnBegan = now
    if (!this.#wasLong || now - this.#turnEnded > IDLE) this.#behindSince = now
    this.#atEndOfTurn(this.#endTurn)
  }

  readonly #endTurn = (): void => {
    const now = this.#clock()
    this.#isInTurn = false
    this.#turnEnded = now
    this.#wasLong = now - this.#turnBegan > this.#delay
  }
}
