import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { parseCiphertext } from '#src/crypto/ciphertext.js'
import { bytes } from '../support/bytes.ts'

const IV = Buffer.alloc(16, 1)
const NONCE = Buffer.alloc(12, 2)
const BODY = Buffer.alloc(20, 3)
const PARTS = { iv: IV, nonce: NONCE, body: BODY }

function json(fields: object): Buffer {
  const [iv, nonce, body] = [IV, NONCE, BODY].map((part) => part.toString('base64'))
  return bytes(JSON.stringify({ aead: 'ChaCha20Poly1305', iv, nonce, bytes: body, ...fields }))
}

/** A msgpack str or bin with a length of `width` bytes. */
function value(code: number, width: number, data: Buffer): Buffer {
  const length = Buffer.alloc(width)
  length.writeUIntBE(data.length, 0, width)
  return Buffer.concat([Buffer.of(code), length, data])
}

function msgpack(name: Buffer, id: Buffer, ...rest: Buffer[]): Buffer {
  const binaries = [IV, NONCE, BODY].map((part) => value(0xc4, 1, part))
  return Buffer.concat([Buffer.of(0x95), name, id, ...binaries, ...rest])
}

const NAME = Buffer.concat([Buffer.of(0xa6), bytes('AES256')])
const NO_ID = Buffer.of(0xa0)

/** Not read in its own form, hence taken for a raw ciphertext. */
function assertRaw(ciphertext: Buffer, cipher: 'AES256' | 'ChaCha20' = 'AES256'): void {
  assert.deepEqual(parseCiphertext(ciphertext, cipher)?.nonce, ciphertext.subarray(-12))
}

test('a raw ciphertext ends in iv and nonce', () => {
  assert.deepEqual(parseCiphertext(Buffer.concat([BODY, IV, NONCE]), 'AES256'), PARTS)
})

test('what is shorter than iv and nonce is no ciphertext', () => {
  for (let size = 0; size < 28; size++) {
    assert.equal(parseCiphertext(Buffer.alloc(size, 0x20), 'AES256'), undefined)
    assert.equal(parseCiphertext(Buffer.alloc(size, 0x7b), 'AES256'), undefined)
    assert.equal(parseCiphertext(Buffer.alloc(size, 0x95), 'AES256'), undefined)
  }
})

test('the JSON form is read', () => {
  assert.deepEqual(parseCiphertext(json({ id: 'some key' }), 'ChaCha20'), PARTS)
})

test('the JSON form may lack a key id', () => {
  assert.deepEqual(parseCiphertext(json({}), 'ChaCha20'), PARTS)
})

test('the JSON form may name the other cipher', () => {
  assert.deepEqual(parseCiphertext(json({}), 'AES256'), PARTS)
})

test('AES-256-GCM in the JSON form is an AES256 ciphertext', () => {
  assert.deepEqual(parseCiphertext(json({ aead: 'AES-256-GCM' }), 'AES256'), PARTS)
})

test('AES-256-GCM in the JSON form is no ChaCha20 ciphertext', () => {
  assertRaw(json({ aead: 'AES-256-GCM' }), 'ChaCha20')
})

test('the JSON form with an unknown name is taken for a raw ciphertext', () => {
  for (const aead of ['', 'AES256', 'aes-256-gcm', null, undefined, 1]) assertRaw(json({ aead }))
})

test('the JSON form with parts of a wrong size is taken for a raw ciphertext', () => {
  for (const fields of [{ iv: 'AAAA' }, { nonce: 'AAAA' }, { bytes: null }, { iv: null }])
    assertRaw(json(fields))
})

test('what follows the JSON form makes it a raw ciphertext', () => {
  assertRaw(Buffer.concat([json({}), bytes('{}')]))
})

test('the msgpack form is read', () => {
  assert.deepEqual(parseCiphertext(msgpack(NAME, NO_ID), 'AES256'), PARTS)
})

test('the msgpack form is read with lengths of every width', () => {
  for (const [str, bin, width] of [
    [0xd9, 0xc4, 1],
    [0xda, 0xc5, 2],
    [0xdb, 0xc6, 4],
  ] as const) {
    const ciphertext = Buffer.concat([
      Buffer.of(0x95),
      value(str, width, bytes('XCHACHA20-POLY1305')),
      value(str, width, bytes('a key id')),
      ...[IV, NONCE, BODY].map((part) => value(bin, width, part)),
    ])
    assert.deepEqual(parseCiphertext(ciphertext, 'AES256'), PARTS)
  }
})

test('a byte behind the msgpack form makes it a raw ciphertext', () => {
  assertRaw(msgpack(NAME, NO_ID, Buffer.of(0)))
})

test('the msgpack form with an unknown name is taken for a raw ciphertext', () => {
  assertRaw(msgpack(Buffer.concat([Buffer.of(0xa3), bytes('DES')]), NO_ID))
})

test('the msgpack form cut anywhere is taken for a raw ciphertext, or for none', () => {
  const whole = msgpack(NAME, NO_ID)
  for (let size = 28; size < whole.length; size++) assertRaw(whole.subarray(0, size))
})

test('bytes of any kind are taken apart or refused, nothing else', () => {
  const first = fc.constantFrom([], [0x95], [0x7b], [0x95, 0xa6, ...bytes('AES256'), 0xa0])
  const text = fc.string({ unit: 'binary', maxLength: 60 }).map((inner) => [...bytes(inner)])
  const tail = fc.oneof(fc.array(fc.nat(255), { maxLength: 80 }), text)
  fc.assert(
    fc.property(first, tail, fc.boolean(), (head, rest, aes) => {
      const data = Buffer.from([...head, ...rest])
      const parts = parseCiphertext(data, aes ? 'AES256' : 'ChaCha20')
      if (data.length >= 28) assert.ok(parts)
      if (parts) assert.deepEqual([parts.iv.length, parts.nonce.length], [16, 12])
    }),
    { numRuns: 500 },
  )
})

test('a JSON form with any fields is taken apart or refused, nothing else', () => {
  const field = fc.constantFrom('aead', 'iv', 'nonce', 'bytes', 'id', '__proto__', 'IV')
  const name = fc.constantFrom('ChaCha20Poly1305', 'AES-256-GCM', 'AAAA')
  fc.assert(
    fc.property(fc.dictionary(field, fc.oneof(name, fc.jsonValue())), (fields) => {
      parseCiphertext(bytes(JSON.stringify(fields)), 'AES256')
    }),
    { numRuns: 300 },
  )
})
