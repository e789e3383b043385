/**
 * Large JSON objects of the usual shape, read without making a string of them: names and values without escapes, long
 * values in base64, or null. Whatever is unusual, broken included, is left to `parseFirst` (json.ts), which says what it is.
 */

import { readBase64 } from './base64-bytes.ts'

/** A longer value must be base64, since nothing else is looked at fast. */
const SHORT = 1024
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const SMALL_N = 0x6e

/** A long string value, read as base64. */
export class Base64Value {
  readonly bytes: Buffer
  readonly #source: Buffer

  /** @param source the characters */
  constructor(bytes: Buffer, source: Buffer) {
    this.bytes = bytes
    this.#source = source
  }

  toString(): string {
    return this.#source.toString('latin1')
  }
}

export type ScannedValue = string | Base64Value | null

/** The object that `bytes` begin with; undefined when it is unusual. What follows it is ignored. */
export function scanObject(bytes: Buffer): Readonly<Record<string, ScannedValue>> | undefined {
  return new Scanner(bytes).object()
}

class Scanner {
  readonly #bytes: Buffer
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
    return this.#take(CLOSING_BRACE) ? fields : undefined
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
    const decoded = readBase64(this.#bytes, start, end)
    return decoded && new Base64Value(decoded, this.#bytes.subarray(start, end))
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
