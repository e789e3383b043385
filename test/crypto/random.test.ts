import assert from 'node:assert/strict'
import { test } from 'node:test'

import { randomBytes } from '#src/crypto/random.js'

test('random bytes do not repeat', () => {
  const seen = new Set<string>()
  for (let i = 0; i < 5000; i++) seen.add(randomBytes(16).toString('hex'))
  assert.equal(seen.size, 5000)
})

test('as many random bytes come as were asked for, also more than the pool has', () => {
  for (const size of [0, 1, 28, 32, 4095, 4096, 4097, 4096, 10_000])
    assert.equal(randomBytes(size).length, size)
})

test('a request that empties the pool gets no byte twice', () => {
  const drawn = [3000, 3000, 4096, 4096, 5000].map((size) => randomBytes(size))
  const parts = drawn.flatMap((bytes) => [bytes.subarray(0, 16), bytes.subarray(-16)])
  assert.equal(new Set(parts.map((part) => part.toString('hex'))).size, parts.length)
  for (const part of parts) assert.ok(part.some((byte) => byte !== 0))
})

test('random bytes belong to the caller', () => {
  const [first, second] = [randomBytes(32), randomBytes(32)]
  const copy = Buffer.from(second)
  first.fill(0)
  randomBytes(4096).fill(0)
  assert.deepEqual(second, copy)
})

test('every value of a byte occurs', () => {
  const seen = new Set<number>()
  for (let i = 0; i < 200; i++) for (const byte of randomBytes(64)) seen.add(byte)
  assert.equal(seen.size, 256)
})
