import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type Bus, LocalBus } from '#src/bus.js'
import { type Gauges, Metrics } from '#src/telemetry/metrics.js'

const GAUGES: Gauges = {
  auditEvents: () => 11,
  errorEvents: () => 12,
  cachedKeys: () => 13,
  keyStoreUp: () => 1,
}

const LABELLED = [
  'kes_http_request_success',
  'kes_http_request_error',
  'kes_http_request_failure',
] as const
const UNLABELLED = [
  'kes_http_request_active',
  'kes_log_audit_events',
  'kes_log_error_events',
  'kes_system_up_time',
  'kes_system_num_cpu',
  'kes_system_num_cpu_used',
  'kes_system_num_threads',
  'kes_system_mem_heap_used',
  'kes_system_mem_heap_objects',
  'kes_system_mem_stack_used',
] as const
const HISTOGRAM = 'kes_http_response_time'
const GO_FAMILIES = [...LABELLED, ...UNLABELLED, HISTOGRAM]

interface Family {
  type: string
  /** Labels with braces, or '' → value. */
  readonly series: Map<string, number>
}

/** Reads Prometheus' text format, and insists on its form. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  let current: string | undefined
  for (const line of text.split('\n')) {
    if (line === '') continue
    const head = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line)
    if (head) {
      const [, kind, name = '', rest = ''] = head
      if (kind === 'HELP') {
        assert.ok(!families.has(name), `${name} twice`)
        families.set(name, { type: '', series: new Map() })
      }
      const family = families.get(name)
      assert.ok(family, `TYPE before HELP: ${line}`)
      if (kind === 'TYPE') family.type = rest
      current = name
      continue
    }
    const sample = /^(\w+)(\{[^}]*\})? (\S+)$/.exec(line)
    assert.ok(sample && current !== undefined, `not a sample: ${line}`)
    const [, name = '', labels = '', value] = sample
    assert.ok(name.startsWith(current), `${name} below ${current}`)
    const { series } = families.get(current) ?? assert.fail()
    const key = name.slice(current.length) + labels
    assert.ok(!series.has(key), `${line} twice`)
    series.set(key, Number(value))
  }
  return families
}

async function scrape(metrics: Metrics, full = false): Promise<Map<string, Family>> {
  metrics.use(GAUGES)
  return parse(await metrics.text(full ? 'full' : 'plain'))
}

function series(families: Map<string, Family>, name: string): Record<string, number> {
  return Object.fromEntries(families.get(name)?.series ?? assert.fail(`no ${name}`))
}

test('the plain form has exactly the families of the Go server', async () => {
  const families = await scrape(new Metrics())
  assert.deepEqual([...families.keys()].sort(), GO_FAMILIES.sort())
})

test('the families have the types of the Go server', async () => {
  const families = await scrape(new Metrics())
  const type = (name: string) => families.get(name)?.type
  for (const name of LABELLED) assert.equal(type(name), 'counter')
  assert.equal(type(HISTOGRAM), 'histogram')
  assert.equal(type('kes_log_audit_events'), 'counter')
  assert.equal(type('kes_log_error_events'), 'counter')
  assert.equal(type('kes_http_request_active'), 'gauge')
  for (const name of UNLABELLED.filter((each) => each.startsWith('kes_system')))
    assert.equal(type(name), 'gauge')
})

test('the first scrape has 0 for the codes 200, 400 and 500', async () => {
  const families = await scrape(new Metrics())
  assert.deepEqual(series(families, LABELLED[0]), { '{code="200"}': 0 })
  assert.deepEqual(series(families, LABELLED[1]), { '{code="400"}': 0 })
  assert.deepEqual(series(families, LABELLED[2]), { '{code="500"}': 0 })
})

test('the counters have a series for every code, and none without', async () => {
  const metrics = new Metrics()
  for (const status of [200, 200, 307, 403, 404, 404, 502, 504])
    metrics.count('key:create', status, 1)
  const families = await scrape(metrics)
  assert.deepEqual(series(families, LABELLED[0]), { '{code="200"}': 2, '{code="307"}': 1 })
  assert.deepEqual(series(families, LABELLED[1]), {
    '{code="400"}': 0,
    '{code="403"}': 1,
    '{code="404"}': 2,
  })
  assert.deepEqual(series(families, LABELLED[2]), {
    '{code="500"}': 0,
    '{code="502"}': 1,
    '{code="504"}': 1,
  })
})

test('every other family has exactly one series without labels', async () => {
  const metrics = new Metrics()
  metrics.count('status', 200, 1)
  for (const full of [false, true]) {
    const families = await scrape(metrics, full)
    for (const name of UNLABELLED) assert.deepEqual(Object.keys(series(families, name)), [''], name)
  }
})

test('the figures of other parts are asked for at each scrape', async () => {
  let events = 1
  const metrics = new Metrics()
  metrics.use({ ...GAUGES, auditEvents: () => events++ })
  await metrics.text('plain')
  const families = parse(await metrics.text('plain'))
  assert.deepEqual(series(families, 'kes_log_audit_events'), { '': 2 })
  assert.deepEqual(series(families, 'kes_log_error_events'), { '': 12 })
})

test('the scrape itself is no active request', async () => {
  const metrics = new Metrics()
  metrics.active = 3
  assert.deepEqual(series(await scrape(metrics), 'kes_http_request_active'), { '': 2 })
  metrics.active = 0
  assert.deepEqual(series(await scrape(metrics), 'kes_http_request_active'), { '': 0 })
})

test('response times are counted up to each bound', async () => {
  const metrics = new Metrics()
  for (const took of [1, 10, 11, 400, 20_000]) metrics.count('status', 200, took)
  const histogram = series(await scrape(metrics), HISTOGRAM)
  assert.equal(histogram['_bucket{le="0.01"}'], 2)
  assert.equal(histogram['_bucket{le="0.05"}'], 3)
  assert.equal(histogram['_bucket{le="0.5"}'], 4)
  assert.equal(histogram['_bucket{le="10"}'], 4)
  assert.equal(histogram['_bucket{le="+Inf"}'], 5)
  assert.equal(histogram['_count'], 5)
  assert.ok(Math.abs((histogram['_sum'] ?? 0) - 20.422) < 1e-9)
})

test('memory and processors are what they are, or 0', async () => {
  const families = await scrape(new Metrics())
  assert.ok((series(families, 'kes_system_mem_heap_used')[''] ?? 0) > 1e6)
  assert.ok((series(families, 'kes_system_num_cpu')[''] ?? 0) >= 1)
  assert.ok((series(families, 'kes_system_num_cpu_used')[''] ?? 0) >= 1)
  assert.deepEqual(series(families, 'kes_system_mem_heap_objects'), { '': 0 })
})

test('the full form has our own families beside those of the Go server', async () => {
  const metrics = new Metrics()
  metrics.count('key:create', 200, 1)
  metrics.count('', 404, 1)
  Object.assign(metrics.cache, { hits: 14, misses: 15 })
  metrics.shed = 16
  const families = await scrape(metrics, true)
  for (const name of GO_FAMILIES) assert.ok(families.has(name), name)
  assert.deepEqual(series(families, 'kes_api_requests'), {
    '{operation="key:create",code="200"}': 1,
    '{operation="none",code="404"}': 1,
  })
  assert.deepEqual(series(families, 'kes_requests_shed'), { '': 16 })
  assert.deepEqual(series(families, 'kes_cache_keys'), { '': 13 })
  assert.deepEqual(series(families, 'kes_cache_hits'), { '': 14 })
  assert.deepEqual(series(families, 'kes_cache_misses'), { '': 15 })
  assert.deepEqual(series(families, 'kes_keystore_up'), { '': 1 })
  assert.ok([...families.keys()].some((name) => name.startsWith('process_')))
  assert.ok([...families.keys()].some((name) => name.startsWith('nodejs_')))
})

test('each scrape has the figures of whoever knows them then', async () => {
  const metrics = new Metrics()
  metrics.use(GAUGES)
  await metrics.text('full')
  metrics.use({ ...GAUGES, cachedKeys: () => 99 })
  const text = await metrics.text('full')
  assert.match(text, /^kes_cache_keys 99$/m)
})

test('the plain form stays plain after a full scrape', async () => {
  const metrics = new Metrics()
  metrics.use(GAUGES)
  await metrics.text('full')
  assert.deepEqual([...(await scrape(metrics)).keys()].sort(), GO_FAMILIES.sort())
})

/** A bus of several processes, of which there is one. @param heard is told of every question */
function amongOthers(heard: () => void = () => {}): Bus {
  const alone = new LocalBus()
  return {
    id: 0,
    isAlone: false,
    isFirst: true,
    whenFirst: (act) => act(),
    ask: (topic, message) => {
      heard()
      return alone.ask(topic, message)
    },
    publish: () => alone.publish(),
    subscribe: (topic, listener) => alone.subscribe(topic, listener),
  }
}

test('with sums, responses have no codes, of one process and of several', async () => {
  for (const bus of [new LocalBus(), amongOthers()]) {
    const metrics = new Metrics(bus)
    for (const status of [200, 307, 404, 502, 504]) metrics.count('key:create', status, 1)
    const sums = parse(await metrics.text('sums'))
    assert.deepEqual([...sums.keys()].sort(), GO_FAMILIES.sort())
    for (const families of [sums, parse(await metrics.text('full-sums'))]) {
      const values = LABELLED.map((name) => series(families, name))
      assert.deepEqual(values, [{ '': 2 }, { '': 1 }, { '': 2 }])
    }
  }
})

test('of several processes, all scrapes that are asked for while one goes on are one, and see what was counted before', async () => {
  let asked = 0
  const metrics = new Metrics(amongOthers(() => asked++))
  const first = metrics.text('plain')
  while (asked === 0) await Promise.resolve()
  metrics.count('key:create', 200, 1)
  const later = await Promise.all(Array.from({ length: 1000 }, () => metrics.text('plain')))
  const counts = [await first, ...later].map(
    (text) => series(parse(text), 'kes_http_request_success')['{code="200"}'],
  )
  assert.equal(asked, 2)
  assert.deepEqual(counts.slice(1), Array<number>(1000).fill(1))
  assert.match(await metrics.text('full'), /^kes_http_request_success\{code="200"\} 1$/m)
  assert.equal(asked, 3)
})
