/**
 * A keystore entry: what the Go server writes and reads (formats.md, "At rest"). Written: base64 of the
 * proto3 message KeyVersion. Read: that, and the JSON form of older releases.
 */

import type { Cipher } from '../crypto/aead.ts'
import { bytesField, Message, ProtobufError, varintField } from '../crypto/protobuf.ts'
import { decodeBase64, Fields, JsonError } from '../json.ts'
import { parseRfc3339, type Timestamp, ZERO_TIME } from '../time.ts'
import { type KeyParts, SECRET_SIZE } from './key-version.ts'

const CIPHER_TYPES: Readonly<Record<Cipher, number>> = { AES256: 1, ChaCha20: 2 }
const HMAC_SHA256 = 1

const CIPHER_NAMES: ReadonlyMap<string, Cipher> = new Map([
  ['AES256', 'AES256'],
  ['AES256-GCM_SHA256', 'AES256'],
  ['ChaCha20', 'ChaCha20'],
  ['XCHACHA20-POLY1305', 'ChaCha20'],
])

/** The cipher that a name stands for, in its current or its old spelling. */
export function cipherNamed(name: string): Cipher | undefined {
  return CIPHER_NAMES.get(name)
}

/** An entry that is not a key. Its message says what is wrong, never what is in it. */
export class DamagedKeyError extends Error {
  override readonly name = 'DamagedKeyError'
}

/** The exact bytes that the Go server would write for the same key. */
export function encodeKey(parts: KeyParts): Buffer {
  return entryOf(encodeVersion(parts))
}

/** The entry of a message, which is wiped: its base64. It has secrets as the message had. */
export function entryOf(message: Buffer): Buffer {
  const entry = Buffer.from(message.toString('base64'))
  message.fill(0)
  return entry
}

/** The proto3 message KeyVersion. */
export function encodeVersion(parts: KeyParts): Buffer {
  const { cipher, secret, hmacKey, createdAt, createdBy } = parts
  const secretKey = [bytesField(1, secret), varintField(2, CIPHER_TYPES[cipher])]
  const fields = [bytesField(1, Buffer.concat(secretKey))]
  if (hmacKey !== undefined) {
    fields.push(bytesField(2, Buffer.concat([bytesField(1, hmacKey), varintField(2, HMAC_SHA256)])))
  }
  fields.push(timeField(3, createdAt))
  if (createdBy !== '') fields.push(bytesField(4, Buffer.from(createdBy)))
  return Buffer.concat(fields)
}

/** A field with a google.protobuf.Timestamp. */
export function timeField(number: number, { seconds, nanos }: Timestamp): Buffer {
  return bytesField(number, Buffer.concat([varintField(1, seconds), varintField(2, nanos)]))
}

/** What a keystore entry says of version 1. The secrets are the caller's, to be wiped. @throws DamagedKeyError */
export function decodeEntry(entry: Uint8Array): KeyParts {
  const text = Buffer.from(entry.buffer, entry.byteOffset, entry.length).toString('latin1')
  return intact('not a stored key', () => {
    if (text.trimStart().startsWith('{')) return readJson(entry)
    const bytes = decodeBase64(text)
    if (bytes === undefined) throw new DamagedKeyError('not a stored key: not base64')
    return decodeVersion(bytes)
  })
}

/** What `read` returns. @param what is read, for the message. @throws DamagedKeyError when it is malformed */
export function intact<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (
      error instanceof ProtobufError ||
      error instanceof JsonError ||
      error instanceof SyntaxError
    ) {
      const reason = error instanceof SyntaxError ? 'malformed JSON' : error.message
      throw new DamagedKeyError(`${what}: ${reason}`)
    }
    throw error
  }
}

/** Reads the proto3 message KeyVersion; the secrets are views. @throws DamagedKeyError, ProtobufError */
export function decodeVersion(bytes: Buffer): KeyParts {
  const message = new Message(bytes)
  const secretKey = message.message(1)
  const hmacKey = message.message(2)
  const cipher = secretKey?.integer(2)
  if (secretKey === undefined || (cipher !== 1 && cipher !== 2)) {
    throw new DamagedKeyError('a secret of a known cipher is missing')
  }
  if (hmacKey !== undefined && hmacKey.integer(2) !== HMAC_SHA256) {
    throw new DamagedKeyError('the HMAC key is of an unknown hash function')
  }
  return {
    cipher: cipher === 1 ? 'AES256' : 'ChaCha20',
    secret: checkSize(secretKey.bytes(1), 'secret'),
    hmacKey: hmacKey && checkSize(hmacKey.bytes(1), 'HMAC key'),
    createdAt: readTime(message.message(3), 'the creation date'),
    createdBy: message.bytes(4)?.toString() ?? '',
  }
}

/** @param what it is, for the message. @throws DamagedKeyError, ProtobufError */
export function readTime(time: Message | undefined, what: string): Timestamp {
  const seconds = time?.integer(1) ?? 0
  const nanos = time?.integer(2) ?? 0
  // The range of google.protobuf.Timestamp: the years 1 to 9999.
  if (
    seconds < ZERO_TIME.seconds ||
    seconds > 253_402_300_799 ||
    nanos < 0 ||
    nanos > 999_999_999
  ) {
    throw new DamagedKeyError(`${what} is out of range`)
  }
  return { seconds, nanos }
}

/** `{"bytes","algorithm"?,"created_at"?,"created_by"?}`; without an algorithm, AES256. */
function readJson(entry: Uint8Array): KeyParts {
  const fields = new Fields(JSON.parse(Buffer.from(entry).toString()))
  const cipher = cipherNamed(fields.string('algorithm') || 'AES256')
  if (cipher === undefined) throw new DamagedKeyError('the cipher is unknown')
  const date = fields.string('created_at')
  const createdAt = date === undefined ? ZERO_TIME : parseRfc3339(date)
  if (createdAt === undefined) throw new DamagedKeyError('the creation date is malformed')
  return {
    cipher,
    secret: checkSize(fields.bytes('bytes'), 'secret'),
    createdAt,
    createdBy: fields.string('created_by') ?? '',
  }
}

function checkSize(bytes: Buffer | undefined, what: string): Buffer {
  if (bytes?.length === SECRET_SIZE) return bytes
  throw new DamagedKeyError(`the ${what} has ${bytes?.length ?? 0} bytes instead of ${SECRET_SIZE}`)
}
