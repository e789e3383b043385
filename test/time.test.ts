import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { fromMillis, now, parseRfc3339, rfc3339, ZERO_TIME } from '#src/time.js'
import { RUNS } from './support/bytes.ts'

const seconds = fc.integer({ min: ZERO_TIME.seconds, max: 253_402_300_799 })
const nanos = fc.oneof(fc.constantFrom(0, 1, 999_999_999, 120_000_000), fc.nat(999_999_999))

test('every moment of the years 1 to 9999 is read back from its text', () => {
  fc.assert(
    fc.property(fc.record({ seconds, nanos }, { noNullPrototype: true }), (time) => {
      assert.deepEqual(parseRfc3339(rfc3339(time)), time)
    }),
    { numRuns: 500 },
  )
})

test('the text of a moment is the same to the second as that of a Date', () => {
  fc.assert(
    fc.property(seconds, (whole) => {
      const date = new Date(whole * 1000).toISOString().replace('.000', '')
      assert.equal(rfc3339({ seconds: whole, nanos: 0 }), date)
    }),
    RUNS,
  )
})

test('a moment is written with as many decimals as it needs', () => {
  const at = (part: number) => rfc3339({ seconds: 0, nanos: part })
  assert.equal(at(0), '1970-01-01T00:00:00Z')
  assert.equal(at(500_000_000), '1970-01-01T00:00:00.5Z')
  assert.equal(at(1), '1970-01-01T00:00:00.000000001Z')
  assert.equal(at(120_300_000), '1970-01-01T00:00:00.1203Z')
})

test('nanoseconds are not lost', () => {
  const text = '2026-11-21T22:39:16.641740554Z'
  const time = parseRfc3339(text)
  assert.ok(time)
  assert.equal(time.nanos, 641_740_554)
  assert.equal(rfc3339(time), text)
})

test('a moment before 1970 counts its nanoseconds forwards', () => {
  assert.deepEqual(parseRfc3339('1969-12-31T23:59:59.5Z'), { seconds: -1, nanos: 500_000_000 })
})

test('Go’s zero time is written as Go writes it', () => {
  assert.equal(rfc3339(ZERO_TIME), '0001-01-01T00:00:00Z')
})

test('an offset is taken into account', () => {
  const time = parseRfc3339('2024-01-01T01:30:00.25+01:30')
  assert.deepEqual(time, { seconds: Date.UTC(2024, 0, 1) / 1000, nanos: 250_000_000 })
})

test('decimals beyond nanoseconds are cut', () => {
  assert.equal(parseRfc3339('1970-01-01T00:00:00.1234567899Z')?.nanos, 123_456_789)
})

const NO_TIMES = [
  '',
  '2024-01-01',
  '2024-01-01T00:00:00',
  '2024-01-01 00:00:00Z',
  '2024-1-1T00:00:00Z',
  '2024-13-01T00:00:00Z',
  '2024-01-32T00:00:00Z',
  '2024-02-30T00:00:00Z',
  '2023-02-29T00:00:00Z',
  '2024-01-01T24:00:00Z',
  '2024-01-01T25:00:00Z',
  '2024-01-01T00:60:00Z',
  '2024-01-01T00:00:00.Z',
  '2024-01-01T00:00:00Z\n',
  '+02024-01-01T00:00:00Z',
]

for (const text of NO_TIMES) {
  test(`${JSON.stringify(text)} is no moment`, () => {
    assert.equal(parseRfc3339(text), undefined)
  })
}

test('text of any kind is a moment or none, and no error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.equal(parseRfc3339(text), undefined)
    }),
    RUNS,
  )
})

test('milliseconds before and after 1970 become seconds and nanoseconds', () => {
  assert.deepEqual(fromMillis(1500), { seconds: 1, nanos: 500_000_000 })
  assert.deepEqual(fromMillis(-1), { seconds: -1, nanos: 999_000_000 })
})

test('now is now', () => {
  const before = Date.now()
  const { seconds: whole, nanos: part } = now()
  const millis = whole * 1000 + part / 1e6
  assert.ok(millis >= before && millis <= Date.now())
})
