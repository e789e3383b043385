import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { counts, type Figures, rounded, sumOf } from '#src/telemetry/figures.js'

function counter(value: number, code = '200'): Figures {
  const family = { name: 'a_total', help: 'A.', type: 'counter', aggregator: 'sum' }
  return [{ ...family, values: [{ labels: { code }, value }] }]
}

async function total(parts: readonly Figures[]): Promise<number | undefined> {
  const [family] = await sumOf(parts)
  return family?.values[0]?.value
}

test('figures of several processes add up by label', async () => {
  const [family] = await sumOf([counter(1), counter(2, '404'), counter(4)])
  assert.deepEqual(
    family?.values.map(({ labels, value }) => [labels['code'], value]),
    [
      ['200', 5],
      ['404', 2],
    ],
  )
})

test('a sum is the same to the last bit in whatever order, and whatever was added up before', async () => {
  const seconds = fc.double({ min: 0, max: 1e6, noNaN: true })
  await fc.assert(
    fc.asyncProperty(fc.array(seconds, { minLength: 3, maxLength: 8 }), async (values) => {
      const parts = values.map((value) => rounded(counter(value)))
      const sum = await total(parts)
      assert.equal(await total(parts.toReversed()), sum)
      const [first = [], ...others] = parts
      assert.equal(await total([...others, counts(await sumOf([[], counts(first)]))]), sum)
    }),
    { numRuns: 200 },
  )
})

test('rounding keeps order, and is less than a microsecond of a second', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (value) => {
      const of = (figure: number): number => rounded(counter(figure))[0]?.values[0]?.value ?? NaN
      assert.ok(Math.abs(of(value) - value) < 1e-6)
      assert.ok(of(value * (1 + Number.EPSILON)) >= of(value))
    }),
  )
})
