import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Throttle } from '#src/telemetry/throttle.js'

const MINUTE = 60_000

test('each sender has one line a minute', () => {
  const throttle = new Throttle()
  assert.equal(throttle.allows('a', 1000), true)
  assert.equal(throttle.allows('a', 1000), false)
  assert.equal(throttle.allows('b', 2000), true)
  assert.equal(throttle.allows('a', 1000 + MINUTE - 1), false)
  assert.equal(throttle.allows('a', 1000 + MINUTE), true)
  assert.equal(throttle.allows('b', 1000 + MINUTE), true)
})

test('however many senders there are, a minute has a bounded number of lines', () => {
  const throttle = new Throttle()
  const lines = (now: number): number =>
    Array.from({ length: 5000 }, (_, sender) => throttle.allows(String(sender), now)).filter(
      Boolean,
    ).length
  assert.equal(lines(0), 20)
  assert.equal(lines(MINUTE - 1), 0)
  assert.equal(lines(MINUTE), 20)
})
