/** Keeps a log readable that strangers can write to: one line a minute for each of them, and for so many of them only. */

const MINUTE = 60_000
const SENDERS = 20

export class Throttle {
  readonly #heard = new Set<string>()
  #until = 0

  /** Whether a line about this sender may be written now. @param now milliseconds, of a clock that never goes back */
  allows(sender: string, now: number): boolean {
    if (now >= this.#until) {
      this.#heard.clear()
      this.#until = now + MINUTE
    }
    if (this.#heard.has(sender) || this.#heard.size >= SENDERS) return false
    this.#heard.add(sender)
    return true
  }
}
