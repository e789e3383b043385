/**
 * JSON as Go's encoding/json reads and writes it, where that differs from JSON.parse and JSON.stringify:
 * the first value of a text, field names without regard to case, byte strings as base64 or as arrays of
 * numbers, and Go's escapes. Observed: kes-behaviour.md, surprises 11 and 13 (docs/quirks.md).
 */

import { isAscii } from 'node:buffer'

import { endOfString, namesByObject } from './json-names.ts'
import { Base64Value, CLOSING_BRACE, OPENING_BRACE, scanObject } from './json-scan.ts'

/** What a text or a field is not: never carries any part of the input. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
}

/**
 * The first JSON value of a text; what follows it is ignored.
 *
 * @throws JsonError when there is no whole value at the beginning.
 */
export function parseFirst(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Perhaps something follows the first value.
  }
  const end = endOfFirst(text)
  if (end === undefined) throw new JsonError('not a JSON value')
  try {
    return JSON.parse(text.slice(0, end))
  } catch {
    throw new JsonError('not a JSON value')
  }
}

/** Bytes of a text from which on it pays to look at it before it is made a string. */
const LARGE = 16_384

/**
 * The fields of the JSON object that a text in UTF-8 begins with, or of `null`.
 *
 * @throws JsonError when it begins with anything else
 */
export function parseFields(bytes: Buffer): Fields {
  // What clients send where they have nothing to say.
  if (bytes.length === 2 && bytes[0] === OPENING_BRACE && bytes[1] === CLOSING_BRACE)
    return NO_FIELDS
  const scanned = bytes.length > LARGE ? scanObject(bytes) : undefined
  if (scanned !== undefined) return new Fields(scanned)
  const text = textOf(bytes)
  return new Fields(parseFirst(text), text)
}

/** The objects of the JSON list that a text begins with; undefined when it begins with something else. @throws JsonError */
export function parseList(text: string): Fields[] | undefined {
  const list = parseFirst(text)
  if (!Array.isArray(list)) return undefined
  let names: string[][] | undefined
  // Once for all items, or a list of many that need them would be read as often.
  return list.map(
    (item, index) => new Fields(item, () => (names ??= namesByObject(text))[index] ?? []),
  )
}

/** A text in UTF-8; a large one that is ASCII is made a string ten times as fast as such. */
export function textOf(bytes: Buffer): string {
  return bytes.toString(bytes.length > LARGE && isAscii(bytes) ? 'latin1' : 'utf8')
}

/** Index behind the first value, or undefined when it does not end. Says nothing about its validity. */
function endOfFirst(text: string): number | undefined {
  let at = 0
  while (/[ \t\r\n]/.test(text.charAt(at))) at++
  if (text[at] !== '{' && text[at] !== '[' && text[at] !== '"') {
    const literal = /[-+.0-9A-Za-z]+/y
    literal.lastIndex = at
    return literal.test(text) ? literal.lastIndex : undefined
  }
  let depth = 0
  for (; at < text.length; at++) {
    const char = text[at]
    if (char === '"') {
      at = endOfString(text, at) - 1
      if (at >= text.length) return undefined
    } else if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    if (depth === 0) return at + 1
  }
  return undefined
}

/** A JSON object's fields by name, or of `null`, which has none. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>> | null
  readonly #source: string | (() => readonly string[]) | undefined
  #names: readonly string[] | undefined

  /**
   * @param source the text that the object was read from, or the names in it; needed where one may come twice
   * @throws JsonError for anything but an object or null.
   */
  constructor(value: unknown, source?: string | (() => readonly string[])) {
    if (typeof value !== 'object' || Array.isArray(value)) throw new JsonError('not a JSON object')
    this.#object = value as Readonly<Record<string, unknown>> | null
    this.#source = source
  }

  /** The last field whose name is `name` (lower case) without regard to case; undefined when absent or null. */
  value(name: string): unknown {
    return this.raw(name) ?? undefined
  }

  /** As `value`, with `null` where it is null. */
  raw(name: string): unknown {
    const found = this.#find(name)
    return found instanceof Base64Value ? found.toString() : found
  }

  #find(name: string): unknown {
    let last: string | undefined
    for (const key in this.#object) {
      if (!isSame(key, name)) continue
      // Hardly anybody sends several, so only then it is looked for which is the last one.
      if (last !== undefined)
        return this.#object[this.#order().findLast((n) => isSame(n, name)) ?? key]
      last = key
    }
    return last === undefined ? undefined : this.#object?.[last]
  }

  /** The names as they came. */
  #order(): readonly string[] {
    const source = this.#source
    this.#names ??=
      (typeof source === 'string' ? namesByObject(source)[0] : source?.()) ??
      Object.keys(this.#object ?? {})
    return this.#names
  }

  /** @throws JsonError unless it is a string or absent. */
  string(name: string): string | undefined {
    const value = this.value(name)
    if (value === undefined || typeof value === 'string') return value
    throw new JsonError(`${name} is not a string`)
  }

  /** @throws JsonError unless it is true, false or absent. */
  boolean(name: string): boolean | undefined {
    const value = this.value(name)
    if (value === undefined || typeof value === 'boolean') return value
    throw new JsonError(`${name} is not true or false`)
  }

  /** @throws JsonError unless it is a whole number or absent. */
  integer(name: string): number | undefined {
    const value = this.value(name)
    if (value === undefined || (typeof value === 'number' && Number.isSafeInteger(value)))
      return value
    throw new JsonError(`${name} is not a whole number`)
  }

  /** What is to become of a text: null, that it goes; undefined, that it stays. @throws JsonError for anything else */
  change(name: string): string | null | undefined {
    return changeOf(this.raw(name), name)
  }

  /** The same of several texts, by name: an object's fields. @throws JsonError */
  changes(name: string): ReadonlyMap<string, string | null> | undefined {
    const value = this.value(name)
    if (value === undefined) return undefined
    if (typeof value !== 'object' || Array.isArray(value))
      throw new JsonError(`${name} is not a JSON object`)
    return new Map(
      Object.entries(value as object).map(([key, change]: [string, unknown]) => [
        key,
        changeOf(change, `a value of ${name}`) ?? null,
      ]),
    )
  }

  /** The strings of an array, or the names of an object's fields. @throws JsonError for anything else */
  names(name: string): readonly string[] | undefined {
    const value = this.value(name)
    if (value === undefined) return undefined
    const names: readonly unknown[] | undefined = Array.isArray(value)
      ? value
      : typeof value === 'object' && value !== null
        ? Object.keys(value)
        : undefined
    if (names?.every((item) => typeof item === 'string') === true) return names
    throw new JsonError(`${name} is not a list of strings`)
  }

  /** Bytes from padded standard base64 (with line breaks) or an array of numbers. @throws JsonError */
  bytes(name: string): Buffer | undefined {
    const value = this.#find(name)
    if (value === undefined || value === null) return undefined
    if (value instanceof Base64Value) return value.bytes
    const bytes = typeof value === 'string' ? decodeBase64(value) : byteArray(value)
    if (bytes === undefined) throw new JsonError(`${name} is not a byte string`)
    return bytes
  }
}

const NO_FIELDS = new Fields({})

function changeOf(value: unknown, what: string): string | null | undefined {
  if (value === undefined || value === null || typeof value === 'string') return value
  throw new JsonError(`${what} is not a string`)
}

/** @param name in lower case */
function isSame(key: string, name: string): boolean {
  return key === name || (key.length === name.length && fold(key) === name)
}

/** Simple case folding: U+017F (long s) and U+212A (Kelvin sign) count as s and k, as in Go. */
function fold(name: string): string {
  return name.toLowerCase().replaceAll('\u017f', 's')
}

function byteArray(value: unknown): Buffer | undefined {
  if (!Array.isArray(value)) return undefined
  const bytes = Buffer.allocUnsafe(value.length)
  for (const [index, item] of value.entries()) {
    const byte: unknown = item ?? 0
    if (typeof byte !== 'number' || !Number.isInteger(byte) || byte < 0 || byte > 255)
      return undefined
    bytes[index] = byte
  }
  return bytes
}

/**
 * Padded standard base64; CR and LF anywhere are skipped, as Go does. Undefined for everything else.
 *
 * Node leaves out what is no base64, so that the result is too short then: that is seen faster than each character is looked at.
 */
export function decodeBase64(text: string): Buffer | undefined {
  const packed = text.includes('\n') || text.includes('\r') ? text.replace(/[\r\n]/g, '') : text
  const padding = packed.endsWith('==') ? 2 : packed.endsWith('=') ? 1 : 0
  const bytes = Buffer.from(packed, 'base64')
  if (packed.length % 4 !== 0 || bytes.length !== (packed.length / 4) * 3 - padding)
    return undefined
  // Node takes the characters of base64url, too, and of those beyond ASCII only a part.
  const isStandard = !packed.includes('-') && !packed.includes('_')
  return isStandard && Buffer.byteLength(packed) === packed.length ? bytes : undefined
}

/** A field of a JSON object; undefined when it is none, or has no such field. */
export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined
}

/** A string literal with Go's escapes: `<`, `>`, `&`, U+2028, U+2029, and U+FFFD for bytes that were no UTF-8. */
export function quote(text: string): string {
  return escape(JSON.stringify(text))
}

/** A value as JSON with Go's escapes. */
export function stringify(value: unknown): string {
  return escape(JSON.stringify(value))
}

function escape(json: string): string {
  return json.replace(/[<>&\u2028\u2029\ufffd]/g, unicodeEscape)
}

/** A character as `\uXXXX`, or two of them beyond U+FFFF. */
export function unicodeEscape(character: string): string {
  return Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('')
}
