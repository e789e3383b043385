/**
 * Reads every ciphertext that any KES release ever wrote (formats.md, "Ciphertexts ever written"): raw,
 * msgpack and JSON. Writes none: a new ciphertext is what `seal` returns.
 */

import { Fields, JsonError } from '../json.ts'
import { type Cipher, IV_SIZE, NONCE_SIZE, type Sealed } from './aead.ts'

const MSGPACK_ARRAY_OF_5 = 0x95
const OPENING_BRACE = 0x7b

// The name inside must be known but is not trusted: the key's cipher is used, and the tag decides.
const MSGPACK_NAMES = new Set(['AES256', 'AES256-GCM_SHA256', 'ChaCha20', 'XCHACHA20-POLY1305'])
const JSON_NAMES = new Set(['AES-256-GCM-HMAC-SHA-256', 'ChaCha20Poly1305'])
/** The name of releases that had no other cipher: the only one that must agree with the key's. */
const OLDEST_NAME = 'AES-256-GCM'

/**
 * Takes a ciphertext apart, for a key of this cipher. What is not wholly msgpack or JSON is read as raw:
 * a raw ciphertext may begin with any byte.
 *
 * @returns undefined when it is too short to be one.
 */
export function parseCiphertext(bytes: Buffer, cipher: Cipher): Sealed | undefined {
  if (bytes[0] === MSGPACK_ARRAY_OF_5) return parseMsgpack(bytes) ?? parseRaw(bytes)
  if (bytes[0] === OPENING_BRACE) return parseJson(bytes, cipher) ?? parseRaw(bytes)
  return parseRaw(bytes)
}

/** Ciphertext ‖ tag ‖ iv ‖ nonce. */
export function parseRaw(bytes: Buffer): Sealed | undefined {
  const end = bytes.length - IV_SIZE - NONCE_SIZE
  if (end < 0) return undefined
  return {
    body: bytes.subarray(0, end),
    iv: bytes.subarray(end, end + IV_SIZE),
    nonce: bytes.subarray(end + IV_SIZE),
  }
}

/** `{"aead","id"?,"iv","nonce","bytes"}`, byte strings in base64. */
function parseJson(bytes: Buffer, cipher: Cipher): Sealed | undefined {
  try {
    const fields = new Fields(JSON.parse(bytes.toString()))
    const name = fields.string('aead') ?? ''
    if (!JSON_NAMES.has(name) && !(name === OLDEST_NAME && cipher === 'AES256')) return undefined
    return sized(fields.bytes('iv'), fields.bytes('nonce'), fields.bytes('bytes'))
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof JsonError) return undefined
    throw error
  }
}

/** An array of algorithm (str), key id (str), iv (bin), nonce (bin), ciphertext ‖ tag (bin); nothing may follow. */
function parseMsgpack(bytes: Buffer): Sealed | undefined {
  const reader = new MsgpackReader(bytes)
  const name = reader.text()
  reader.text() // the key id: which key to use, the caller says
  const sealed = sized(reader.binary(), reader.binary(), reader.binary())
  return reader.finished && MSGPACK_NAMES.has(name?.toString() ?? '') ? sealed : undefined
}

function sized(iv?: Buffer, nonce?: Buffer, body?: Buffer): Sealed | undefined {
  if (iv?.length !== IV_SIZE || nonce?.length !== NONCE_SIZE || body === undefined) return undefined
  return { iv, nonce, body }
}

/** The two kinds of msgpack value that a ciphertext has. After a mismatch it is never `finished`. */
class MsgpackReader {
  readonly #bytes: Buffer
  #at = 1

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get finished(): boolean {
    return this.#at === this.#bytes.length
  }

  text(): Buffer | undefined {
    const head = this.#bytes[this.#at] ?? 0
    if (head >= 0xa0 && head <= 0xbf) return this.#take(1, head - 0xa0)
    return this.#sized(head - 0xd9)
  }

  binary(): Buffer | undefined {
    return this.#sized((this.#bytes[this.#at] ?? 0) - 0xc4)
  }

  /** @param width 0, 1 or 2 for a length of 1, 2 or 4 bytes; anything else is a mismatch. */
  #sized(width: number): Buffer | undefined {
    const size = 2 ** width
    if ((width !== 0 && width !== 1 && width !== 2) || this.#at + 1 + size > this.#bytes.length) {
      return this.#fail()
    }
    return this.#take(1 + size, this.#bytes.readUIntBE(this.#at + 1, size))
  }

  #take(skip: number, length: number): Buffer | undefined {
    const start = this.#at + skip
    if (start + length > this.#bytes.length) return this.#fail()
    this.#at = start + length
    return this.#bytes.subarray(start, this.#at)
  }

  #fail(): undefined {
    this.#at = Number.POSITIVE_INFINITY
  }
}
