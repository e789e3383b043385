/**
 * A keystore entry: what the Go server writes and reads (formats.md, "At rest"). Written: base64 of the
 * proto3 message KeyVersion. Read: that, and the JSON form of older releases.
 */

import type { Cipher } from '../crypto/aead.ts'
import { bytesField, Message, ProtobufError, varintField } from '../crypto/protobuf.ts'
import { decodeBase64, Fields, JsonError } from '../json.ts'
import { parseRfc3339, ZERO_TIME } from '../time.ts'
import { Key, type KeyParts, SECRET_SIZE } from './key.ts'

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
export function encodeKey({ cipher, secret, hmacKey, createdAt, createdBy }: KeyParts): Buffer {
  const secretKey = [bytesField(1, secret), varintField(2, CIPHER_TYPES[cipher])]
  const time = [varintField(1, createdAt.seconds), varintField(2, createdAt.nanos)]
  const fields = [bytesField(1, Buffer.concat(secretKey))]
  if (hmacKey !== undefined) {
    fields.push(bytesField(2, Buffer.concat([bytesField(1, hmacKey), varintField(2, HMAC_SHA256)])))
  }
  fields.push(bytesField(3, Buffer.concat(time)))
  if (createdBy !== '') fields.push(bytesField(4, Buffer.from(createdBy)))
  return Buffer.from(Buffer.concat(fields).toString('base64'))
}

/** @throws DamagedKeyError */
export function decodeKey(entry: Uint8Array): Key {
  const text = Buffer.from(entry.buffer, entry.byteOffset, entry.length).toString('latin1')
  try {
    return new Key(text.trimStart().startsWith('{') ? readJson(entry) : readProtobuf(text))
  } catch (error) {
    if (
      error instanceof ProtobufError ||
      error instanceof JsonError ||
      error instanceof SyntaxError
    ) {
      throw new DamagedKeyError(
        `not a stored key: ${error instanceof SyntaxError ? 'malformed JSON' : error.message}`,
      )
    }
    throw error
  }
}

function readProtobuf(text: string): KeyParts {
  const bytes = decodeBase64(text)
  if (bytes === undefined) throw new DamagedKeyError('not a stored key: not base64')
  const message = new Message(bytes)
  const secretKey = message.message(1)
  const hmacKey = message.message(2)
  const time = message.message(3)
  const cipher = secretKey?.integer(2)
  if (secretKey === undefined || (cipher !== 1 && cipher !== 2)) {
    throw new DamagedKeyError('a secret of a known cipher is missing')
  }
  if (hmacKey !== undefined && hmacKey.integer(2) !== HMAC_SHA256) {
    throw new DamagedKeyError('the HMAC key is of an unknown hash function')
  }
  const seconds = time?.integer(1) ?? 0
  const nanos = time?.integer(2) ?? 0
  // The range of google.protobuf.Timestamp: the years 1 to 9999.
  if (
    seconds < ZERO_TIME.seconds ||
    seconds > 253_402_300_799 ||
    nanos < 0 ||
    nanos > 999_999_999
  ) {
    throw new DamagedKeyError('the creation date is out of range')
  }
  return {
    cipher: cipher === 1 ? 'AES256' : 'ChaCha20',
    secret: checkSize(secretKey.bytes(1), 'secret'),
    hmacKey: hmacKey && checkSize(hmacKey.bytes(1), 'HMAC key'),
    createdAt: { seconds, nanos },
    createdBy: message.bytes(4)?.toString() ?? '',
  }
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
