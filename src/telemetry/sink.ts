/** Lines to a file descriptor, gathered for a moment: a write to a file costs more than making the line. */

/** Characters that wait at most. */
const ENOUGH = 65_536

/** Targets that have their error listener: several servers of one process share its streams. */
const guarded = new WeakSet<NodeJS.WritableStream>()

/** A reader of the log that went away (`kes server | head`) must not take the server with it. */
export function surviveErrors(target: NodeJS.WritableStream): void {
  if (!guarded.has(target)) target.on('error', () => {})
  guarded.add(target)
}

export class LineSink {
  readonly #target: NodeJS.WritableStream
  #pending = ''
  readonly #patience: number
  #isDue = false
  #timer: NodeJS.Timeout | undefined

  /** @param patience milliseconds that a line waits at most for others; 0 = until the end of the event loop's turn */
  constructor(target: NodeJS.WritableStream, patience = 0) {
    this.#target = target
    this.#patience = patience
    surviveErrors(target)
  }

  write(line: string): void {
    this.#pending += line
    if (this.#pending.length > ENOUGH) return this.flush()
    if (this.#isDue) return
    this.#isDue = true
    if (this.#patience === 0) setImmediate(() => this.flush())
    else this.#timer = setTimeout(() => this.flush(), this.#patience)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#isDue = false
    const text = this.#pending
    this.#pending = ''
    if (text !== '') this.#target.write(text)
  }
}
