/**
 * Data keys, in the clear and sealed under a key (rustfs-kms-admin.md, 8 and 7.10). What is sealed is a ciphertext of the
 * KES API, whose context is the encryption context as text: with the server's own keystore either API opens it.
 */

import { versionOf } from '../../crypto/header.ts'
import { randomBytes } from '../../crypto/random.ts'
import { decodeBase64, JsonError } from '../../json.ts'
import { SECRET_SIZE } from '../../keys/key-version.ts'
import type { StrictFields } from '../../strict-json.ts'
import { bodyKeyId, checkedKeyId } from './key-id.ts'
import { answer, badRequest, kmsRoute, required } from './route.ts'

/** Bytes of a data key. */
const SIZES: ReadonlyMap<string, number> = new Map([
  ['AES_256', SECRET_SIZE],
  ['Aes256', SECRET_SIZE],
  ['AES_128', 16],
  ['Aes128', 16],
  ['ChaCha20', SECRET_SIZE],
  ['CHACHA20', SECRET_SIZE],
])
/** Bytes of a context as text. */
const MAX_CONTEXT = 8192

export const generateDataKey = kmsRoute({
  operation: 'key:generate',
  method: 'POST',
  path: '/kms/generate-data-key',
  right: { key: 'generate' },
  keyId: bodyKeyId,
  refusal: { key_id: '', plaintext_key: null, ciphertext_blob: null },
  failure: 'failed to generate data key',
  async handle(call) {
    const { fields } = call
    const spec = required(fields.string('key_spec'), 'key_spec')
    const context = contextIn(fields)
    fields.end()
    const size = SIZES.get(spec)
    if (size === undefined)
      throw new JsonError('field key_spec is not AES_256, AES_128 or ChaCha20')
    const id = checkedKeyId(call)
    const key = await call.running.keys.get(id, call)
    const plaintext = randomBytes(size)
    const sealed = key.encrypt(plaintext, context)
    const reply = answer({
      key_id: id,
      plaintext_key: plaintext.toString('base64'),
      ciphertext_blob: sealed.toString('base64'),
    })
    plaintext.fill(0)
    return reply
  },
})

/** Ours: RustFS opens what it has sealed nowhere but in itself. */
export const decryptDataKey = kmsRoute({
  operation: 'key:decrypt',
  method: 'POST',
  path: '/kms/decrypt-data-key',
  right: { key: 'decrypt' },
  keyId: (request) => request.fields.string('key_id') ?? request.defaultKeyId ?? noKey(),
  refusal: { key_id: '', plaintext_key: null },
  failure: 'failed to decrypt data key',
  async handle(call) {
    const { fields } = call
    const sealed = required(fields.string('ciphertext_blob'), 'ciphertext_blob')
    const context = contextIn(fields)
    fields.end()
    const blob = decodeBase64(sealed)
    if (blob === undefined) throw new JsonError('field ciphertext_blob is not padded base64')
    const id = checkedKeyId(call)
    const key = await call.running.keys.get(id, call, versionOf(blob))
    const plaintext = key.decrypt(blob, context)
    const reply = answer({ key_id: id, plaintext_key: plaintext.toString('base64') })
    plaintext.fill(0)
    return reply
  },
})

function noKey(): never {
  throw badRequest('key_id is missing, and the configuration has no default_key_id')
}

function contextIn(fields: StrictFields): Buffer {
  const context = contextOf(fields.texts('encryption_context') ?? new Map<string, string>())
  if (context.length <= MAX_CONTEXT) return context
  throw badRequest(`the encryption context is too large: the limit is ${MAX_CONTEXT} bytes as JSON`)
}

/** One text for equal contexts: JSON without spaces, its fields sorted by the bytes of their names in UTF-8. */
export function contextOf(context: ReadonlyMap<string, string>): Buffer {
  const fields = [...context]
    .map(([name, value]) => ({ bytes: Buffer.from(name), text: `${quote(name)}:${quote(value)}` }))
    .sort((a, b) => a.bytes.compare(b.bytes))
  return Buffer.from(`{${fields.map(({ text }) => text).join(',')}}`)
}

function quote(text: string): string {
  return JSON.stringify(text)
}
