/**
 * A named key: its cryptography is synchronous and cannot reach the network. What it may do in its state, and which
 * version does it (key-lifecycle.md), is decided when it is made.
 */

import type { Cipher } from '../crypto/aead.ts'
import { splitHeader } from '../crypto/header.ts'
import { randomBytes } from '../crypto/random.ts'
import { type ErrorCode, KesError } from '../errors.ts'
import type { Timestamp } from '../time.ts'
import { type CiphertextParts, type KeyParts, KeyVersion, SECRET_SIZE } from './key-version.ts'
import { type KeyState, type Snapshot, stateOf, UNCHANGED } from './snapshot.ts'

export interface DataKey {
  readonly plaintext: Buffer
  readonly ciphertext: Buffer
}

/** The end of the chain of records that a key was read from. */
export interface Origin {
  /** SHA-256 of the key's own entry. */
  readonly owner: Buffer
  /** How many records it has. */
  readonly records: number
}

export class Key {
  readonly state: KeyState
  /** Of a disabled key; it stays while a deletion is scheduled. */
  readonly denyDecrypt: boolean
  /** When it may be destroyed; undefined unless its deletion is scheduled. */
  readonly deletionDate: Timestamp | undefined
  /** '' for none. */
  readonly description: string
  readonly tags: ReadonlyMap<string, string>
  /** From the first to the newest. */
  readonly versions: readonly [first: KeyVersion, ...later: KeyVersion[]]
  /** Where it was read from; undefined for one that was not read from a keystore. */
  readonly origin: Origin | undefined
  readonly #newest: KeyVersion
  /** Why it may not seal now, or not open. */
  readonly #sealRefusal: ErrorCode | undefined
  readonly #openRefusal: ErrorCode | undefined

  /** @param first version 1; the caller may wipe the secrets of all versions. */
  constructor(first: KeyParts, snapshot: Snapshot = UNCHANGED, origin?: Origin) {
    const later = snapshot.later.map((parts, index) => new KeyVersion(index + 2, parts))
    this.versions = [new KeyVersion(1, first), ...later]
    this.#newest = this.versions.at(-1) ?? this.versions[0]
    this.state = stateOf(snapshot)
    this.denyDecrypt = snapshot.deniesDecrypt
    this.deletionDate = snapshot.deletionDate
    this.description = snapshot.description
    this.tags = snapshot.tags
    this.origin = origin
    this.#sealRefusal = SEAL_REFUSALS[this.state]
    this.#openRefusal = this.denyDecrypt ? 'KEY_DISABLED' : undefined
  }

  /** Of version 1, as are `createdAt` and `createdBy`. */
  get cipher(): Cipher {
    return this.versions[0].cipher
  }

  get createdAt(): Timestamp {
    return this.versions[0].createdAt
  }

  get createdBy(): string {
    return this.versions[0].createdBy
  }

  /** The number of the newest version. */
  get version(): number {
    return this.#newest.version
  }

  /** Nothing but what the Go server knows of a key. */
  get isPlain(): boolean {
    return (
      this.state === 'enabled' &&
      this.version === 1 &&
      this.description === '' &&
      this.tags.size === 0
    )
  }

  /** Seals a plaintext under the newest version; the same context is needed to open it. @throws KesError KEY_DISABLED, KEY_PENDING */
  encrypt(plaintext: Uint8Array, context: Uint8Array): Buffer {
    if (this.#sealRefusal !== undefined) throw new KesError(this.#sealRefusal)
    return this.#newest.seal(plaintext, context)
  }

  /** The same of a large plaintext, which is sealed as the parts are taken. @throws KesError KEY_DISABLED, KEY_PENDING, at once */
  encryptInParts(plaintext: Uint8Array, context: Uint8Array): CiphertextParts {
    if (this.#sealRefusal !== undefined) throw new KesError(this.#sealRefusal)
    return this.#newest.sealInParts(plaintext, context)
  }

  /**
   * Opens a ciphertext of any version, made by any KES release. The returned bytes are fresh and belong to the caller.
   *
   * @throws KesError DECRYPT for every kind of damage, without saying which; KEY_DISABLED
   */
  decrypt(ciphertext: Buffer, context: Uint8Array): Buffer {
    if (this.#openRefusal !== undefined) throw new KesError(this.#openRefusal)
    const plaintext =
      this.#openLater(ciphertext, context) ?? this.versions[0].open(ciphertext, context)
    if (plaintext === undefined) throw new KesError('DECRYPT')
    return plaintext
  }

  /** Seals what a ciphertext holds under the newest version. @throws KesError DECRYPT, KEY_DISABLED, KEY_PENDING */
  rewrap(ciphertext: Buffer, context: Uint8Array): Buffer {
    if (this.#sealRefusal !== undefined) throw new KesError(this.#sealRefusal)
    const plaintext = this.decrypt(ciphertext, context)
    try {
      return this.#newest.seal(plaintext, context)
    } finally {
      plaintext.fill(0)
    }
  }

  /** A new random data key, in the clear and sealed. @throws KesError KEY_DISABLED, KEY_PENDING */
  dataKey(context: Uint8Array): DataKey {
    const plaintext = randomBytes(SECRET_SIZE)
    return { plaintext, ciphertext: this.encrypt(plaintext, context) }
  }

  /**
   * HMAC-SHA-256 of a message: of version 1 unless asked otherwise, so that a rotation does not change it.
   *
   * @throws KesError NO_HMAC, VERSION_NOT_FOUND, KEY_DISABLED
   */
  hmac(message: Uint8Array, version = 1): Buffer {
    if (this.#openRefusal !== undefined) throw new KesError(this.#openRefusal)
    const found = this.versions[version - 1]
    if (found === undefined) throw new KesError('VERSION_NOT_FOUND')
    return found.hmac(message)
  }

  /** With the version that a header names, and no other. */
  #openLater(ciphertext: Buffer, context: Uint8Array): Buffer | undefined {
    const split = splitHeader(ciphertext)
    if (split === undefined || split.version < 2) return undefined
    return this.versions[split.version - 1]?.open(split.rest, context)
  }
}

const SEAL_REFUSALS: Readonly<Record<KeyState, ErrorCode | undefined>> = {
  enabled: undefined,
  disabled: 'KEY_DISABLED',
  'pending-deletion': 'KEY_PENDING',
}
