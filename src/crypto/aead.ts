/**
 * KES's authenticated encryption: every message has a subkey of its own, derived from the key's secret
 * and a random 16-byte iv (formats.md, "Cryptography of one key version").
 *
 * - AES256: subkey = HMAC-SHA-256(secret, iv), then AES-256-GCM.
 * - ChaCha20: subkey = HChaCha20(secret, iv), then ChaCha20-Poly1305.
 */

import {
  type CipherChaCha20Poly1305,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
} from 'node:crypto'

import { Ahead } from './ahead.ts'
import { fillRandom, randomBytes } from './random.ts'
import { Subkeys } from './subkey.ts'

export type Cipher = 'AES256' | 'ChaCha20'

export const IV_SIZE = 16
export const NONCE_SIZE = 12
export const TAG_SIZE = 16
/** How much longer a ciphertext is than its plaintext. */
export const OVERHEAD = TAG_SIZE + IV_SIZE + NONCE_SIZE
/** Bytes that are sealed at a time; a multiple of 3, for what is to become base64. */
const PART = 49_152

/** A sealed message, taken apart. The arrays are views, not copies. */
export interface Sealed {
  readonly iv: Uint8Array
  readonly nonce: Uint8Array
  /** Encrypted bytes followed by the tag. */
  readonly body: Uint8Array
}

type Sealer = CipherGCM | CipherChaCha20Poly1305

/** The cipher of a message that is not there yet: it knows subkey and nonce, and has no context. */
interface PreparedSealer {
  readonly sealer: Sealer
  /** The 28 bytes at the end of that message, and of no other. */
  readonly ivAndNonce: Buffer
}

/** Making it is more than half of what a small message costs. */
const ahead = new Ahead<PreparedSealer>()

/** A key's secret, which seals and opens messages. It cannot be read back. */
export class Secret {
  readonly cipher: Cipher
  /** The subkey of an iv, in a buffer that the next call overwrites. */
  readonly #subkey: (iv: Uint8Array) => Uint8Array
  /** Stands for this secret where its sealers wait. */
  readonly #owner = {}

  /** @param bytes 32; copied, the caller may wipe them. */
  constructor(cipher: Cipher, bytes: Uint8Array) {
    this.cipher = cipher
    this.#subkey = cipher === 'AES256' ? hmacSubkeys(bytes) : hchachaSubkeys(createSecretKey(bytes))
  }

  /** Ciphertext ‖ tag ‖ iv ‖ nonce, fresh bytes that belong to the caller. */
  seal(plaintext: Uint8Array, context: Uint8Array): Buffer {
    const size = plaintext.length
    const ivAt = size + TAG_SIZE
    // One buffer for all of it: the small copies cost more than the ciphers.
    const sealed = Buffer.allocUnsafe(size + OVERHEAD)
    const prepared = ahead.take(this.#owner, this.#prepare)
    if (prepared === undefined) fillRandom(sealed, ivAt, sealed.length)
    else sealed.set(prepared.ivAndNonce, ivAt)
    const sealer = prepared?.sealer ?? this.#sealer(sealed.subarray(ivAt))
    if (context.length > 0) sealer.setAAD(context, { plaintextLength: size })
    sealed.set(sealer.update(plaintext))
    sealer.final()
    sealed.set(sealer.getAuthTag(), size)
    return sealed
  }

  /** The same of a large plaintext, in parts that are sealed as they are taken: small ones stay in the processor's cache. */
  *sealInParts(plaintext: Uint8Array, context: Uint8Array): Generator<Buffer, void> {
    const size = plaintext.length
    const rest = Buffer.allocUnsafe(OVERHEAD)
    fillRandom(rest, TAG_SIZE, OVERHEAD)
    const sealer = this.#sealer(rest.subarray(TAG_SIZE))
    if (context.length > 0) sealer.setAAD(context, { plaintextLength: size })
    for (let from = 0; from < size; from += PART)
      yield sealer.update(plaintext.subarray(from, from + PART))
    sealer.final()
    rest.set(sealer.getAuthTag())
    yield rest
  }

  /** The plaintext, or undefined when anything about message, context or secret is not as it was sealed. */
  open({ iv, nonce, body }: Sealed, context: Uint8Array): Buffer | undefined {
    if (iv.length !== IV_SIZE || nonce.length !== NONCE_SIZE || body.length < TAG_SIZE) {
      return undefined
    }
    const subkey = this.#subkey(iv)
    const aead =
      this.cipher === 'AES256'
        ? createDecipheriv('aes-256-gcm', oneTimeKey(subkey), nonce)
        : createDecipheriv('chacha20-poly1305', oneTimeKey(subkey), nonce, TAG)
    subkey.fill(0)
    const size = body.length - TAG_SIZE
    aead.setAuthTag(body.subarray(size))
    if (context.length > 0) aead.setAAD(context, { plaintextLength: size })
    const plaintext = aead.update(body.subarray(0, size))
    try {
      aead.final()
      return plaintext
    } catch {
      // The tag does not fit: what was decrypted so far must not be seen.
      plaintext.fill(0)
      return undefined
    }
  }

  readonly #prepare = (): PreparedSealer => {
    const ivAndNonce = randomBytes(IV_SIZE + NONCE_SIZE)
    return { sealer: this.#sealer(ivAndNonce), ivAndNonce }
  }

  #sealer(ivAndNonce: Buffer): Sealer {
    const subkey = this.#subkey(ivAndNonce.subarray(0, IV_SIZE))
    const nonce = ivAndNonce.subarray(IV_SIZE)
    const sealer =
      this.cipher === 'AES256'
        ? createCipheriv('aes-256-gcm', oneTimeKey(subkey), nonce)
        : createCipheriv('chacha20-poly1305', oneTimeKey(subkey), nonce, TAG)
    subkey.fill(0)
    return sealer
  }
}

const TAG = { authTagLength: TAG_SIZE }

/** An HMAC-SHA-256 of a message. */
export function mac(secret: KeyObject, message: Uint8Array): Buffer {
  return createHmac('sha256', secret).update(message).digest()
}

function hmacSubkeys(secret: Uint8Array): (iv: Uint8Array) => Uint8Array {
  const subkeys = new Subkeys(secret)
  const subkey = new Uint8Array(32)
  const view = new DataView(subkey.buffer)
  return (iv) => {
    subkeys.derive(iv, view)
    return subkey
  }
}

// "expand 32-byte k", the constant that fills the first row of ChaCha20's state (RFC 8439, 2.3).
const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const
const ZERO_BLOCK = Buffer.alloc(64)

/**
 * HChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2) out of OpenSSL's ChaCha20, which takes the last row of the
 * state whole, as its 16-byte iv. A block of key stream is the state after the rounds plus the state before;
 * HChaCha20 is the first and last row after the rounds, and of these rows the state before is known: the
 * constant and the iv. So the secret never leaves its KeyObject.
 */
function hchachaSubkeys(secret: KeyObject): (iv: Uint8Array) => Uint8Array {
  const subkey = Buffer.alloc(32)
  return (iv) => {
    const block = createCipheriv('chacha20', secret, iv).update(ZERO_BLOCK)
    const input = Buffer.from(iv.buffer, iv.byteOffset, IV_SIZE)
    for (let word = 0; word < 4; word++) {
      const first = block.readUInt32LE(word * 4) - (SIGMA[word] ?? 0)
      const last = block.readUInt32LE(48 + word * 4) - input.readUInt32LE(word * 4)
      subkey.writeUInt32LE(first >>> 0, word * 4)
      subkey.writeUInt32LE(last >>> 0, 16 + word * 4)
    }
    block.fill(0)
    return subkey
  }
}

// A raw key buffer for a key that is used once is cheaper on OpenSSL 3.0 (Node 20), and far dearer on 3.5 (Node 24).
const rawIsCheaper = Number(process.versions.node.split('.')[0]) < 24

function oneTimeKey(subkey: Uint8Array): Uint8Array | KeyObject {
  return rawIsCheaper ? subkey : createSecretKey(subkey)
}
