/**
 * Notices that files have changed, by looking at them every few seconds (docs/adr/0008). What cannot be used,
 * since somebody is still writing it or its other half, is tried again, and complained about only when it stays so.
 */

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

export interface WatchOptions {
  /** Files, and directories with files in them; asked each time. */
  paths(): readonly string[]
  /** Takes the files as they are now. @throws Error that says what is wrong with them */
  take(): Promise<void>
  /** Told once for each reason for which the files cannot be taken. */
  complain(reason: string): void
  /** Milliseconds between two looks. */
  readonly interval?: number
  /** Milliseconds for which files may be wrong without a complaint. */
  readonly patience?: number
}

const INTERVAL = 5000
const PATIENCE = 15_000
/** Part of an interval after which files that have changed must look the same to be taken. */
const SETTLED = 0.1

export class FileWatch {
  readonly #options: Required<WatchOptions>
  /** What the files looked like when they were last taken. */
  #taken: string | undefined
  /** What they looked like last. */
  #seen: string | undefined
  #failingSince: number | undefined
  #complaint = ''
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: WatchOptions) {
    this.#options = { interval: INTERVAL, patience: PATIENCE, ...options }
    this.#wait(this.#options.interval)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #wait(time: number): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      void this.#look().then((isSettled) =>
        this.#wait(this.#options.interval * (isSettled ? 1 : SETTLED)),
      )
    }, time).unref()
  }

  /** False when the files have just changed. */
  async #look(): Promise<boolean> {
    const look = await this.#appearance()
    const isSettled = look === this.#seen
    this.#seen = look
    if (isSettled && look !== this.#taken) await this.#take(look)
    return isSettled
  }

  async #take(look: string): Promise<void> {
    try {
      await this.#options.take()
      this.#taken = look
      this.#failingSince = undefined
      this.#complaint = ''
    } catch (error) {
      this.#failingSince ??= performance.now()
      this.#complain((error as Error).message)
    }
  }

  #complain(reason: string): void {
    const { patience, complain } = this.#options
    const isEarly = performance.now() - (this.#failingSince ?? 0) < patience
    if (isEarly || reason === this.#complaint || this.#isClosed) return
    this.#complaint = reason
    complain(reason)
  }

  /** Different after every change: another file under the name, another size, another time. */
  async #appearance(): Promise<string> {
    return (await Promise.all(this.#options.paths().map((path) => appearance(path)))).join('\n')
  }
}

/** @param depth how many levels of a directory count */
async function appearance(path: string, depth = 1): Promise<string> {
  try {
    const found = await stat(path, { bigint: true })
    const { dev, ino, size, mtimeNs, ctimeNs } = found
    const self = [path, dev, ino, size, mtimeNs, ctimeNs].join(' ')
    if (depth === 0 || !found.isDirectory()) return self
    const inside = (await readdir(path)).map((name) => appearance(join(path, name), depth - 1))
    return [self, ...(await Promise.all(inside))].join('\n')
  } catch (error) {
    return `${path} ${(error as NodeJS.ErrnoException).code}`
  }
}
