/** Keystore entries for tests. */

import { encodeKey } from '#src/keys/codec.js'
import type { KeyParts } from '#src/keys/key-version.js'
import { bytes } from './bytes.ts'

export const PARTS: KeyParts = {
  cipher: 'AES256',
  secret: Buffer.alloc(32, 1),
  hmacKey: Buffer.alloc(32, 2),
  createdAt: { seconds: 1_700_000_000, nanos: 123_456_789 },
  createdBy: 'a'.repeat(64),
}

/** An entry as the server writes it. */
export function entry(parts: Partial<KeyParts> = {}): Buffer {
  return encodeKey({ ...PARTS, ...parts })
}

/** An entry in the form of older releases. */
export function jsonEntry(fields: object = {}): Buffer {
  return bytes(JSON.stringify({ bytes: Buffer.alloc(32, 1).toString('base64'), ...fields }))
}
