import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesField, varintField } from '#src/crypto/protobuf.js'
import { cipherNamed, DamagedKeyError, encodeKey } from '#src/keys/codec.js'
import type { KeyParts } from '#src/keys/key-version.js'
import { Key } from '#src/keys/key.js'
import { rfc3339, ZERO_TIME } from '#src/time.js'
import { bytes, RUNS } from '../support/bytes.ts'
import { decodeKey, entry, jsonEntry, PARTS } from '../support/keys.ts'

const NO_CONTEXT = Buffer.alloc(0)

/** Whether the key of an entry has the secrets and the facts of these parts. */
function assertSame(key: Key, parts: KeyParts): void {
  const twin = new Key(parts)
  assert.equal(key.cipher, parts.cipher)
  assert.deepEqual(key.createdAt, parts.createdAt)
  assert.equal(key.createdBy, parts.createdBy)
  const sealed = twin.encrypt(bytes('plaintext'), NO_CONTEXT)
  assert.equal(key.decrypt(sealed, NO_CONTEXT).toString(), 'plaintext')
  if (parts.hmacKey === undefined) assert.throws(() => key.hmac(bytes('m')), { code: 'NO_HMAC' })
  else assert.deepEqual(key.hmac(bytes('m')), twin.hmac(bytes('m')))
}

function damaged(value: Uint8Array, why?: RegExp): void {
  assert.throws(
    () => decodeKey(value),
    (error) => {
      assert.ok(error instanceof DamagedKeyError, String(error))
      if (why !== undefined) assert.match(error.message, why)
      return true
    },
  )
}

test('a key is read as it was written', () => {
  const secret = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const record = fc.record(
    {
      cipher: fc.constantFrom('AES256' as const, 'ChaCha20' as const),
      secret,
      hmacKey: fc.option(secret, { nil: undefined }),
      createdAt: fc.record(
        {
          seconds: fc.integer({ min: ZERO_TIME.seconds, max: 253_402_300_799 }),
          nanos: fc.nat(999_999_999),
        },
        { noNullPrototype: true },
      ),
      createdBy: fc.constantFrom('', 'a'.repeat(64)),
    },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(record, (parts) => assertSame(decodeKey(encodeKey(parts)), parts)),
    RUNS,
  )
})

test('an entry is base64 in one line', () => {
  assert.match(entry().toString(), /^[A-Za-z0-9+/]+={0,2}$/)
})

test('line breaks in an entry are skipped', () => {
  const text = entry().toString()
  assertSame(decodeKey(bytes(`${text.slice(0, 10)}\r\n${text.slice(10)}\n`)), PARTS)
})

test('a key without an HMAC key is read', () => {
  const parts = { ...PARTS, hmacKey: undefined }
  assertSame(decodeKey(entry({ hmacKey: undefined })), parts)
})

/** An entry of hand-made fields. */
function made(...fields: Buffer[]): Buffer {
  return bytes(Buffer.concat(fields).toString('base64'))
}

const SECRET = bytesField(1, Buffer.concat([bytesField(1, PARTS.secret), varintField(2, 1)]))

function secretKey(secret: Buffer, type: number): Buffer {
  return bytesField(1, Buffer.concat([bytesField(1, secret), varintField(2, type)]))
}

function hmacKey(secret: Buffer, hash: number): Buffer {
  return bytesField(2, Buffer.concat([bytesField(1, secret), varintField(2, hash)]))
}

function createdAt(seconds: number, nanos: number): Buffer {
  return bytesField(3, Buffer.concat([varintField(1, seconds), varintField(2, nanos)]))
}

test('a key without a date was made in 1970, as in Go', () => {
  assert.equal(rfc3339(decodeKey(made(SECRET)).createdAt), '1970-01-01T00:00:00Z')
})

test('fields of later releases are skipped', () => {
  assert.equal(decodeKey(made(SECRET, bytesField(15, bytes('new')))).cipher, 'AES256')
})

test('an empty entry is damaged', () => damaged(Buffer.alloc(0), /missing/))
test('white space is no key', () => damaged(bytes(' \n ')))
test('text that is no base64 is damaged', () => damaged(bytes('not a key!'), /not base64/))
test('a secret of 31 bytes is damaged', () => damaged(made(secretKey(Buffer.alloc(31), 1)), /31/))
test('a secret of 33 bytes is damaged', () => damaged(made(secretKey(Buffer.alloc(33), 2)), /33/))
test('an empty secret is damaged', () => damaged(made(secretKey(Buffer.alloc(0), 1)), /0 bytes/))
test('a key of cipher 0 is damaged', () => damaged(made(secretKey(Buffer.alloc(32), 0)), /cipher/))
test('a key of cipher 3 is damaged', () => damaged(made(secretKey(Buffer.alloc(32), 3)), /cipher/))
test('a missing secret is damage', () => damaged(made(hmacKey(Buffer.alloc(32), 1)), /missing/))

test('an HMAC key of a wrong size is damaged', () => {
  damaged(made(SECRET, hmacKey(Buffer.alloc(16), 1)), /HMAC key has 16 bytes/)
})

test('an HMAC key of an unknown hash function is damaged', () => {
  damaged(made(SECRET, hmacKey(Buffer.alloc(32), 2)), /hash function/)
})

test('a date out of range is damaged', () => {
  damaged(made(SECRET, createdAt(253_402_300_800, 0)), /date/)
  damaged(made(SECRET, createdAt(ZERO_TIME.seconds - 1, 0)), /date/)
  damaged(made(SECRET, createdAt(0, 1_000_000_000)), /date/)
  damaged(made(SECRET, createdAt(0, -1)), /date/)
})

test('the form of older releases is read', () => {
  const fields = { algorithm: 'ChaCha20', created_at: '2021-05-06T07:08:09.5Z', created_by: 'me' }
  const time = { seconds: Date.UTC(2021, 4, 6, 7, 8, 9) / 1000, nanos: 500_000_000 }
  const known = { cipher: 'ChaCha20', secret: PARTS.secret, createdBy: 'me' } as const
  assertSame(decodeKey(jsonEntry(fields)), { ...known, createdAt: time })
})

test('in the form of older releases no algorithm, or an empty one, is AES256', () => {
  assert.equal(decodeKey(jsonEntry()).cipher, 'AES256')
  assert.equal(decodeKey(jsonEntry({ algorithm: '' })).cipher, 'AES256')
})

test('in the form of older releases no date is Go’s zero time', () => {
  assert.deepEqual(decodeKey(jsonEntry()).createdAt, ZERO_TIME)
})

test('the form of older releases may have white space around', () => {
  const text = ` \n${jsonEntry().toString()}\n`
  assert.equal(decodeKey(bytes(text)).cipher, 'AES256')
})

test('a damaged entry in the form of older releases is damaged', () => {
  damaged(bytes('{'), /malformed JSON/)
  damaged(bytes('{}'), /0 bytes/)
  damaged(jsonEntry({ bytes: 'AAAA' }), /3 bytes/)
  damaged(jsonEntry({ bytes: '***' }))
  damaged(jsonEntry({ bytes: 1 }))
  damaged(jsonEntry({ algorithm: 'DES' }), /cipher/)
  damaged(jsonEntry({ algorithm: 'constructor' }), /cipher/)
  damaged(jsonEntry({ algorithm: 1 }))
  damaged(jsonEntry({ created_at: 'yesterday' }), /date/)
  damaged(bytes(`${jsonEntry().toString()}x`), /malformed JSON/)
})

test('an entry cut anywhere is damaged, or has lost only what may be absent', () => {
  const whole = Buffer.from(entry().toString(), 'base64')
  for (let size = 0; size < whole.length; size++) {
    const cut = bytes(whole.subarray(0, size).toString('base64'))
    try {
      assert.equal(decodeKey(cut).cipher, 'AES256')
    } catch (error) {
      assert.ok(error instanceof DamagedKeyError, String(error))
    }
  }
})

test('bytes of any kind are a key or damaged, nothing else', () => {
  const data = fc.uint8Array({ maxLength: 120 })
  const value = fc.oneof(
    data.map((raw) => Buffer.from(raw)),
    data.map((raw) => bytes(Buffer.from(raw).toString('base64'))),
    fc.json().map(bytes),
    fc.jsonValue().map((each) => jsonEntry({ bytes: each })),
    fc.record({ algorithm: fc.jsonValue(), created_at: fc.jsonValue() }).map(jsonEntry),
    fc.tuple(fc.nat(100), fc.nat(255)).map(([at, byte]) => {
      const mutated = Buffer.from(entry().toString(), 'base64')
      mutated[at] = byte
      return bytes(mutated.toString('base64'))
    }),
  )
  fc.assert(
    fc.property(value, (each) => {
      try {
        rfc3339(decodeKey(each).createdAt)
      } catch (error) {
        assert.ok(error instanceof DamagedKeyError, String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('what is wrong with an entry is said without any part of it', () => {
  for (const text of [
    '{"bytes":"geheim',
    'geheim?',
    '{"bytes":"Z2VoZWlt"}',
    '{"algorithm":"geheim"}',
  ])
    assert.throws(
      () => decodeKey(bytes(text)),
      (error: Error) => !`${error.message} ${String(error.cause)}`.includes('geheim'),
    )
})

test('decoding leaves the entry as it was', () => {
  for (const value of [entry(), jsonEntry()]) {
    const copy = Buffer.from(value)
    decodeKey(value)
    assert.deepEqual(value, copy)
  }
})

test('ciphers have their names of every release', () => {
  assert.equal(cipherNamed('AES256'), 'AES256')
  assert.equal(cipherNamed('AES256-GCM_SHA256'), 'AES256')
  assert.equal(cipherNamed('ChaCha20'), 'ChaCha20')
  assert.equal(cipherNamed('XCHACHA20-POLY1305'), 'ChaCha20')
  for (const name of ['', 'aes256', 'DES', 'constructor'])
    assert.equal(cipherNamed(name), undefined)
})
