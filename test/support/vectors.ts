/** The known answers of vectors/kes-vectors.json (vectors/SOURCES.md), checked against what this file knows of them. */

import { readFileSync } from 'node:fs'

import * as v from 'valibot'

import type { Cipher } from '#src/crypto/aead.js'

const base64 = v.pipe(
  v.string(),
  v.check((text) => Buffer.from(text, 'base64').toString('base64') === text),
  v.transform((text) => Buffer.from(text, 'base64')),
)
const cipher = v.picklist(['AES256', 'ChaCha20'] satisfies Cipher[])
const expect = v.picklist(['ok', 'error'])
const note = v.optional(v.string())

// Strict: a field that the tests do not look at must not be overlooked.
const schema = v.strictObject({
  kes_commit: v.string(),
  notes: v.array(v.string()),
  count: v.number(),
  origin: v.string(),
  keys: v.array(
    v.strictObject({
      id: v.string(),
      cipher,
      key: base64,
      hmac_key: base64,
      created_at: v.string(),
      created_by: v.string(),
      at_rest: v.string(),
      hmac: v.array(v.strictObject({ id: v.string(), message: base64, sum: base64 })),
    }),
  ),
  ciphertexts: v.array(
    v.strictObject({
      id: v.string(),
      key: v.string(),
      cipher,
      format: v.picklist(['raw', 'msgp', 'json']),
      plaintext: v.nullable(base64),
      context: base64,
      ciphertext: base64,
      expect,
      note,
      error: v.optional(v.strictObject({ status: v.number(), message: v.string() })),
    }),
  ),
  at_rest: v.array(
    v.strictObject({
      id: v.string(),
      file_content: v.string(),
      form: v.picklist(['protobuf-base64', 'json']),
      expect,
      cipher: v.optional(cipher),
      key: v.optional(base64),
      has_hmac: v.boolean(),
      created_at: v.optional(v.string()),
      created_by: v.optional(v.string()),
      note,
      go_error: v.optional(v.string()),
    }),
  ),
  api_keys: v.array(
    v.strictObject({
      id: v.string(),
      api_key: v.string(),
      identity: v.string(),
      expect,
      note,
    }),
  ),
  certificates: v.array(
    v.strictObject({
      id: v.string(),
      type: v.string(),
      cert_pem: v.string(),
      key_pem: v.string(),
      identity: v.string(),
    }),
  ),
})

export type Vectors = v.InferOutput<typeof schema>

/** @throws when the text has a field that is not known here, or lacks one. */
export function readVectors(text: string): Vectors {
  return v.parse(schema, JSON.parse(text))
}

/** Tests run in the project's directory. */
export const VECTORS_FILE = 'test/vectors/kes-vectors.json'

export const vectors: Vectors = readVectors(readFileSync(VECTORS_FILE, 'utf8'))
