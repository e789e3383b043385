import assert from 'node:assert/strict'
import { test } from 'node:test'

import { whenPast } from '#src/server/expiry.js'

const DAY = 24 * 3_600_000

test('what ends in 60 days, later than any timer, ends then and not before', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.UTC(2026, 0, 1) })
  let ends = 0
  whenPast(Date.now() + 60 * DAY, () => ends++)
  t.mock.timers.tick(25 * DAY)
  t.mock.timers.tick(35 * DAY - 1)
  assert.equal(ends, 0)
  t.mock.timers.tick(2)
  assert.equal(ends, 1)
  t.mock.timers.tick(60 * DAY)
  assert.equal(ends, 1)
})

test('a clock that was set forward is noticed within an hour', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  let ends = 0
  whenPast(10 * DAY, () => ends++)
  t.mock.timers.setTime(10 * DAY + 1)
  t.mock.timers.tick(3_600_000)
  assert.equal(ends, 1)
})

test('what is forgotten does not end', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  let ends = 0
  const forget = whenPast(2 * DAY, () => ends++)
  t.mock.timers.tick(DAY)
  forget()
  t.mock.timers.tick(2 * DAY)
  assert.equal(ends, 0)
})

test('ends at thousands of times need few different delays', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  const set = t.mock.method(globalThis, 'setTimeout')
  for (let time = 2000; time < 62_000; time += 7) whenPast(time, () => {})
  const delays = new Set(set.mock.calls.map((call) => call.arguments[1]))
  assert.ok(set.mock.callCount() > 8000)
  assert.ok(delays.size <= 61, `${delays.size} delays`)
})
