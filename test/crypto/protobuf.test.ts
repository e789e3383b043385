import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesField, Message, ProtobufError, varintField } from '#src/crypto/protobuf.js'
import { bytes, RUNS } from '../support/bytes.ts'

const number = fc.integer({ min: 1, max: 0x1fffffff })

function hex(text: string): Message {
  return new Message(Buffer.from(text.replaceAll(' ', ''), 'hex'))
}

test('an integer field is read as it was written', () => {
  fc.assert(
    fc.property(number, fc.maxSafeInteger(), (field, value) => {
      assert.equal(new Message(varintField(field, value)).integer(field), value)
    }),
    RUNS,
  )
})

test('a bytes field is read as it was written', () => {
  fc.assert(
    fc.property(number, fc.uint8Array({ maxLength: 300 }), (field, value) => {
      const message = new Message(bytesField(field, value))
      assert.deepEqual(message.bytes(field), Buffer.from(value))
    }),
    RUNS,
  )
})

test('150 is written as in the protobuf documents', () => {
  assert.equal(varintField(1, 150).toString('hex'), '089601')
})

test('a text is written as in the protobuf documents', () => {
  assert.equal(bytesField(2, bytes('testing')).toString('hex'), '120774657374696e67')
})

test('a negative integer is written as 64-bit two’s complement', () => {
  assert.equal(varintField(1, -1).toString('hex'), '08ffffffffffffffffff01')
})

test('zero is not written', () => {
  assert.equal(varintField(1, 0).length, 0)
})

test('an absent integer is zero', () => {
  assert.equal(new Message(Buffer.alloc(0)).integer(1), 0)
})

test('an absent bytes field is undefined', () => {
  assert.equal(new Message(Buffer.alloc(0)).bytes(1), undefined)
})

test('an absent message is undefined', () => {
  assert.equal(new Message(Buffer.alloc(0)).message(1), undefined)
})

test('of an integer field that occurs twice the last counts', () => {
  assert.equal(hex('08 01 08 02').integer(1), 2)
})

test('unknown fields of every wire type are skipped', () => {
  const message = hex('30 05  39 0102030405060708  42 02 aabb  4d 01020304  08 07')
  assert.equal(message.integer(1), 7)
})

test('a message within a message is read', () => {
  const inner = bytesField(1, bytes('inner'))
  const message = new Message(bytesField(3, inner))
  assert.equal(message.message(3)?.bytes(1)?.toString(), 'inner')
})

const MALFORMED = {
  'a field without a value': '08',
  'a varint without an end': '08 ffffffffffffffffffff01',
  'a cut varint': '08 80',
  'a length beyond the end': '0a 05 0102',
  'a length of 2^63': '0a ffffffffffffffff7f 00',
  'a cut fixed64': '09 01020304',
  'a cut fixed32': '0d 0102',
  'field number 0': '00 01',
  'a group': '0b 0c',
  'wire type 7': '0f',
}

for (const [what, text] of Object.entries(MALFORMED)) {
  test(`${what} is no message`, () => {
    assert.throws(() => hex(text), ProtobufError)
  })
}

test('an integer beyond 2^53 is refused rather than rounded', () => {
  assert.throws(() => hex('08 ffffffffffffffff7f').integer(1), ProtobufError)
})

test('a malformed message within a message is refused', () => {
  assert.throws(() => hex('0a 01 08').message(1), ProtobufError)
})

test('bytes of any kind are read or refused, nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (data) => {
      try {
        const message = new Message(Buffer.from(data))
        for (let field = 1; field < 16; field++) {
          message.bytes(field)
          message.integer(field)
          message.message(field)
        }
      } catch (error) {
        assert.ok(error instanceof ProtobufError)
      }
    }),
    { numRuns: 500 },
  )
})
