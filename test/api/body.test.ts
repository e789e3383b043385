import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Body } from '#src/api/body.js'
import { KesError } from '#src/errors.js'
import { bytes } from '../support/bytes.ts'

function body(text: string): Body {
  return new Body(bytes(text))
}

const REFUSED = { code: 'BAD_BODY', status: 400, message: 'invalid request body' }

for (const text of ['', '{', '[]', '"abc"', '12', 'true', '{"plaintext":']) {
  test(`${JSON.stringify(text)} is no body`, () => {
    assert.throws(() => body(text), REFUSED)
  })
}

test('null is a body without fields', () => {
  assert.equal(body('null').bytes('plaintext').length, 0)
})

test('bytes that are absent or null are empty', () => {
  assert.equal(body('{}').bytes('plaintext').length, 0)
  assert.equal(body('{"plaintext":null}').bytes('plaintext').length, 0)
})

test('optional bytes that are absent or null are undefined', () => {
  assert.equal(body('{}').optionalBytes('plaintext'), undefined)
  assert.equal(body('{"plaintext":null}').optionalBytes('plaintext'), undefined)
})

test('bytes of another type are refused', () => {
  for (const value of ['12', '"***"', '"SGVsbG8"', '"-_-_"', '{}', '[300]', 'true'])
    assert.throws(() => body(`{"plaintext":${value}}`).bytes('plaintext'), REFUSED)
})

test('a text of another type is refused', () => {
  assert.throws(() => body('{"cipher":1}').optionalString('cipher'), REFUSED)
})

test('unknown fields are ignored', () => {
  const { length } = body('{"plaintext":"SGVsbG8=","x":{"y":[1,2,null]}}').bytes('plaintext')
  assert.equal(length, 5)
})

test('a message of its own is given for every fault', () => {
  const message = 'invalid import key request body'
  assert.throws(() => new Body(bytes('{'), message), { message })
  assert.throws(() => new Body(bytes('{"key":1}'), message).bytes('key'), { message })
})

test('a body of any kind is read or refused, and no part of it is in the error', () => {
  const start = fc.constantFrom('', '{', '{"plaintext":', '{"plaintext":"', '[')
  const rest = fc.uint8Array({ maxLength: 40 })
  fc.assert(
    fc.property(start, rest, (head, tail) => {
      try {
        new Body(Buffer.concat([bytes(head), bytes('secret'), tail])).bytes('plaintext')
      } catch (error) {
        assert.ok(error instanceof KesError && error.code === 'BAD_BODY', String(error))
        assert.ok(!`${error.message}${String(error.cause)}`.includes('secret'))
      }
    }),
    { numRuns: 500 },
  )
})
