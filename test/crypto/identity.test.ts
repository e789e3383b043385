import assert from 'node:assert/strict'
import { createHash, createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'

import fc from 'fast-check'

import { ApiKey, identityOf, parseIdentity } from '#src/crypto/identity.js'
import { RUNS } from '../support/bytes.ts'

test('an identity is the SHA-256 of the public key in lower-case hex', () => {
  const spki = Buffer.from('any bytes')
  assert.equal(identityOf(spki), createHash('sha256').update(spki).digest('hex'))
})

test('64 lower-case hex digits are an identity', () => {
  assert.equal(parseIdentity('0a'.repeat(32)), '0a'.repeat(32))
})

test('anything else is no identity', () => {
  const digits = '0a'.repeat(32)
  for (const text of ['', digits.slice(1), `${digits}0`, digits.toUpperCase(), `${digits}\n`])
    assert.equal(parseIdentity(text), undefined)
})

test('a new API key is read back from its text', () => {
  const apiKey = ApiKey.generate()
  assert.match(apiKey.reveal(), /^kes:v1:A[A-Za-z0-9+/]{43}$/)
  assert.equal(ApiKey.parse(apiKey.reveal())?.identity, apiKey.identity)
})

test('two new API keys differ', () => {
  assert.notEqual(ApiKey.generate().identity, ApiKey.generate().identity)
})

test('the identity of an API key is that of its public key', () => {
  const apiKey = ApiKey.generate()
  const spki = createPublicKey(apiKey.privateKey()).export({ type: 'spki', format: 'der' })
  assert.equal(apiKey.identity, identityOf(spki))
})

test('the prefix of an API key may be missing', () => {
  const apiKey = ApiKey.generate()
  const bare = apiKey.reveal().slice('kes:v1:'.length)
  assert.equal(ApiKey.parse(bare)?.identity, apiKey.identity)
})

test('an API key has no other prefix', () => {
  const bare = ApiKey.generate().reveal().slice('kes:v1:'.length)
  for (const prefix of ['kes:v2:', 'kes:', 'KES:V1:', ' '])
    assert.equal(ApiKey.parse(prefix + bare), undefined)
})

test('every seed makes an API key that is read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      const text = `kes:v1:${Buffer.concat([Buffer.of(0), seed]).toString('base64')}`
      assert.equal(ApiKey.parse(text)?.reveal(), text)
    }),
    { numRuns: 100 },
  )
})

test('arbitrary text is no API key, and no error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.equal(ApiKey.parse(text), undefined)
      assert.equal(ApiKey.parse(`kes:v1:${text}`), undefined)
    }),
    RUNS,
  )
})

test('an API key does not show its secret by accident', () => {
  const apiKey = ApiKey.generate()
  const secret = apiKey.reveal().slice('kes:v1:'.length)
  const hex = Buffer.from(secret, 'base64').subarray(1).toString('hex')
  const shown = inspect(apiKey, { depth: 9, showHidden: true }) + JSON.stringify(apiKey)
  assert.ok(!shown.includes(secret.slice(2, 30)))
  assert.ok(!shown.replaceAll(' ', '').includes(hex.slice(0, 20)))
})
