/** Rates and percentiles between two looks. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { figuresBetween, type Scrape } from '#src/cli/metric/rates.js'
import { Metrics } from '#src/client/index.js'

interface Counts {
  readonly up: number
  readonly success: number
  readonly error?: number
  readonly failure?: number
  /** Up to 10 ms, 50 ms, and longer. */
  readonly times?: readonly [number, number, number]
  readonly more?: string
}

/** @param seconds of the clock of who looks */
function scrape(seconds: number, counts: Counts): Scrape {
  const { up, success, error = 0, failure = 0, times = [0, 0, 0], more = '' } = counts
  const [fast, middling, slow] = times
  const text = `# TYPE kes_http_response_time histogram
kes_http_response_time_bucket{le="0.01"} ${fast}
kes_http_response_time_bucket{le="0.05"} ${fast + middling}
kes_http_response_time_bucket{le="+Inf"} ${fast + middling + slow}
kes_http_response_time_sum 1
kes_http_response_time_count ${fast + middling + slow}
kes_http_request_success{code="200"} ${success}
kes_http_request_error{code="404"} ${error}
kes_http_request_error{code="403"} ${error}
kes_http_request_failure{code="500"} ${failure}
kes_system_up_time ${up}
${more}`
  return { at: seconds * 1000, metrics: new Metrics(text) }
}

test('rates are what was counted in between, per second, of all status codes', () => {
  const before = scrape(100, { up: 50, success: 1000, error: 10, failure: 1 })
  const later = scrape(104, { up: 54, success: 1200, error: 14, failure: 3 })
  const { over, requests, errors, failures } = figuresBetween(before, later)
  assert.deepEqual(
    { over, requests, errors, failures },
    { over: 4, requests: 52.5, errors: 2, failures: 0.5 },
  )
})

test('percentiles are those of the requests in between', () => {
  const before = scrape(0, { up: 1, success: 0, times: [1000, 0, 0] })
  const later = scrape(1, { up: 2, success: 0, times: [1050, 50, 0] })
  const { latency } = figuresBetween(before, later)
  assert.equal(latency.p50, 10)
  assert.equal(latency.p90, 42)
  assert.ok(Math.abs((latency.p99 ?? 0) - 49.2) < 1e-9)
})

test('beyond the last bound nobody knows how far', () => {
  const before = scrape(0, { up: 1, success: 0 })
  const { latency } = figuresBetween(before, scrape(1, { up: 2, success: 0, times: [0, 0, 9] }))
  assert.equal(latency.p50, 50)
})

test('without requests there are no percentiles, and no rates but 0', () => {
  const before = scrape(0, { up: 1, success: 5, times: [5, 0, 0] })
  const later = scrape(5, { up: 6, success: 5, times: [5, 0, 0] })
  const { latency, requests, errors } = figuresBetween(before, later)
  assert.deepEqual(latency, { p50: undefined, p90: undefined, p99: undefined })
  assert.deepEqual([requests, errors], [0, 0])
})

test('a server that started in between is counted from its start', () => {
  const before = scrape(0, { up: 1000, success: 10, error: 4, times: [10, 0, 0] })
  const later = scrape(10, { up: 2, success: 40, error: 1, times: [0, 40, 0] })
  const { over, requests, errors, latency } = figuresBetween(before, later)
  assert.deepEqual([over, requests, errors], [2, 21, 1])
  assert.ok((latency.p50 ?? 0) > 10)
})

test('a count that went back is a restart, too', () => {
  const before = scrape(0, { up: 1, success: 10 })
  const later = scrape(10, { up: 5, success: 5 })
  assert.equal(figuresBetween(before, later).requests, 1)
})

test('two looks at the same moment are no division by 0', () => {
  const look = scrape(0, { up: 1, success: 10 })
  assert.equal(figuresBetween(look, look).requests, 0)
})

test('what only some servers tell is undefined with others', () => {
  const plain = figuresBetween(scrape(0, { up: 1, success: 0 }), scrape(1, { up: 2, success: 0 }))
  const { isKeyStoreUp, resident, cachedKeys, cacheHits } = plain
  assert.deepEqual(
    [isKeyStoreUp, resident, cachedKeys, cacheHits],
    [undefined, undefined, undefined, undefined],
  )
  const cache = (hits: number, misses: number) =>
    `kes_cache_hits ${hits}\nkes_cache_misses ${misses}\nkes_keystore_up 0\nkes_cache_keys 3\n`
  const full = figuresBetween(
    scrape(0, { up: 1, success: 0, more: cache(10, 10) }),
    scrape(1, { up: 2, success: 0, more: cache(13, 11) }),
  )
  assert.deepEqual([full.isKeyStoreUp, full.cachedKeys, full.cacheHits], [false, 3, 0.75])
})
