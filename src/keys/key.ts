/**
 * A named key: its cryptography is synchronous and cannot reach the network. The secrets live in
 * `KeyObject`s and private fields, out of sight of `inspect` and JSON.
 */

import { createSecretKey, type KeyObject } from 'node:crypto'

import { type Cipher, mac, Secret } from '../crypto/aead.ts'
import { parseCiphertext } from '../crypto/ciphertext.ts'
import { randomBytes } from '../crypto/random.ts'
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

export interface DataKey {
  readonly plaintext: Buffer
  readonly ciphertext: Buffer
}

export class Key {
  readonly createdAt: Timestamp
  readonly createdBy: string
  readonly #secret: Secret
  readonly #hmacKey: KeyObject | undefined

  constructor({ cipher, secret, hmacKey, createdAt, createdBy }: KeyParts) {
    this.createdAt = createdAt
    this.createdBy = createdBy
    this.#secret = new Secret(cipher, secret)
    this.#hmacKey = hmacKey === undefined ? undefined : createSecretKey(hmacKey)
  }

  get cipher(): Cipher {
    return this.#secret.cipher
  }

  /** Seals a plaintext; the same context is needed to open it. */
  encrypt(plaintext: Uint8Array, context: Uint8Array): Buffer {
    return this.#secret.seal(plaintext, context)
  }

  /**
   * Opens a ciphertext made by any KES release. The returned bytes are fresh and belong to the caller.
   *
   * @throws KesError DECRYPT for every kind of damage, without saying which.
   */
  decrypt(ciphertext: Buffer, context: Uint8Array): Buffer {
    const sealed = parseCiphertext(ciphertext, this.cipher)
    const plaintext = sealed && this.#secret.open(sealed, context)
    if (plaintext === undefined) throw new KesError('DECRYPT')
    return plaintext
  }

  /** A new random data key, in the clear and sealed. */
  dataKey(context: Uint8Array): DataKey {
    const plaintext = randomBytes(SECRET_SIZE)
    return { plaintext, ciphertext: this.encrypt(plaintext, context) }
  }

  /** HMAC-SHA-256 of a message. @throws KesError NO_HMAC */
  hmac(message: Uint8Array): Buffer {
    if (this.#hmacKey === undefined) throw new KesError('NO_HMAC')
    return mac(this.#hmacKey, message)
  }
}
