/** A request's JSON body, with the Go server's messages for what is wrong with it. */

import { KesError } from '../errors.ts'
import { OPENING_BRACE } from '../json-scan.ts'
import { Fields, JsonError, parseFields, parseList, textOf } from '../json.ts'

const NO_BYTES = Buffer.alloc(0)

/** Every method throws KesError BAD_BODY when the body, or the field, is not what it should be. */
export class Body {
  readonly #fields: Fields
  readonly #message: string

  /** @param message of every error; no part of the body is ever in it. */
  constructor(bytes: Buffer | Fields, message = 'invalid request body') {
    this.#message = message
    this.#fields = bytes instanceof Fields ? bytes : this.#read(() => parseFields(bytes))
  }

  /**
   * A body that is a JSON array of objects; undefined when it is something else.
   *
   * @throws KesError BAD_BODY when it is an array of something else
   */
  static list(bytes: Buffer): Body[] | undefined {
    // Most bodies begin like an object, and need not be read twice.
    if (bytes[0] === OPENING_BRACE) return undefined
    try {
      return parseList(textOf(bytes))?.map((item) => new Body(item))
    } catch (error) {
      if (!(error instanceof JsonError)) throw error
      throw new KesError('BAD_BODY', { cause: error })
    }
  }

  /** Empty when absent or null. */
  bytes(name: string): Buffer {
    return this.optionalBytes(name) ?? NO_BYTES
  }

  optionalBytes(name: string): Buffer | undefined {
    return this.#read(() => this.#fields.bytes(name))
  }

  optionalString(name: string): string | undefined {
    return this.#read(() => this.#fields.string(name))
  }

  optionalBoolean(name: string): boolean | undefined {
    return this.#read(() => this.#fields.boolean(name))
  }

  /** A whole number. */
  optionalInteger(name: string): number | undefined {
    return this.#read(() => this.#fields.integer(name))
  }

  /** What is to become of a text: null, that it goes; undefined, that it stays. */
  change(name: string): string | null | undefined {
    return this.#read(() => this.#fields.change(name))
  }

  /** The same of several texts, by name. */
  changes(name: string): ReadonlyMap<string, string | null> | undefined {
    return this.#read(() => this.#fields.changes(name))
  }

  /** A list of strings, or the names of an object's fields. */
  optionalNames(name: string): readonly string[] | undefined {
    return this.#read(() => this.#fields.names(name))
  }

  #read<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof JsonError)) throw error
      throw new KesError('BAD_BODY', { message: this.#message, cause: error })
    }
  }
}
