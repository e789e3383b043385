/**
 * What workers write to a standard stream, on the primary's: whole lines only, so that lines of two workers never mix. A
 * reader that is slow slows the workers down, as it would a server of one process.
 */

import type { Readable } from 'node:stream'

import { surviveErrors } from '../../telemetry/sink.ts'

const LINE_FEED = 0x0a

export class Outlet {
  readonly #target: NodeJS.WritableStream
  /** Those that the target cannot take anything from just now. */
  readonly #paused = new Set<Readable>()

  constructor(target: NodeJS.WritableStream) {
    this.#target = target
    surviveErrors(target)
    const resume = (): void => {
      for (const source of this.#paused) source.resume()
      this.#paused.clear()
    }
    // When nobody reads any more, nobody waits for him either.
    for (const event of ['drain', 'error', 'close']) target.on(event, resume)
  }

  /** Copies until the source ends. */
  take(source: Readable): void {
    let rest: Buffer[] = []
    source.on('data', (chunk: Buffer) => {
      const end = chunk.lastIndexOf(LINE_FEED) + 1
      if (end > 0) {
        this.#write(Buffer.concat([...rest, chunk.subarray(0, end)]), source)
        rest = []
      }
      if (end < chunk.length) rest.push(chunk.subarray(end))
    })
    source.on('end', () => {
      this.#paused.delete(source)
      // A worker that died while it wrote.
      if (rest.length > 0) this.#write(Buffer.concat([...rest, Buffer.from('\n')]), source)
    })
    source.on('error', () => {})
  }

  #write(lines: Buffer, source: Readable): void {
    if (!this.#target.writable || this.#target.write(lines) || source.readableEnded) return
    source.pause()
    this.#paused.add(source)
  }
}
