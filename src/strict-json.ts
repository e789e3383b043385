/**
 * JSON read so that nobody can read it in another way (RFC 8259): one value, valid UTF-8, whole code points, no field twice,
 * little depth. Objects are Maps, so that no name in them, `__proto__` or other, means anything to the language.
 * Unlike json.ts it takes nothing that Go alone would take.
 */

import { JsonError } from './json.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export type JsonObject = ReadonlyMap<string, Json>

const MAX_DEPTH = 16

/** @throws JsonError that says what is wrong and where, and repeats no part of the input but the name of a field. */
export function parseStrict(bytes: Uint8Array): Json {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new JsonError('not UTF-8')
  }
  return new Reader(text).whole()
}

const SPACE = /[ \t\r\n]*/y
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const WORD = /true|false|null/y
const QUOTE = 0x22
const BACKSLASH = 0x5c

class Reader {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  whole(): Json {
    const value = this.#value()
    this.#take(SPACE)
    if (this.#at < this.#text.length) this.#fail('something follows the value')
    return value
  }

  #value(): Json {
    this.#take(SPACE)
    const first = this.#text[this.#at]
    if (first === '{') return this.#object()
    if (first === '[') return this.#array()
    if (first === '"') return this.#string()
    const word = this.#take(WORD)
    if (word !== undefined) return word === 'null' ? null : word === 'true'
    const number = Number(this.#take(NUMBER) ?? this.#fail('a value is expected'))
    if (!Number.isFinite(number)) this.#fail('a number is too large')
    return number
  }

  #object(): JsonObject {
    const fields = new Map<string, Json>()
    this.#items('}', () => {
      this.#take(SPACE)
      const name = this.#string()
      if (fields.has(name)) this.#fail(`duplicate field ${shown(name)}`)
      this.#take(SPACE)
      if (this.#text[this.#at++] !== ':') this.#fail('a colon is expected')
      fields.set(name, this.#value())
    })
    return fields
  }

  #array(): Json[] {
    const items: Json[] = []
    this.#items(']', () => items.push(this.#value()))
    return items
  }

  /** From the opening bracket to the closing one. */
  #items(close: string, item: () => void): void {
    if (++this.#depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH} levels`)
    this.#at++
    this.#take(SPACE)
    if (this.#text[this.#at] === close) this.#at++
    else {
      for (;;) {
        item()
        this.#take(SPACE)
        const next = this.#text[this.#at++]
        if (next === close) break
        if (next !== ',') this.#fail(`a comma or ${close} is expected`)
      }
    }
    this.#depth--
  }

  #string(): string {
    const start = this.#at
    const literal = this.#literal()
    const text = literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1)
    // Half a pair becomes U+FFFD in UTF-8: two texts could become one.
    if (/\p{Surrogate}/u.test(text)) this.#fail('a text has half of a surrogate pair', start)
    return text
  }

  #literal(): string {
    const start = this.#at
    const text = this.#text
    if (text[this.#at] !== '"') this.#fail('a text in double quotes is expected')
    for (let at = start + 1; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === QUOTE) {
        this.#at = at + 1
        return text.slice(start, at + 1)
      }
      if (code < 0x20) this.#fail('a text has a control character', at)
      if (code !== BACKSLASH) continue
      ESCAPE.lastIndex = at
      const escape = ESCAPE.exec(text)?.[0]
      if (escape === undefined) this.#fail('a text has a bad escape', at)
      at += escape.length - 1
    }
    return this.#fail('a text does not end', start)
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  #fail(what: string, at = this.#at): never {
    throw new JsonError(`${what} at character ${at + 1}`)
  }
}

/** A name in a message: a text of the caller's, so not all of it. */
function shown(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)
}

/**
 * The fields of a JSON object, asked for one by one; `end` then refuses those that nobody asked for. A field may have
 * several spellings, of which a text may use one. Every method throws JsonError; null is null, absent is undefined.
 */
export class StrictFields {
  readonly #fields: JsonObject
  readonly #where: string
  readonly #known = new Set<string>()

  /** @param where it stands, for messages: `` or `auth_method.` */
  constructor(value: Json, where = '') {
    if (!(value instanceof Map))
      throw new JsonError(`${where === '' ? 'the body' : where.slice(0, -1)} is not a JSON object`)
    this.#fields = value
    this.#where = where
  }

  has(...spellings: readonly string[]): boolean {
    return spellings.some((name) => this.#fields.has(name))
  }

  value(...spellings: readonly string[]): Json | undefined {
    for (const name of spellings) this.#known.add(name)
    const [used, second] = spellings.filter((name) => this.#fields.has(name))
    if (used === undefined) return undefined
    if (second !== undefined)
      throw new JsonError(`fields ${used} and ${second} mean the same; send one of them`)
    return this.#fields.get(used)
  }

  string(...spellings: readonly string[]): string | null | undefined {
    return this.#typed('a string', (value) => typeof value === 'string', spellings)
  }

  boolean(...spellings: readonly string[]): boolean | null | undefined {
    return this.#typed('true or false', (value) => typeof value === 'boolean', spellings)
  }

  /** A whole number from 0 on. */
  whole(...spellings: readonly string[]): number | null | undefined {
    const isWhole = (value: Json): value is number =>
      typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    return this.#typed('a non-negative integer', isWhole, spellings)
  }

  strings(...spellings: readonly string[]): readonly string[] | null | undefined {
    const isList = (value: Json): value is readonly string[] =>
      Array.isArray(value) && value.every((item) => typeof item === 'string')
    return this.#typed('a list of strings', isList, spellings)
  }

  /** An object whose fields are all strings. */
  texts(...spellings: readonly string[]): ReadonlyMap<string, string> | null | undefined {
    const isMap = (value: Json): value is ReadonlyMap<string, string> =>
      value instanceof Map && [...value.values()].every((item) => typeof item === 'string')
    return this.#typed('an object of strings', isMap, spellings)
  }

  /** An object with fields of its own, whose `end` must be called, too. */
  object(...spellings: readonly string[]): StrictFields | null | undefined {
    const value = this.value(...spellings)
    return value === undefined || value === null
      ? value
      : new StrictFields(
          value,
          `${this.#where}${spellings.find((name) => this.#fields.has(name))}.`,
        )
  }

  /** Everything was asked for that can be there. */
  end(): void {
    for (const name of this.#fields.keys()) {
      if (!this.#known.has(name)) throw new JsonError(`unknown field ${this.#where}${shown(name)}`)
    }
  }

  #typed<T extends Json>(
    what: string,
    isRight: (value: Json) => value is T,
    spellings: readonly string[],
  ): T | null | undefined {
    const value = this.value(...spellings)
    if (value === undefined || value === null || isRight(value)) return value
    throw new JsonError(`field ${this.#where}${spellings[0]} is not ${what}`)
  }
}
