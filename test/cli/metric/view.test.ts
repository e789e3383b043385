/** The live view of metrics: what it shows, and that it fits. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import stringWidth from 'string-width'

import type { Figures } from '#src/cli/metric/rates.js'
import { screen, sparkline, type View } from '#src/cli/metric/view.js'

const FIGURES: Figures = {
  over: 5,
  requests: 200,
  errors: 2,
  failures: 0.5,
  latency: { p50: 4.2, p90: 120, p99: 1500 },
  active: 3,
  uptime: 93_784,
  heapUsed: 12.5 * 2 ** 20,
  resident: 2 ** 30,
  isKeyStoreUp: false,
  cachedKeys: 7,
  cacheHits: 0.98,
}

const VIEW: View = {
  server: 'https://127.0.0.1:7373',
  rate: 5000,
  time: new Date(0),
  figures: FIGURES,
  trouble: undefined,
  history: [0, 100, undefined, 200],
}

const plain = (_style: string, text: string): string => text
const shown = (view: View) => screen(view, { columns: 80, rows: 24 }, plain).join('\n')

test('the view has rates, shares, percentiles, memory and the state of the keystore', () => {
  const text = shown(VIEW)
  for (const part of [
    /^Requests +200\/s {2}3 running$/m,
    /^ +▁▅ █$/m,
    /^ +the last 20s, up to 200\/s$/m,
    /^4xx +2\.0\/s {2}1\.0 %$/m,
    /^5xx +0\.5\/s {2}0\.3 %$/m,
    /^Latency +p50 <10ms {2}p90 120ms {2}p99 1\.5s$/m,
    /^Memory +12\.5 MiB heap, 1\.0 GiB in all$/m,
    /^Keystore +unreachable$/m,
    /^Cache +7 keys, 98\.0 % of the keys needed were there$/m,
    /^Up +1d 2h$/m,
  ])
    assert.match(text, part)
})

test('before the second look there are no figures, without an answer there is the reason', () => {
  assert.match(shown({ ...VIEW, figures: undefined }), /^Requests +being counted/m)
  const text = shown({ ...VIEW, trouble: 'connection\nrefused' })
  assert.match(text, /^No answer: connection\\u\{a\}refused$/m)
  assert.match(text, /^Latency/m)
})

test('the view fits every terminal', () => {
  const sizes = fc.record({ columns: fc.nat(200), rows: fc.nat(50) })
  const history = fc.array(fc.option(fc.nat(1e6), { nil: undefined }), { maxLength: 400 })
  const trouble = fc.option(fc.string({ unit: 'grapheme' }), { nil: undefined })
  fc.assert(
    fc.property(sizes, history, trouble, (size, history, trouble) => {
      const lines = screen({ ...VIEW, history, trouble }, size, plain)
      assert.ok(lines.length <= Math.max(1, size.rows))
      for (const line of lines) assert.ok(stringWidth(line) <= size.columns, line)
    }),
  )
})

test('a sparkline has its greatest value at full height, and blanks where nothing is known', () => {
  assert.equal(sparkline([0, 1, 2, 3, 4, 5, 6, 7]), '▁▂▃▄▅▆▇█')
  assert.equal(sparkline([0, undefined, 0]), '▁ ▁')
  assert.equal(sparkline([]), '')
})
