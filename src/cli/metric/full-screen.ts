/** A terminal's second screen: what was on the first is there again afterwards, whatever happens. */

import { type Size, sizeOf } from '../columns.ts'

const [ENTER, LEAVE] = ['\u001b[?1049h\u001b[?25l', '\u001b[?25h\u001b[?1049l']
const [HOME, REST_OF_LINE, REST_OF_SCREEN] = ['\u001b[H', '\u001b[K', '\u001b[J']

export class FullScreen implements Disposable {
  readonly #lines: (size: Size) => readonly string[]
  readonly #stream: NodeJS.WriteStream
  #isOpen = false

  /** @param lines what to show: no longer and no more than there is place for */
  constructor(stream: NodeJS.WriteStream, lines: (size: Size) => readonly string[]) {
    this.#stream = stream
    this.#lines = lines
    stream.on('resize', this.draw)
    process.on('exit', this.#leave)
    process.on('SIGTSTP', this.#suspend)
    process.on('SIGCONT', this.draw)
    this.draw()
  }

  /** In one piece: nobody sees half of it. */
  readonly draw = (): void => {
    const lines = this.#lines(sizeOf(this.#stream))
    const text = lines.map((line) => line + REST_OF_LINE).join('\n')
    this.#stream.write((this.#isOpen ? '' : ENTER) + HOME + text + REST_OF_SCREEN)
    this.#isOpen = true
  };

  [Symbol.dispose](): void {
    this.#stream.off('resize', this.draw)
    process.off('exit', this.#leave)
    process.off('SIGTSTP', this.#suspend)
    process.off('SIGCONT', this.draw)
    this.#leave()
  }

  readonly #leave = (): void => {
    if (this.#isOpen) this.#stream.write(LEAVE)
    this.#isOpen = false
  }

  /** Ctrl-Z. */
  readonly #suspend = (): void => {
    this.#leave()
    process.kill(process.pid, 'SIGSTOP')
  }
}
