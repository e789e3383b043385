/** What a server did between two looks at its metrics (kes-api.md 8). */

import { type Histogram, histogramSince, type Metrics, quantile } from '../../client/index.ts'

export interface Scrape {
  /** Milliseconds of a clock that only goes forward. */
  readonly at: number
  readonly metrics: Metrics
}

/** Undefined where a server does not tell, as the Go server some of it, or where nothing happened. */
export interface Figures {
  /** Seconds that the rates are over. */
  readonly over: number
  /** Per second. */
  readonly requests: number
  /** Per second: what clients did wrong, 4xx. */
  readonly errors: number
  /** Per second: what the server could not do, 5xx. */
  readonly failures: number
  /** Milliseconds. */
  readonly latency: Readonly<Record<'p50' | 'p90' | 'p99', number | undefined>>
  readonly active: number
  /** Seconds. */
  readonly uptime: number
  /** Bytes. */
  readonly heapUsed: number
  /** Bytes. */
  readonly resident: number | undefined
  readonly isKeyStoreUp: boolean | undefined
  readonly cachedKeys: number | undefined
  /** Of the keys that were needed, the share that was in the cache, 0 to 1. */
  readonly cacheHits: number | undefined
}

const RESPONSES = 'kes_http_response_time'

export function figuresBetween(earlier: Scrape, later: Scrape): Figures {
  const now = reader(later.metrics)
  const uptime = now('kes_system_up_time') ?? 0
  const elapsed = (later.at - earlier.at) / 1000
  const isAnew = hasRestarted(earlier.metrics, later.metrics)
  const before = isAnew ? () => 0 : reader(earlier.metrics)
  // What a server that started in between has counted, it has counted since its start.
  const over = isAnew && uptime > 0 ? Math.min(elapsed, uptime) : elapsed
  const since = (name: string): number => Math.max(0, (now(name) ?? 0) - (before(name) ?? 0))
  const perSecond = (count: number): number => (over > 0 ? count / over : 0)
  const [errors, failures] = [since('kes_http_request_error'), since('kes_http_request_failure')]
  const [hits, misses] = [since('kes_cache_hits'), since('kes_cache_misses')]
  const keyStore = now('kes_keystore_up')
  return {
    over,
    requests: perSecond(since('kes_http_request_success') + errors + failures),
    errors: perSecond(errors),
    failures: perSecond(failures),
    latency: percentiles(isAnew ? undefined : earlier.metrics.histogram(RESPONSES), later.metrics),
    active: now('kes_http_request_active') ?? 0,
    uptime,
    heapUsed: now('kes_system_mem_heap_used') ?? 0,
    resident: now('process_resident_memory_bytes'),
    isKeyStoreUp: keyStore === undefined ? undefined : keyStore > 0,
    cachedKeys: now('kes_cache_keys'),
    cacheHits: hits + misses > 0 ? hits / (hits + misses) : undefined,
  }
}

/** Its clock, or one of its counts, went back. */
function hasRestarted(earlier: Metrics, later: Metrics): boolean {
  return [
    'kes_system_up_time',
    'kes_http_request_success',
    'kes_http_request_error',
    'kes_http_request_failure',
  ].some((name) => (later.value(name) ?? 0) < (earlier.value(name) ?? 0))
}

function percentiles(before: Histogram | undefined, metrics: Metrics): Figures['latency'] {
  const now = metrics.histogram(RESPONSES)
  const between = now && histogramSince(before, now)
  const millis = (q: number): number | undefined => {
    const seconds = between && quantile(between, q)
    return seconds === undefined ? undefined : seconds * 1000
  }
  return { p50: millis(0.5), p90: millis(0.9), p99: millis(0.99) }
}

function reader(metrics: Metrics): (name: string) => number | undefined {
  return (name) => metrics.value(name)
}
