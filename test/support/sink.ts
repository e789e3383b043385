/** What a log wrote. */

import { Writable } from 'node:stream'

import { LineSink } from '#src/telemetry/sink.js'

export class Lines extends Writable {
  readonly sink = new LineSink(this)
  #text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#text += chunk.toString()
    done()
  }

  /** Everything so far, at once. */
  get text(): string {
    this.sink.flush()
    return this.#text
  }
}
