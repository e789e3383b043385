/** Lines to a file descriptor, gathered and written once per turn of the event loop. */

export class LineSink {
  readonly #target: NodeJS.WritableStream
  #pending: string[] = []

  constructor(target: NodeJS.WritableStream) {
    this.#target = target
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
