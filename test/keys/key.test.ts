import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { Key } from '#src/keys/key.js'
import { UNCHANGED } from '#src/keys/snapshot.js'
import { bytes, flipBit } from '../support/bytes.ts'
import { PARTS } from '../support/keys.ts'

const key = new Key(PARTS)
const REFUSED = {
  code: 'DECRYPT',
  status: 400,
  message: 'decryption failed: ciphertext is not authentic',
}

test('what a key sealed it opens', () => {
  const sealed = key.encrypt(bytes('plaintext'), bytes('context'))
  assert.equal(key.decrypt(sealed, bytes('context')).toString(), 'plaintext')
})

test('what any version sealed in parts opens as what it sealed at once', () => {
  const secrets = { secret: Buffer.alloc(32, 7), hmacKey: Buffer.alloc(32, 8) }
  const second = { ...UNCHANGED, later: [{ ...PARTS, ...secrets }] }
  for (const cipher of ['AES256', 'ChaCha20'] as const) {
    for (const one of [new Key({ ...PARTS, cipher }), new Key({ ...PARTS, cipher }, second)]) {
      for (const size of [0, 1, 49_151, 49_152, 49_153, 786_000]) {
        const plaintext = Buffer.alloc(size, 'plaintext')
        const { length, parts } = one.encryptInParts(plaintext, bytes('context'))
        const sealed = Buffer.concat([...parts])
        assert.equal(sealed.length, length)
        assert.equal(length, one.encrypt(plaintext, bytes('context')).length)
        assert.deepEqual(one.decrypt(sealed, bytes('context')), plaintext)
        assert.throws(() => one.decrypt(sealed, bytes('other')), REFUSED)
        assert.throws(() => one.decrypt(flipBit(sealed, length * 8 - 1), bytes('context')), REFUSED)
      }
    }
  }
})

test('a disabled key refuses to seal in parts before a part is taken', () => {
  const disabled = new Key(PARTS, { ...UNCHANGED, isDisabled: true })
  assert.throws(() => disabled.encryptInParts(bytes('plaintext'), bytes('')), {
    code: 'KEY_DISABLED',
  })
})

test('an empty plaintext can be sealed', () => {
  assert.equal(key.decrypt(key.encrypt(bytes(''), bytes('')), bytes('')).length, 0)
})

test('a damaged tag and a wrong context look the same to the caller', () => {
  const sealed = key.encrypt(bytes('plaintext'), bytes('context'))
  const damaged = flipBit(sealed, (sealed.length - 29) * 8)
  assert.throws(() => key.decrypt(damaged, bytes('context')), REFUSED)
  assert.throws(() => key.decrypt(sealed, bytes('other')), REFUSED)
})

test('what is too short for a ciphertext looks the same to the caller', () => {
  for (const size of [0, 1, 27, 28, 43])
    assert.throws(() => key.decrypt(Buffer.alloc(size), bytes('')), REFUSED)
})

test('a refusal to decrypt has no cause that would tell more', () => {
  assert.throws(
    () => key.decrypt(Buffer.alloc(60), bytes('')),
    (error: Error) => error.cause === undefined,
  )
})

test('another key does not open it', () => {
  const sealed = key.encrypt(bytes('plaintext'), bytes(''))
  const other = new Key({ ...PARTS, secret: Buffer.alloc(32, 9) })
  assert.throws(() => other.decrypt(sealed, bytes('')), REFUSED)
})

test('the same secret with the other cipher does not open it', () => {
  const sealed = key.encrypt(bytes('plaintext'), bytes(''))
  const other = new Key({ ...PARTS, cipher: 'ChaCha20' })
  assert.throws(() => other.decrypt(sealed, bytes('')), REFUSED)
})

test('a data key has 32 bytes, and opens again', () => {
  const { plaintext, ciphertext } = key.dataKey(bytes('context'))
  assert.equal(plaintext.length, 32)
  assert.deepEqual(key.decrypt(ciphertext, bytes('context')), plaintext)
})

test('two data keys differ', () => {
  assert.notDeepEqual(key.dataKey(bytes('')).plaintext, key.dataKey(bytes('')).plaintext)
})

test('an HMAC does not depend on the secret, only on the HMAC key', () => {
  const other = new Key({ ...PARTS, secret: Buffer.alloc(32, 9) })
  assert.deepEqual(other.hmac(bytes('m')), key.hmac(bytes('m')))
})

test('a key without an HMAC key makes no HMAC: 409', () => {
  const old = new Key({ ...PARTS, hmacKey: undefined })
  assert.throws(() => old.hmac(bytes('m')), {
    code: 'NO_HMAC',
    status: 409,
    message: 'key does not support HMAC',
  })
})

test('a key does not notice when the bytes that it was made of are wiped', () => {
  const [secret, hmacKey] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const made = new Key({ ...PARTS, secret, hmacKey })
  const sealed = key.encrypt(bytes('plaintext'), bytes(''))
  secret.fill(0)
  hmacKey.fill(0)
  assert.equal(made.decrypt(sealed, bytes('')).toString(), 'plaintext')
  assert.deepEqual(made.hmac(bytes('m')), key.hmac(bytes('m')))
})

test('a key does not show its secrets by accident', () => {
  const shown = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  for (const secret of ['0101', '01 01', 'AQEB', '1,1,1', '1, 1, 1', '0202', '02 02'])
    assert.ok(!shown.includes(secret), secret)
})
