/** `kes metric`: what a server does, as a live view in a terminal, as a JSON object per look elsewhere. */

import { type KesClient, KesClientError, RefusedError } from '../client/index.ts'
import { sleep } from '../client/scope.ts'
import { parseDuration } from '../fields.ts'
import { UsageError } from './command.ts'
import { attempt, type ConnectionOptions, explain, withEveryClient } from './connect.ts'
import { untilInterrupted } from './interrupt.ts'
import { FullScreen } from './metric/full-screen.ts'
import { type Figures, figuresBetween, type Scrape } from './metric/rates.ts'
import { screen, type View } from './metric/view.ts'
import { painter, printJson } from './output.ts'

interface MetricOptions extends ConnectionOptions {
  readonly rate?: string
}

/** Milliseconds. */
const DEFAULT_RATE = 5000
const FASTEST = 100
/** Milliseconds for one look. */
const PATIENCE = 5000
/** More than any screen has columns. */
const HISTORY = 1000

type Look = { readonly figures: Figures } | { readonly trouble: KesClientError }

export async function metric(options: MetricOptions): Promise<void> {
  const rate = rateOf(options.rate)
  await untilInterrupted((signal) =>
    withEveryClient(options, async ([client, ...more]) => {
      if (client === undefined || more.length > 0)
        throw new UsageError('metrics are those of one server: say which with --server')
      const looks = watch(client, await firstScrape(client, signal), rate, signal)
      const isLive = process.stdout.isTTY && options.json !== true
      if (isLive) await show(looks, client.endpoints.join(), rate, options)
      else for await (const look of looks) printJson(jsonOf(client.endpoints.join(), look))
    }),
  )
}

/** @throws UsageError */
function rateOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_RATE
  const millis = parseDuration(text)
  if (millis === undefined || millis < FASTEST)
    throw new UsageError(`--rate '${text}' is no duration from 100ms on: write it like 5s or 500ms`)
  return millis
}

/** What is wrong at the start, such as no rights, is wrong for good. */
async function firstScrape(client: KesClient, signal: AbortSignal): Promise<Scrape> {
  return attempt('read the metrics', scrape(client, signal))
}

async function scrape(client: KesClient, signal: AbortSignal): Promise<Scrape> {
  const metrics = await client.metrics({ signal, timeout: PATIENCE })
  return { at: performance.now(), metrics }
}

/** Looks again and again, also while there is no answer. @throws RefusedError; the signal's reason */
async function* watch(
  client: KesClient,
  first: Scrape,
  rate: number,
  signal: AbortSignal,
): AsyncGenerator<Look> {
  let last = first
  for (let next = first.at + rate; ; next = Math.max(next + rate, performance.now())) {
    await sleep(Math.max(0, next - performance.now()), signal)
    try {
      const scraped = await scrape(client, signal)
      yield { figures: figuresBetween(last, scraped) }
      last = scraped
    } catch (error) {
      if (!(error instanceof KesClientError) || error instanceof RefusedError) throw error
      yield { trouble: error }
    }
  }
}

async function show(
  looks: AsyncIterable<Look>,
  server: string,
  rate: number,
  options: MetricOptions,
): Promise<void> {
  const paint = painter(options)
  const history: (number | undefined)[] = []
  let view: View = {
    server,
    rate,
    time: new Date(),
    figures: undefined,
    trouble: undefined,
    history,
  }
  using full = new FullScreen(process.stdout, (size) => screen(view, size, paint))
  for await (const look of looks) {
    const isThere = 'figures' in look
    history.push(isThere ? look.figures.requests : undefined)
    history.splice(0, history.length - HISTORY)
    view = {
      ...view,
      time: new Date(),
      trouble: isThere ? undefined : explain(look.trouble),
      ...(isThere && { figures: look.figures }),
    }
    full.draw()
  }
}

function jsonOf(server: string, look: Look): object {
  const time = new Date().toISOString()
  if ('trouble' in look) return { time, server, up: false, error: explain(look.trouble) }
  const { figures } = look
  return {
    time,
    server,
    up: true,
    seconds: rounded(figures.over),
    requests_per_second: rounded(figures.requests),
    errors_per_second: rounded(figures.errors),
    failures_per_second: rounded(figures.failures),
    latency_ms: {
      p50: rounded(figures.latency.p50),
      p90: rounded(figures.latency.p90),
      p99: rounded(figures.latency.p99),
    },
    active: figures.active,
    uptime: rounded(figures.uptime),
    mem_heap_used: figures.heapUsed,
    mem_resident: figures.resident ?? null,
    keystore_up: figures.isKeyStoreUp ?? null,
    cache_keys: figures.cachedKeys ?? null,
    cache_hit_ratio: rounded(figures.cacheHits),
  }
}

/** To the thousandth; null where there is nothing to count. */
function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1000) / 1000
}
