import assert from 'node:assert/strict'
import { createCipheriv, createHmac, createSecretKey } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { type Cipher, mac, OVERHEAD, type Sealed, Secret } from '#src/crypto/aead.js'
import { bytes, flipBit, RUNS } from '../support/bytes.ts'
import { apart } from '../support/seals.ts'

const CIPHERS: readonly Cipher[] = ['AES256', 'ChaCha20']
const SECRET = Buffer.alloc(32, 7)
const OTHER_SECRET = Buffer.alloc(32, 8)

function seal(cipher: Cipher, secret: Uint8Array, plaintext: Uint8Array, context: Uint8Array) {
  return new Secret(cipher, secret).seal(plaintext, context)
}

function open(cipher: Cipher, secret: Uint8Array, sealed: Sealed, context: Uint8Array) {
  return new Secret(cipher, secret).open(sealed, context)
}

for (const cipher of CIPHERS) {
  test(`what ${cipher} sealed opens with the same secret and context`, () => {
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const data = fc.uint8Array({ maxLength: 300 })
    fc.assert(
      fc.property(key, data, data, (secret, plaintext, context) => {
        const sealed = seal(cipher, secret, plaintext, context)
        assert.deepEqual(open(cipher, secret, apart(sealed), context), Buffer.from(plaintext))
      }),
      RUNS,
    )
  })

  test(`a message of ${cipher} is 44 bytes longer than its plaintext`, () => {
    assert.equal(OVERHEAD, 44)
    for (const size of [0, 1, 15, 16, 17, 32, 1000, 65_536]) {
      const sealed = seal(cipher, SECRET, Buffer.alloc(size), Buffer.alloc(0))
      assert.equal(sealed.length, size + 44)
    }
  })

  test(`no bit of a message of ${cipher} can be turned over`, () => {
    const context = bytes('context')
    const sealed = seal(cipher, SECRET, bytes('plaintext'), context)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const damaged = flipBit(sealed, bit)
      assert.equal(open(cipher, SECRET, apart(damaged), context), undefined, `bit ${bit}`)
    }
  })

  test(`a message of ${cipher} does not open in another context`, () => {
    const sealed = apart(seal(cipher, SECRET, bytes('plaintext'), bytes('context')))
    for (const context of ['', 'contex', 'context ', 'Context', '\0context'])
      assert.equal(open(cipher, SECRET, sealed, bytes(context)), undefined, context)
  })

  test(`a message of ${cipher} without context does not open in one`, () => {
    const sealed = apart(seal(cipher, SECRET, bytes('plaintext'), Buffer.alloc(0)))
    assert.equal(open(cipher, SECRET, sealed, bytes('c')), undefined)
  })

  test(`a message of ${cipher} does not open with another secret`, () => {
    const sealed = apart(seal(cipher, SECRET, bytes('plaintext'), Buffer.alloc(0)))
    assert.equal(open(cipher, OTHER_SECRET, sealed, Buffer.alloc(0)), undefined)
  })

  test(`two messages of ${cipher} of the same plaintext have nothing in common`, () => {
    const plaintext = Buffer.alloc(64)
    const [a, b] = [1, 2].map(() => apart(seal(cipher, SECRET, plaintext, Buffer.alloc(0))))
    assert.notDeepEqual(a?.iv, b?.iv)
    assert.notDeepEqual(a?.nonce, b?.nonce)
    assert.notDeepEqual(a?.body.subarray(0, 32), b?.body.subarray(0, 32))
  })

  test(`parts of a wrong size do not open with ${cipher}`, () => {
    const sealed = apart(seal(cipher, SECRET, bytes('plaintext'), Buffer.alloc(0)))
    const wrong: Sealed[] = [
      { ...sealed, iv: sealed.iv.subarray(1) },
      { ...sealed, iv: Buffer.alloc(17) },
      { ...sealed, nonce: sealed.nonce.subarray(1) },
      { ...sealed, nonce: Buffer.alloc(13) },
      { ...sealed, body: sealed.body.subarray(0, 15) },
      { ...sealed, body: Buffer.alloc(0) },
    ]
    for (const parts of wrong) assert.equal(open(cipher, SECRET, parts, Buffer.alloc(0)), undefined)
  })

  test(`sealing with ${cipher} leaves plaintext and context as they were`, () => {
    const [plaintext, context] = [bytes('plaintext'), bytes('context')]
    seal(cipher, SECRET, plaintext, context)
    assert.deepEqual([plaintext, context], [bytes('plaintext'), bytes('context')])
  })

  test(`opening with ${cipher} leaves the message as it was`, () => {
    const sealed = seal(cipher, SECRET, bytes('plaintext'), Buffer.alloc(0))
    const copy = Buffer.from(sealed)
    open(cipher, SECRET, apart(sealed), Buffer.alloc(0))
    assert.deepEqual(sealed, copy)
  })

  test(`a message that is a view with an offset opens with ${cipher}`, () => {
    const sealed = seal(cipher, SECRET, bytes('plaintext'), Buffer.alloc(0))
    const parts = apart(Buffer.concat([bytes('xyz'), sealed]).subarray(3))
    assert.deepEqual(open(cipher, SECRET, parts, Buffer.alloc(0)), bytes('plaintext'))
  })
}

/** A message made with a given subkey by OpenSSL alone. */
function handmade(
  algorithm: 'aes-256-gcm' | 'chacha20-poly1305',
  subkey: Buffer,
  iv: Buffer,
): Sealed {
  const nonce = Buffer.alloc(12, 3)
  const aead = createCipheriv(algorithm as 'aes-256-gcm', subkey, nonce, { authTagLength: 16 })
  aead.setAAD(bytes('context'))
  const body = Buffer.concat([aead.update('plaintext'), aead.final(), aead.getAuthTag()])
  return { iv, nonce, body }
}

test('a ChaCha20 subkey is HChaCha20 of draft-irtf-cfrg-xchacha-03, 2.2.1', () => {
  const secret = Buffer.from(Array.from({ length: 32 }, (_, index) => index))
  const iv = Buffer.from('000000090000004a0000000031415927', 'hex')
  const subkey = '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc'
  const sealed = handmade('chacha20-poly1305', Buffer.from(subkey, 'hex'), iv)
  const opened = open('ChaCha20', secret, sealed, bytes('context'))
  assert.equal(opened?.toString(), 'plaintext')
})

test('an AES256 subkey is HMAC-SHA-256 of the iv', () => {
  const iv = Buffer.alloc(16, 9)
  const sealed = handmade('aes-256-gcm', createHmac('sha256', SECRET).update(iv).digest(), iv)
  assert.equal(open('AES256', SECRET, sealed, bytes('context'))?.toString(), 'plaintext')
})

test('a MAC is HMAC-SHA-256 of RFC 4231, test case 2', () => {
  const sum = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  const secret = createSecretKey(bytes('Jefe'))
  assert.equal(mac(secret, bytes('what do ya want for nothing?')).toString('hex'), sum)
})
