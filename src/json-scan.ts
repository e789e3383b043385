/**
 * Large JSON objects of the usual shape, read without making a string of them: names and values without escapes, long
 * values in base64, or null. Whatever is unusual, broken included, is left to `parseFirst` (json.ts), which says what it is.
 */

import { decodeInPlace } from './base64-bytes.ts'

/** A longer value must be base64, since nothing else is looked at fast. */
const SHORT = 1024
/** Characters of base64 that stand for three bytes. */
const GROUP = 4
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
export const OPENING_BRACE = 0x7b
export const CLOSING_BRACE = 0x7d
const SMALL_N = 0x6e

/** A long string value that is base64. Its bytes stand where it stood. */
export class Base64Value {
  readonly #source: Buffer
  readonly #start: number
  readonly #end: number
  /** The last characters: with padding, they may have bits that no byte has. */
  readonly #last: string
  #bytes: Buffer | undefined

  /** @param source where its characters are, from `start` to `end` */
  constructor(source: Buffer, start: number, end: number) {
    this.#source = source
    this.#start = start
    this.#end = end
    this.#last = source.toString('latin1', end - GROUP, end)
  }

  get bytes(): Buffer {
    if (this.#bytes === undefined) throw new Error('bug: base64 that was not decoded')
    return this.#bytes
  }

  /** Once. @returns whether it is base64 */
  decode(): boolean {
    this.#bytes = decodeInPlace(this.#source, this.#start, this.#end)
    return this.#bytes !== undefined
  }

  /** Puts the characters back. */
  restore(): void {
    this.#source.write(this.toString(), this.#start, 'latin1')
  }

  toString(): string {
    return this.bytes.toString('base64').slice(0, -GROUP) + this.#last
  }
}

export type ScannedValue = string | Base64Value | null

/**
 * The object that `bytes` begin with; undefined when it is unusual. What follows it is ignored.
 *
 * @param bytes are the object's from now on, since its long values are decoded in them; unusual ones stay as they are
 */
export function scanObject(bytes: Buffer): Readonly<Record<string, ScannedValue>> | undefined {
  return new Scanner(bytes).object()
}

class Scanner {
  readonly #bytes: Buffer
  readonly #long: Base64Value[] = []
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  object(): Record<string, ScannedValue> | undefined {
    // Without a prototype, for a field may be called `__proto__`.
    const fields = Object.create(null) as Record<string, ScannedValue>
    if (!this.#take(OPENING_BRACE)) return undefined
    do {
      const name = this.#string()
      if (typeof name !== 'string' || name in fields || !this.#take(COLON)) return undefined
      const value = this.#value()
      if (value === undefined) return undefined
      fields[name] = value
    } while (this.#take(COMMA))
    return this.#take(CLOSING_BRACE) && this.#decode() ? fields : undefined
  }

  /** All long values, or none. */
  #decode(): boolean {
    for (const [index, value] of this.#long.entries()) {
      if (value.decode()) continue
      for (const decoded of this.#long.slice(0, index)) decoded.restore()
      return false
    }
    return true
  }

  #value(): ScannedValue | undefined {
    this.#skipSpace()
    if (this.#bytes[this.#at] !== SMALL_N) return this.#string()
    const end = this.#at + 4
    if (this.#bytes.toString('latin1', this.#at, end) !== 'null') return undefined
    this.#at = end
    return null
  }

  #string(): string | Base64Value | undefined {
    if (!this.#take(QUOTE)) return undefined
    const start = this.#at
    const end = this.#bytes.indexOf(QUOTE, start)
    if (end < 0) return undefined
    this.#at = end + 1
    if (end - start <= SHORT) {
      return this.#isPlain(start, end) ? this.#bytes.toString('latin1', start, end) : undefined
    }
    const value = new Base64Value(this.#bytes, start, end)
    this.#long.push(value)
    return value
  }

  /** ASCII without control characters and escapes. */
  #isPlain(start: number, end: number): boolean {
    for (let at = start; at < end; at++) {
      const byte = this.#bytes[at] as number
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return false
    }
    return true
  }

  /** Whether that is what comes next, after white space; then it is passed. */
  #take(byte: number): boolean {
    this.#skipSpace()
    if (this.#bytes[this.#at] !== byte) return false
    this.#at++
    return true
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.#at++
    }
  }
}
