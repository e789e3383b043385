/** A line at the foot of the terminal that says how far a long piece of work is; nothing where there is no terminal. */

import { sizeOf } from '../columns.ts'

const WIDTH = 24
/** Milliseconds between two drawings. */
const INTERVAL = 100
/** To the end of the line. */
const CLEAR = '\u001b[K'

export interface Progressed {
  readonly done: number
  readonly total: number
  /** Milliseconds since the beginning. */
  readonly elapsed: number
}

/** `[======      ] 2,500/10,000  1,250/s  6 s left`, at most `columns` long. */
export function progressLine({ done, total, elapsed }: Progressed, columns: number): string {
  const filled = total === 0 ? WIDTH : Math.floor((done / total) * WIDTH)
  const bar = `[${'='.repeat(filled).padEnd(WIDTH)}] `
  const count = `${number(done)}/${number(total)}`
  const rate = elapsed === 0 ? 0 : (done / elapsed) * 1000
  const left =
    rate === 0 ? '' : `  ${number(Math.round(rate))}/s  ${time((total - done) / rate)} left`
  const whole = bar + count + left
  return whole.length <= columns ? whole : count.slice(0, columns)
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}

function time(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export class ProgressBar {
  readonly #stream: NodeJS.WriteStream
  readonly #isShown: boolean
  readonly #start = performance.now()
  #drawnAt = Number.NEGATIVE_INFINITY

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#isShown = stream.isTTY && process.env['TERM'] !== 'dumb'
  }

  update(done: number, total: number): void {
    const now = performance.now()
    if (!this.#isShown || (now - this.#drawnAt < INTERVAL && done < total)) return
    this.#drawnAt = now
    const columns = sizeOf(this.#stream).columns - 1
    const line = progressLine({ done, total, elapsed: now - this.#start }, columns)
    this.#stream.write(`\r${line}${CLEAR}`)
  }

  /** Takes it away. */
  clear(): void {
    if (this.#isShown) this.#stream.write(`\r${CLEAR}`)
  }
}
