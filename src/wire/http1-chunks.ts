/** A chunked body (RFC 9112, 7.1), piece by piece. Extensions and trailers are read, checked for their size, and dropped. */

import { REGULAR } from './field.ts'
import { parseField } from './http1-head.ts'
import { CHUNK_EXTENSION_LIMIT, CHUNK_LINE_LIMIT, TRAILER_LIMIT } from './limits.ts'

const [SIZE, EXTENSION, SIZE_END, BYTES, BYTES_CR, BYTES_LF, TRAILER, TRAILER_LF, LAST_LF] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
]
const [CR, LF, TAB, SPACE, SEMICOLON] = [13, 10, 9, 32, 59]
const LARGEST_CHUNK = 2 ** 40
/** Without the white space that the RFC would let pass. */
const EXTENSIONS =
  /^(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t !#-[\]-~]|\\[\t -~])*"))?)+$/

export class ChunkedBody {
  isComplete = false
  #state = SIZE
  #size = 0
  #digits = 0
  #extension = ''
  #extensions = 0
  #trailers = 0
  /** The trailer line that is being read. */
  #trailer = ''

  /** @returns where it stopped: at the end of the body, or of the data; -1 when it is no chunked body */
  read(data: Buffer, start: number, take: (chunk: Buffer) => void): number {
    let at = start
    while (at < data.length && !this.isComplete) {
      if (this.#state === BYTES) {
        const end = Math.min(data.length, at + this.#size)
        take(data.subarray(at, end))
        this.#size -= end - at
        at = end
        if (this.#size === 0) this.#state = BYTES_CR
      } else if (!this.#step(data[at++] as number)) return -1
    }
    return at
  }

  #step(byte: number): boolean {
    switch (this.#state) {
      case SIZE:
        return this.#readSize(byte)
      case EXTENSION:
        return this.#readExtension(byte)
      case SIZE_END:
        this.#state = this.#size === 0 ? TRAILER : BYTES
        this.#digits = 0
        return byte === LF
      case BYTES_CR:
        this.#state = BYTES_LF
        return byte === CR
      case BYTES_LF:
        this.#state = SIZE
        return byte === LF
      case TRAILER:
        return this.#readTrailer(byte)
      case TRAILER_LF:
        this.#state = TRAILER
        return byte === LF
      default:
        this.isComplete = byte === LF
        return this.isComplete
    }
  }

  #readSize(byte: number): boolean {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit
      return ++this.#digits <= 16 && this.#size <= LARGEST_CHUNK
    }
    if (this.#digits === 0) return false
    if (byte === CR) this.#state = SIZE_END
    else if (byte === SEMICOLON) {
      this.#state = EXTENSION
      this.#extension = ';'
    }
    return byte === CR || byte === SEMICOLON
  }

  #readExtension(byte: number): boolean {
    if (byte === CR) {
      this.#state = SIZE_END
      return EXTENSIONS.test(this.#extension)
    }
    this.#extension += String.fromCharCode(byte)
    return this.#extension.length <= CHUNK_LINE_LIMIT && ++this.#extensions <= CHUNK_EXTENSION_LIMIT
  }

  #readTrailer(byte: number): boolean {
    if (++this.#trailers > TRAILER_LIMIT) return false
    if (byte !== CR) {
      this.#trailer += String.fromCharCode(byte)
      return isText(byte)
    }
    const line = this.#trailer
    this.#trailer = ''
    this.#state = line === '' ? LAST_LF : TRAILER_LF
    return line === '' || isTrailer(line)
  }
}

/** A field, and none that would have said how long the body is (RFC 9110, 6.5.1). */
function isTrailer(line: string): boolean {
  return parseField(line)?.kind === REGULAR
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/** No control character but the tab. */
function isText(byte: number): boolean {
  return byte >= SPACE ? byte !== 0x7f : byte === TAB
}
