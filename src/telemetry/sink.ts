/** Lines to a file descriptor, gathered and written once per turn of the event loop. */

/** Targets that have their error listener: several servers of one process share its streams. */
const guarded = new WeakSet<NodeJS.WritableStream>()

export class LineSink {
  readonly #target: NodeJS.WritableStream
  #pending: string[] = []

  constructor(target: NodeJS.WritableStream) {
    this.#target = target
    // A reader of the log that went away (`kes server | head`) must not take the server with it.
    if (!guarded.has(target)) target.on('error', () => {})
    guarded.add(target)
  }

  write(line: string): void {
    if (this.#pending.push(line) === 1) setImmediate(() => this.flush())
  }

  flush(): void {
    if (this.#pending.length === 0) return
    const text = this.#pending.join('')
    this.#pending = []
    this.#target.write(text)
  }
}
