/**
 * What is used once, made before it is needed: a few at a time cost half of what each costs by itself, and nobody waits
 * for them. Only for who needs one after the other, since what is not used was made for nothing (docs/adr/0013).
 * As with the pool of random bytes, a machine resumed from a snapshot must not use one twice for longer than MAX_AGE.
 */

import { MAX_AGE } from './random.ts'

/** How many are made at a time. */
const BATCH = 8
/** How many somebody must have needed in a row. */
const ENOUGH = 64

/** Who needs them. Never looked at, so that nothing here keeps what the owner has let go. */
export type Owner = object

export class Ahead<T> {
  readonly #clock: () => number
  readonly #soon: (act: () => void) => void
  #owner: Owner | undefined
  #made: T[] = []
  #madeAt = 0
  /** How often none was there, one after the other. */
  #misses = 0
  /** Set while some are to be made. */
  #make: (() => T) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    clock = (): number => performance.now(),
    soon: (act: () => void) => void = setImmediate,
  ) {
    this.#clock = clock
    this.#soon = soon
  }

  /** How many are there. */
  get size(): number {
    return this.#made.length
  }

  /**
   * To be called whenever one is needed.
   *
   * @param make makes one for this owner @returns one that nobody else gets; undefined when there is none
   */
  take(owner: Owner, make: () => T): T | undefined {
    if (owner !== this.#owner) this.#begin(owner)
    if (this.#made.length > 0 && this.#clock() - this.#madeAt > MAX_AGE) this.#begin(owner)
    const taken = this.#made.pop()
    if (taken === undefined) this.#misses++
    if (this.#made.length === 0 && this.#misses >= ENOUGH && this.#make === undefined) {
      this.#make = make
      this.#soon(this.#refill)
    }
    return taken
  }

  #begin(owner: Owner | undefined): void {
    this.#owner = owner
    this.#made = []
    this.#misses = 0
    this.#make = undefined
  }

  readonly #refill = (): void => {
    const make = this.#make
    this.#make = undefined
    // Somebody else has come meanwhile, who does not need them.
    if (make === undefined) return
    for (let i = 0; i < BATCH; i++) this.#made.push(make())
    this.#madeAt = this.#clock()
    // Secrets may be in them, so they do not lie around.
    this.#timer ??= setTimeout(this.#expire, MAX_AGE).unref()
    this.#timer.refresh()
  }

  readonly #expire = (): void => {
    this.#timer = undefined
    this.#begin(undefined)
  }
}
