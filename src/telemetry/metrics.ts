/**
 * Counts what the server does. A request costs a few additions; the text for Prometheus is made by
 * prom-client, which is loaded at the first scrape and asks here for the figures (kes-api.md 8).
 */

import { availableParallelism, cpus } from 'node:os'
import { getHeapStatistics } from 'node:v8'

import type { Registry } from 'prom-client'

import { type Bus, LocalBus, topic } from '../bus.ts'
import { Turns } from '../turns.ts'
import { Family } from './family.ts'
import { asMetric, type Figures, rounded, type Sample, sumOf } from './figures.ts'

/** Upper bounds of `kes_http_response_time`, in seconds. */
const BOUNDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 3, 5, 10] as const

/**
 * `plain`: exactly the Go server's families, each with the labels that its clients expect. `full`: also our own. With
 * `sums`, for clients of older generations, responses are not told apart by status code.
 */
export type Form = 'plain' | 'full' | 'sums' | 'full-sums'

/** What other parts know and metrics only asks for. */
export interface Gauges {
  auditEvents(): number
  errorEvents(): number
  cachedKeys(): number
  keyStoreUp(): number
}

/** Asked by a scrape: the figures of all processes. */
export const FIGURES = topic<{ readonly by: number }, Promise<Figures>>('metrics')
const HEAP_USED = topic<void, number>('heap')

export class Metrics {
  /** Requests that are being worked on. */
  active = 0
  /** Requests that were refused because there were too many. */
  shed = 0
  readonly #startedAt: number
  readonly #bus: Bus
  /** Counted by the cache. */
  readonly cache = { hits: 0, misses: 0 }
  readonly #statuses = new Map<number, number>()
  readonly #operations = new Map<string, Map<number, number>>()
  readonly #buckets = [...BOUNDS, Infinity].map(() => 0)
  #seconds = 0
  #made: Promise<Readonly<Record<Form, Registry>>> | undefined
  /** Who knows them changes with the configuration. */
  #gauges: Gauges | undefined
  /** The scrape that goes on was asked for here. */
  #isAsked = true
  readonly #turns = new Turns()
  /** Scrapes of all processes that have not begun. */
  readonly #coming = new Map<Form, Promise<string>>()

  /** @param startedAt milliseconds since 1970 */
  constructor(bus: Bus = new LocalBus(), startedAt = Date.now()) {
    this.#bus = bus
    this.#startedAt = startedAt
    bus.subscribe(FIGURES, ({ by }) => this.#figures(by === bus.id))
    bus.subscribe(HEAP_USED, heapUsed)
  }

  /** @param operation what was asked for; '' when no route matched. @param took milliseconds */
  count(operation: string, status: number, took: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1)
    let statuses = this.#operations.get(operation)
    if (statuses === undefined)
      this.#operations.set(operation, (statuses = new Map<number, number>()))
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    const seconds = took / 1000
    this.#seconds += seconds
    let bucket = 0
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] ?? 0)) bucket++
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
  }

  /** Seconds since the server started. */
  get uptime(): number {
    return (Date.now() - this.#startedAt) / 1000
  }

  /** Bytes, of all processes. */
  async heapUsed(): Promise<number> {
    const parts = await this.#bus.ask(HEAP_USED, undefined)
    return parts.reduce((sum, part) => sum + part, 0)
  }

  /** From now on these are asked. */
  use(gauges: Gauges): void {
    this.#gauges = gauges
  }

  /** Prometheus text format 0.0.4. */
  async text(form: Form): Promise<string> {
    if (!this.#bus.isAlone) return this.#shared(form)
    const registries = await this.#registries()
    return registries[form].metrics()
  }

  async #figures(isAsked: boolean): Promise<Figures> {
    const { full } = await this.#registries()
    this.#isAsked = isAsked
    const figures = full.getMetricsAsJSON()
    // Every family has been read by now.
    this.#isAsked = true
    return rounded((await figures) as unknown as Figures)
  }

  /** Of all processes. All who ask before a scrape begins share it: each costs every process something. */
  #shared(form: Form): Promise<string> {
    const coming =
      this.#coming.get(form) ??
      this.#turns.take(() => {
        this.#coming.delete(form)
        return this.#sum(form)
      })
    this.#coming.set(form, coming)
    return coming
  }

  async #sum(form: Form): Promise<string> {
    const { Registry } = await import('prom-client')
    const { plain } = await this.#registries()
    const shown = new Registry()
    for (const family of await sumOf(await this.#bus.ask(FIGURES, { by: this.#bus.id }))) {
      if (!form.startsWith('full') && plain.getSingleMetric(family.name) === undefined) continue
      const values =
        form.endsWith('sums') && isByCode(family) ? total(family.values) : family.values
      shown.registerMetric(asMetric({ ...family, get: async () => ({ ...family, values }) }))
    }
    return shown.metrics()
  }

  #registries(): Promise<Readonly<Record<Form, Registry>>> {
    this.#made ??= this.#make()
    return this.#made
  }

  async #make(): Promise<Readonly<Record<Form, Registry>>> {
    const { collectDefaultMetrics, Registry } = await import('prom-client')
    const registry = (families: readonly Family[]): Registry => {
      const made = new Registry()
      for (const family of families) made.registerMetric(asMetric(family))
      return made
    }
    const own = registry(this.#ownFamilies())
    collectDefaultMetrics({ register: own })
    const [plain, sums] = [registry(this.#families()), registry(this.#families(total))]
    return {
      plain,
      full: Registry.merge([plain, own]),
      sums,
      'full-sums': Registry.merge([sums, own]),
    }
  }

  #ask(gauge: keyof Gauges): () => number {
    return () => this.#gauges?.[gauge]() ?? 0
  }

  /** @param present makes of responses by code what is shown of them */
  #families(present = (byCode: Sample[]): Sample[] => byCode): Family[] {
    const responses = (least: number, below: number) => (): Sample[] => {
      // The first scrape must show every family, or a rate over it starts with a gap.
      const codes = new Map([[least, 0]])
      for (const [status, count] of this.#statuses)
        if (status >= least && status < below) codes.set(status, count)
      return present([...codes].map(([code, value]) => ({ labels: { code: String(code) }, value })))
    }
    return [
      new Family(
        'gauge',
        'kes_http_request_active',
        'Number of active requests that are not finished, yet.',
        () => this.#others(),
      ),
      new Family(
        'counter',
        'kes_http_request_success',
        'Number of requests that have been served successfully.',
        responses(200, 400),
      ),
      new Family(
        'counter',
        'kes_http_request_error',
        'Number of request that failed due to some error. (HTTP 4xx status code)',
        responses(400, 500),
      ),
      new Family(
        'counter',
        'kes_http_request_failure',
        'Number of request that failed due to some internal failure. (HTTP 5xx status code)',
        responses(500, 600),
      ),
      new Family(
        'histogram',
        'kes_http_response_time',
        'Histogram of request response times spawning from 10ms to 10s.',
        () => this.#histogram('kes_http_response_time'),
      ),
      new Family(
        'counter',
        'kes_log_audit_events',
        'Number of audit log events written to the audit log targets.',
        this.#ask('auditEvents'),
      ),
      new Family(
        'counter',
        'kes_log_error_events',
        'Number of error log events written to the error log targets.',
        this.#ask('errorEvents'),
      ),
      new Family(
        'gauge',
        'kes_system_up_time',
        'The time the server has been up and running in seconds.',
        () => this.uptime,
        'max',
      ),
      new Family(
        'gauge',
        'kes_system_num_cpu',
        'The number of logical CPUs available on the system.',
        () => cpus().length,
        'max',
      ),
      new Family(
        'gauge',
        'kes_system_num_cpu_used',
        'The number of logical CPUs usable by the server.',
        availableParallelism,
        'max',
      ),
      new Family(
        'gauge',
        'kes_system_num_threads',
        'The number of threads of the server that run JavaScript.',
        () => 1,
      ),
      new Family(
        'gauge',
        'kes_system_mem_heap_used',
        'The number of bytes of memory used on the heap.',
        heapUsed,
      ),
      new Family(
        'gauge',
        'kes_system_mem_heap_objects',
        'The number of objects on the heap; 0, since this platform has no such figure.',
        () => 0,
      ),
      new Family(
        'gauge',
        'kes_system_mem_stack_used',
        'The number of bytes of memory used on the stack; 0, since this platform has no such figure.',
        () => 0,
      ),
    ]
  }

  /** The scrape that asks is no load. */
  #others(): number {
    return this.#isAsked ? Math.max(0, this.active - 1) : this.active
  }

  #ownFamilies(): Family[] {
    return [
      new Family(
        'counter',
        'kes_api_requests',
        'Number of requests by operation and HTTP status code.',
        () =>
          [...this.#operations].flatMap(([operation, statuses]) =>
            [...statuses].map(([code, value]) => ({
              labels: { operation: operation || 'none', code: String(code) },
              value,
            })),
          ),
      ),
      new Family(
        'counter',
        'kes_requests_shed',
        'Number of requests that were refused because the server was overloaded.',
        () => this.shed,
      ),
      new Family(
        'gauge',
        'kes_cache_keys',
        'Number of keys in the cache.',
        this.#ask('cachedKeys'),
      ),
      new Family(
        'counter',
        'kes_cache_hits',
        'Number of keys taken from the cache.',
        () => this.cache.hits,
      ),
      new Family(
        'counter',
        'kes_cache_misses',
        'Number of keys that had to be fetched from the keystore.',
        () => this.cache.misses,
      ),
      new Family(
        'gauge',
        'kes_keystore_up',
        'Whether the keystore answered the last time it was asked.',
        this.#ask('keyStoreUp'),
        'min',
      ),
    ]
  }

  #histogram(name: string): Sample[] {
    const samples: Sample[] = []
    let count = 0
    for (const [index, value] of this.#buckets.entries()) {
      count += value
      const le = BOUNDS[index] ?? '+Inf'
      samples.push({ metricName: `${name}_bucket`, labels: { le }, value: count })
    }
    samples.push({ metricName: `${name}_sum`, labels: {}, value: this.#seconds })
    samples.push({ metricName: `${name}_count`, labels: {}, value: count })
    return samples
  }
}

/** Bytes, of this process. */
function heapUsed(): number {
  return getHeapStatistics().used_heap_size
}

function isByCode({ name }: { readonly name: string }): boolean {
  return /^kes_http_request_(success|error|failure)$/.test(name)
}

function total(samples: readonly Sample[]): Sample[] {
  return [{ labels: {}, value: samples.reduce((sum, { value }) => sum + value, 0) }]
}
