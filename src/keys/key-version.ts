/** One version of a key: its secrets, and what they do. They live in `KeyObject`s and private fields. */

import { createSecretKey, type KeyObject } from 'node:crypto'

import { type Cipher, mac, OVERHEAD, Secret } from '../crypto/aead.ts'
import { parseCiphertext, parseRaw } from '../crypto/ciphertext.ts'
import { versionHeader } from '../crypto/header.ts'
import { KesError } from '../errors.ts'
import type { Timestamp } from '../time.ts'

/** Bytes of a key's secret, of its HMAC key and of a data key. */
export const SECRET_SIZE = 32

export interface KeyParts {
  readonly cipher: Cipher
  /** 32 bytes; copied, the caller may wipe them. */
  readonly secret: Uint8Array
  /** 32 bytes; keys made before KES had HMAC keys have none. */
  readonly hmacKey?: Uint8Array | undefined
  readonly createdAt: Timestamp
  /** Hex identity of who made it; '' when never recorded. */
  readonly createdBy: string
}

/** A ciphertext that is made as its parts are taken, once. */
export interface CiphertextParts {
  /** Bytes of all parts together. */
  readonly length: number
  readonly parts: Iterable<Buffer>
}

export class KeyVersion {
  /** 1, 2, 3, … */
  readonly version: number
  readonly createdAt: Timestamp
  readonly createdBy: string
  readonly #secret: Secret
  readonly #hmacKey: KeyObject | undefined
  /** Of its ciphertexts; those of version 1 have none. */
  readonly #header: Buffer | undefined

  constructor(version: number, { cipher, secret, hmacKey, createdAt, createdBy }: KeyParts) {
    this.version = version
    this.createdAt = createdAt
    this.createdBy = createdBy
    this.#secret = new Secret(cipher, secret)
    this.#hmacKey = hmacKey === undefined ? undefined : createSecretKey(hmacKey)
    this.#header = version === 1 ? undefined : versionHeader(version)
  }

  get cipher(): Cipher {
    return this.#secret.cipher
  }

  /** A ciphertext with its header, if it has one: fresh bytes that belong to the caller. */
  seal(plaintext: Uint8Array, context: Uint8Array): Buffer {
    const header = this.#header
    if (header === undefined) return this.#secret.seal(plaintext, context)
    return Buffer.concat([header, this.#secret.seal(plaintext, Buffer.concat([header, context]))])
  }

  /** The same of a large plaintext, which is sealed as the parts are taken. */
  sealInParts(plaintext: Uint8Array, context: Uint8Array): CiphertextParts {
    const length = plaintext.length + OVERHEAD
    const header = this.#header
    if (header === undefined) return { length, parts: this.#secret.sealInParts(plaintext, context) }
    const bound = Buffer.concat([header, context])
    return {
      length: header.length + length,
      parts: prepend(header, this.#secret.sealInParts(plaintext, bound)),
    }
  }

  /**
   * The plaintext, fresh bytes that belong to the caller; undefined when anything is not as it was sealed.
   *
   * @param ciphertext of version 1 in any of its formats, of a later one without its header
   */
  open(ciphertext: Buffer, context: Uint8Array): Buffer | undefined {
    const header = this.#header
    const sealed =
      header === undefined ? parseCiphertext(ciphertext, this.cipher) : parseRaw(ciphertext)
    if (sealed === undefined) return undefined
    return this.#secret.open(
      sealed,
      header === undefined ? context : Buffer.concat([header, context]),
    )
  }

  /** HMAC-SHA-256 of a message. @throws KesError NO_HMAC */
  hmac(message: Uint8Array): Buffer {
    if (this.#hmacKey === undefined) throw new KesError('NO_HMAC')
    return mac(this.#hmacKey, message)
  }
}

function* prepend(first: Buffer, parts: Iterable<Buffer>): Generator<Buffer, void> {
  yield first
  yield* parts
}
