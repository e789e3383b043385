/**
 * Signatures that were seen where somebody may have seen them on their way (rustfs-kms-admin.md, case 11). SigV4 counts
 * whole seconds: equal requests of one client have equal signatures, so a signature is old only after a while.
 */

import { type Claim, MAX_SKEW, refused } from './signers.ts'

const MINUTE = 60_000
/** Milliseconds for which a signature is good more than once. */
const REPEATABLE = 3000

export class SeenSignatures {
  /** By the minute in which they were made; each with when it was seen first. */
  readonly #minutes = new Map<number, Map<string, number>>()
  #size = 0
  /** What was signed up to this minute is refused, whatever it is. */
  #refusedUntil = Number.NEGATIVE_INFINITY
  readonly #limit: number

  /** @param limit of how many are kept: beyond it, the oldest are refused unseen. */
  constructor(limit = 500_000) {
    this.#limit = limit
  }

  /** @param now milliseconds since 1970 @throws KesError NOT_SIGNED for one that was seen, and is old */
  check({ signature, signedAt }: Pick<Claim, 'signature' | 'signedAt'>, now: number): void {
    const minute = Math.floor(signedAt / MINUTE)
    if (minute <= this.#refusedUntil)
      throw refused('this signature is too old for a connection without TLS at this load')
    const seen = this.#minutes.get(minute) ?? new Map<string, number>()
    const first = seen.get(signature)
    if (first !== undefined) {
      if (now - Math.min(first, signedAt) > REPEATABLE)
        throw refused('this signature was used before: sign each request anew')
      return
    }
    seen.set(signature, now)
    this.#minutes.set(minute, seen)
    this.#size++
    for (const old of this.#minutes.keys())
      if ((old + 1) * MINUTE < now - MAX_SKEW) this.#forget(old)
    if (this.#size > this.#limit) {
      this.#refusedUntil = Math.min(...this.#minutes.keys())
      this.#forget(this.#refusedUntil)
    }
  }

  #forget(minute: number): void {
    this.#size -= this.#minutes.get(minute)?.size ?? 0
    this.#minutes.delete(minute)
  }
}
