/** How long a piece of work lives: until its parent ends, its time is over, or somebody ends it. */

import { setMaxListeners } from 'node:events'

import { type Deadline, within } from '../deadline.ts'

/** To be disposed of when the work is done; then it holds neither a timer nor a listener. */
export class Scope implements Deadline, Disposable {
  readonly #controller = new AbortController()
  readonly #parent: AbortSignal | undefined
  readonly #onEnd: () => void
  #timer: NodeJS.Timeout | undefined

  /**
   * @param parent its end, with its reason, is ours
   * @param onEnd is called when it has ended or was disposed of
   */
  constructor(parent?: AbortSignal, onEnd = (): void => {}) {
    this.#parent = parent
    this.#onEnd = onEnd
    // That many calls share a signal is no leak: each takes its listener away.
    setMaxListeners(0, this.signal, ...(parent === undefined ? [] : [parent]))
    if (parent?.aborted) this.#follow()
    else parent?.addEventListener('abort', this.#follow, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Ends the work in `millis` ms, instead of an earlier limit. */
  limit(millis: number, reason: () => Error): void {
    this.unlimit()
    this.#timer = setTimeout(() => this.end(reason()), millis)
  }

  /** Takes the limit away. */
  unlimit(): void {
    clearTimeout(this.#timer)
  }

  end(reason: unknown): void {
    this[Symbol.dispose]()
    this.#controller.abort(reason)
  }

  [Symbol.dispose](): void {
    this.unlimit()
    this.#parent?.removeEventListener('abort', this.#follow)
    this.#onEnd()
  }

  readonly #follow = (): void => this.end(this.#parent?.reason)
}

/** Calls `abort` once when the signal ends, perhaps at once. @returns what takes the listener away */
export function onAbort(signal: AbortSignal, abort: () => void): () => void {
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}

/** @throws the signal's reason */
export async function sleep(millis: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, millis)
  })
  try {
    await within(over, { signal })
  } finally {
    clearTimeout(timer)
  }
}
