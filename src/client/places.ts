/** So many at a time: the others wait, in the order of their coming. */

import { onAbort } from './scope.ts'

export class Places {
  #taken = 0
  readonly #limit: () => number
  readonly #waiting = new Set<() => void>()

  /** @param limit may change; then `wake` is to be called */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  /** Waits for a place; it is the caller's until `leave`. @throws the signal's reason */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.#taken >= this.#limit()) await this.#turn(signal)
    // Who gives up when it was its turn passes that on.
    if (signal.aborted) this.wake()
    signal.throwIfAborted()
    this.#taken++
  }

  leave(): void {
    this.#taken--
    this.wake()
  }

  /** Who waits looks again. */
  wake(): void {
    let free = this.#limit() - this.#taken
    for (const wake of this.#waiting) {
      if (free-- <= 0) return
      this.#waiting.delete(wake)
      wake()
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    let forget = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.add(resolve)
        forget = onAbort(signal, () => {
          this.#waiting.delete(resolve)
          reject(signal.reason as Error)
        })
      })
    } finally {
      forget()
    }
  }
}
