/** The Prometheus text format, read back. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { type Histogram, histogramSince, Metrics, quantile } from '#src/client/index.js'
import { MetricsError } from '#src/client/metrics.js'
import { RUNS } from '../support/bytes.ts'

const TEXT = `# HELP kes_http_request_success Number of requests.
# TYPE kes_http_request_success counter
kes_http_request_success{code="200"} 12
kes_http_request_success{code="204"} 3
# HELP kes_http_response_time Times.
# TYPE kes_http_response_time histogram
kes_http_response_time_bucket{le="0.01"} 10
kes_http_response_time_bucket{le="0.05"} 14
kes_http_response_time_bucket{le="+Inf"} 15
kes_http_response_time_sum 0.73
kes_http_response_time_count 15
# TYPE kes_system_mem_heap_used gauge
kes_system_mem_heap_used 1.234e+07

# a comment
untyped_thing{a="x\\"y\\\\z\\n{},=",b=""} -Inf 1700000000000
`

test('counters are summed over their labels, or taken by one', () => {
  const metrics = new Metrics(TEXT)
  assert.equal(metrics.text, TEXT)
  assert.equal(metrics.value('kes_http_request_success'), 15)
  assert.equal(metrics.value('kes_http_request_success', { code: '204' }), 3)
  assert.equal(metrics.value('kes_http_request_success', { code: '500' }), undefined)
  assert.equal(metrics.value('kes_system_mem_heap_used'), 12_340_000)
  assert.equal(metrics.value('nothing'), undefined)
  assert.equal(metrics.value('untyped_thing', { a: 'x"y\\z\n{},=' }), -Infinity)
})

test('families have their type and help', () => {
  const { families } = new Metrics(TEXT)
  const kinds = [...families.values()].map(({ name, type, help }) => [name, type, help])
  assert.deepEqual(kinds, [
    ['kes_http_request_success', 'counter', 'Number of requests.'],
    ['kes_http_response_time', 'histogram', 'Times.'],
    ['kes_system_mem_heap_used', 'gauge', ''],
    ['untyped_thing', 'untyped', ''],
  ])
})

test('a histogram has its buckets, and what was counted between two scrapes', () => {
  const earlier = new Metrics(TEXT).histogram('kes_http_response_time')
  assert.deepEqual(earlier, {
    buckets: [
      { upTo: 0.01, count: 10 },
      { upTo: 0.05, count: 14 },
      { upTo: Infinity, count: 15 },
    ],
    sum: 0.73,
    count: 15,
  })
  const text = TEXT.replace('"0.05"} 14', '"0.05"} 24')
    .replace('+Inf"} 15', '+Inf"} 25')
    .replace('count 15', 'count 25')
  const later = new Metrics(text).histogram('kes_http_response_time')
  assert.ok(earlier && later)
  const since = histogramSince(earlier, later)
  assert.deepEqual(
    since.buckets.map(({ count }) => count),
    [0, 10, 10],
  )
  assert.equal(since.count, 10)
  assert.deepEqual(histogramSince(undefined, later), later)
  // The server has restarted.
  assert.deepEqual(histogramSince(later, earlier), earlier)
  assert.equal(new Metrics(TEXT).histogram('kes_system_mem_heap_used'), undefined)
})

test('a quantile lies in its bucket, as Prometheus reckons it', () => {
  const histogram: Histogram = {
    buckets: [
      { upTo: 1, count: 10 },
      { upTo: 2, count: 20 },
      { upTo: Infinity, count: 40 },
    ],
    sum: 0,
    count: 40,
  }
  assert.equal(quantile(histogram, 0.25), 1)
  assert.equal(quantile(histogram, 0.125), 0.5)
  assert.equal(quantile(histogram, 0.375), 1.5)
  assert.equal(quantile(histogram, 0.5), 2)
  assert.equal(quantile(histogram, 0.99), 2)
  assert.equal(quantile({ buckets: [], sum: 0, count: 0 }, 0.5), undefined)
  assert.equal(quantile({ ...histogram, buckets: [{ upTo: Infinity, count: 0 }] }, 0.5), undefined)
})

test('quantiles grow with their share and stay within the bounds', () => {
  const counts = fc.array(fc.nat(1000), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(counts, fc.double({ min: 0, max: 1, noNaN: true }), (steps, q) => {
      let count = 0
      const buckets = steps.map((step, index) => ({ upTo: index + 1, count: (count += step) }))
      const histogram = { buckets: [...buckets, { upTo: Infinity, count }], sum: 0, count }
      const value = quantile(histogram, q)
      if (count === 0) return assert.equal(value, undefined)
      assert.ok(value !== undefined && value >= 0 && value <= steps.length)
      assert.ok((quantile(histogram, Math.min(1, q + 0.1)) ?? 0) >= value)
    }),
    RUNS,
  )
})

test('whatever was written is read back', () => {
  const name = fc
    .stringMatching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,20}$/)
    .filter((text) => !/_(bucket|sum|count)$/.test(text))
  const label = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{0,10}$/)
  const labels = fc.dictionary(label, fc.string({ unit: 'grapheme' }), { maxKeys: 4 })
  const value = fc.double({ noNaN: true }).map((number) => (Object.is(number, -0) ? 0 : number))
  fc.assert(
    fc.property(fc.array(fc.tuple(name, labels, value)), (samples) => {
      const text = samples
        .map(([name, labels, value]) => `${name}${write(labels)} ${writeValue(value)}\n`)
        .join('')
      const read = [...new Metrics(text).families.values()].flatMap((family) => family.samples)
      const plain = (list: readonly { name: string; labels: object; value: number }[]) =>
        list
          .map((sample) =>
            JSON.stringify([sample.name, Object.entries(sample.labels), writeValue(sample.value)]),
          )
          .sort()
      assert.deepEqual(
        plain(read),
        plain(samples.map(([name, labels, value]) => ({ name, labels, value }))),
      )
    }),
    RUNS,
  )
})

function write(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
    return `${name}="${escaped}"`
  })
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function writeValue(value: number): string {
  return Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'
}

test('what is not of the format is an error that names the line', () => {
  const bad = [
    '<html>',
    'a',
    'a ',
    'a b',
    '1a 1',
    'a{ 1',
    'a} 1',
    'a{b} 1',
    'a{b=1} 1',
    'a{b="1} 1',
    'a{b="1" c} 1',
    'a{b="1"c="2"} 1',
    'a{1="1"} 1',
    'a 1 2 3',
    'a 1 x',
    'a 0x10',
    'a 1,5',
    'a{b="\\"} 1',
    '# TYPE a thing',
    'ä 1',
  ]
  for (const line of bad) {
    for (const text of [line, `ok 1\n${line}\nok 2\n`]) {
      assert.throws(
        () => new Metrics(text),
        (error) => error instanceof MetricsError && /^line \d/.test(error.message),
        line,
      )
    }
  }
})

test('arbitrary text is read or refused, never anything else', () => {
  const piece = fc.constantFrom(
    'a',
    '_bucket',
    '{',
    '}',
    '"',
    '\\',
    ',',
    '=',
    ' ',
    '\n',
    '#',
    'TYPE',
    'HELP',
    'histogram',
    '1',
    'NaN',
    '__proto__',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(piece).map((pieces) => pieces.join('')),
  )
  fc.assert(
    fc.property(text, (input) => {
      try {
        const metrics = new Metrics(input)
        for (const name of metrics.families.keys()) {
          metrics.value(name)
          metrics.histogram(name)
        }
      } catch (error) {
        assert.ok(error instanceof MetricsError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})
