/** Work that is done one piece after the other, in the order in which it was asked for, until it is ended. */

export class Turns {
  /** Ends with the work that was asked for last. */
  #last: Promise<unknown> = Promise.resolve()
  readonly #end = new AbortController()

  /** Aborts when nothing more is to be done; work under way may go by it. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  /** @throws what the work throws, or why the turns have ended before it began */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      this.signal.throwIfAborted()
      return work()
    })
    this.#last = done.catch(() => {})
    return done
  }

  /** Nothing more begins. Resolves when what has begun has ended. */
  async end(reason: Error): Promise<void> {
    this.#end.abort(reason)
    await this.#last
  }
}
