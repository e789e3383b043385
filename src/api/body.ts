/** A request's JSON body, with the Go server's messages for what is wrong with it. */

import { KesError } from '../errors.ts'
import { Fields, JsonError, parseFirst } from '../json.ts'

const NO_BYTES = Buffer.alloc(0)

/** Every method throws KesError BAD_BODY when the body, or the field, is not what it should be. */
export class Body {
  readonly #fields: Fields
  readonly #message: string

  /** @param message of every error; no part of the body is ever in it. */
  constructor(bytes: Buffer, message = 'invalid request body') {
    this.#message = message
    this.#fields = this.#read(() => new Fields(parseFirst(bytes.toString())))
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

  #read<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof JsonError)) throw error
      throw new KesError('BAD_BODY', { message: this.#message, cause: error })
    }
  }
}
