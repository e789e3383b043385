import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { readCertificate } from '#src/crypto/der.js'
import { ApiKey, identityOf } from '#src/crypto/identity.js'
import { DamagedKeyError, encodeKey } from '#src/keys/codec.js'
import { Key } from '#src/keys/key.js'
import { parseRfc3339, rfc3339, ZERO_TIME } from '#src/time.js'
import { bytes } from '../support/bytes.ts'
import { decodeKey } from '../support/keys.ts'
import { readVectors, vectors, VECTORS_FILE } from '../support/vectors.ts'

const REFUSED = {
  code: 'DECRYPT',
  status: 400,
  message: 'decryption failed: ciphertext is not authentic',
}

function keyOf(id: string): Key {
  const vector = vectors.keys.find((key) => key.id === id)
  assert.ok(vector, `there is no key ${id}`)
  return decodeKey(bytes(vector.at_rest))
}

for (const vector of vectors.ciphertexts) {
  const key = keyOf(vector.key)
  if (vector.expect === 'ok') {
    test(`ciphertext ${vector.id} opens`, () => {
      assert.equal(key.cipher, vector.cipher)
      assert.deepEqual(key.decrypt(vector.ciphertext, vector.context), vector.plaintext)
    })
  } else {
    test(`ciphertext ${vector.id} does not open`, () => {
      assert.deepEqual(vector.error, { status: REFUSED.status, message: REFUSED.message })
      assert.throws(() => key.decrypt(vector.ciphertext, vector.context), REFUSED)
    })
  }
}

for (const vector of vectors.keys) {
  const createdAt = parseRfc3339(vector.created_at)
  assert.ok(createdAt)
  const parts = {
    cipher: vector.cipher,
    secret: vector.key,
    hmacKey: vector.hmac_key,
    createdAt,
    createdBy: vector.created_by,
  }

  test(`key ${vector.id} is stored byte for byte as the Go server does`, () => {
    assert.equal(encodeKey(parts).toString(), vector.at_rest)
  })

  test(`key ${vector.id} tells when and by whom it was made`, () => {
    const key = keyOf(vector.id)
    assert.equal(rfc3339(key.createdAt), vector.created_at)
    assert.equal(key.createdBy, vector.created_by)
  })

  for (const { id, message, sum } of vector.hmac) {
    test(`HMAC ${id} is the Go server's`, () => {
      assert.deepEqual(keyOf(vector.id).hmac(message), sum)
    })
  }
}

for (const vector of vectors.at_rest) {
  const entry = bytes(vector.file_content)
  if (vector.expect === 'error') {
    test(`entry ${vector.id} is damaged`, () => {
      assert.throws(() => decodeKey(entry), DamagedKeyError)
    })
    continue
  }

  test(`entry ${vector.id} is read`, () => {
    const key = decodeKey(entry)
    assert.equal(key.cipher, vector.cipher)
    assert.equal(rfc3339(key.createdAt), vector.created_at)
    assert.equal(key.createdBy, vector.created_by ?? '')
  })

  test(`entry ${vector.id} holds the secret of the vector`, () => {
    assert.ok(vector.key !== undefined && vector.cipher !== undefined)
    const known = { cipher: vector.cipher, secret: vector.key }
    const twin = new Key({ ...known, createdAt: ZERO_TIME, createdBy: '' })
    const sealed = twin.encrypt(bytes('plaintext'), bytes('context'))
    assert.equal(decodeKey(entry).decrypt(sealed, bytes('context')).toString(), 'plaintext')
  })

  test(`entry ${vector.id} has ${vector.has_hmac ? 'an' : 'no'} HMAC key`, () => {
    const sum = (): Buffer => decodeKey(entry).hmac(bytes('message'))
    if (vector.has_hmac) assert.equal(sum().length, 32)
    else assert.throws(sum, { code: 'NO_HMAC', status: 409 })
  })
}

for (const vector of vectors.api_keys) {
  test(`API key ${vector.id} is ${vector.expect === 'ok' ? 'read' : 'refused'}`, () => {
    const apiKey = ApiKey.parse(vector.api_key)
    assert.equal(apiKey?.identity ?? '', vector.identity)
    assert.equal(apiKey !== undefined, vector.expect === 'ok')
    if (apiKey !== undefined) assert.ok(apiKey.reveal().endsWith(vector.api_key))
  })
}

for (const vector of vectors.certificates) {
  test(`certificate ${vector.id} has the identity that the Go server gives it`, () => {
    const { raw } = new X509Certificate(vector.cert_pem)
    assert.equal(identityOf(readCertificate(raw).publicKey), vector.identity)
  })
}

/** A raw ciphertext in the JSON form of the oldest releases. */
function oldest(id: string): { ciphertext: Buffer; context: Buffer; plaintext: Buffer } {
  const vector = vectors.ciphertexts.find((candidate) => candidate.id === id)
  assert.ok(vector?.plaintext && vector.format === 'raw')
  const { ciphertext: raw, context, plaintext } = vector
  const base64 = (start: number, end?: number) => raw.subarray(start, end).toString('base64')
  const parts = { iv: base64(-28, -12), nonce: base64(-12), bytes: base64(0, -28) }
  return { ciphertext: bytes(JSON.stringify({ aead: 'AES-256-GCM', ...parts })), context, plaintext }
}

// Ours: the Go server does not know this name (formats.md, "Ciphertexts ever written").
test('a ciphertext of the oldest releases, AES-256-GCM by name, opens under an AES256 key', () => {
  const { ciphertext, context, plaintext } = oldest('vec-aes256-raw-hello-noctx')
  assert.deepEqual(keyOf('vec-aes256').decrypt(ciphertext, context), plaintext)
})

test('a ciphertext of the oldest releases does not open under a ChaCha20 key', () => {
  const { ciphertext, context } = oldest('vec-chacha20-raw-hello-noctx')
  assert.throws(() => keyOf('vec-chacha20').decrypt(ciphertext, context), REFUSED)
})

test('the file holds as many vectors as it says', () => {
  const { ciphertexts, at_rest, api_keys, certificates, keys } = vectors
  const all = [keys, ciphertexts, at_rest, api_keys, certificates].flat()
  assert.equal(all.length, vectors.count)
})

for (const path of [[], ['keys', 0], ['ciphertexts', 0], ['at_rest', 0], ['api_keys', 0]]) {
  test(`a vector file with an unknown field in /${path.join('/')} is refused`, () => {
    const file: unknown = JSON.parse(readFileSync(VECTORS_FILE, 'utf8'))
    let target = file as Record<string | number, unknown>
    for (const step of path) target = target[step] as Record<string | number, unknown>
    target['surprise'] = 1
    assert.throws(() => readVectors(JSON.stringify(file)), { name: 'ValiError' })
  })
}
