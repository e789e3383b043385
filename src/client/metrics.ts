/** Reads the Prometheus text format 0.0.4, as servers write it, into numbers to compute with. */

export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary' | 'untyped'

export interface Sample {
  /** With `_bucket`, `_sum` or `_count` in the families that have them. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface MetricFamily {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  readonly samples: readonly Sample[]
}

/** Observations by size. */
export interface Histogram {
  /** Sorted by bound, cumulative as in the format; the last bound is Infinity. */
  readonly buckets: readonly { readonly upTo: number; readonly count: number }[]
  readonly sum: number
  readonly count: number
}

/** One scrape. */
export class Metrics {
  /** As the server sent it. */
  readonly text: string
  readonly families: ReadonlyMap<string, MetricFamily>

  /** @throws MetricsError */
  constructor(text: string) {
    this.text = text
    this.families = parseFamilies(text)
  }

  /**
   * Sum of a counter's or gauge's series with these labels, e.g. of all status codes; undefined without any.
   */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const samples = this.#samples(name, name, labels)
    if (samples.length === 0) return undefined
    return samples.reduce((sum, { value }) => sum + value, 0)
  }

  /** Sum of a histogram's series with these labels; undefined without any. */
  histogram(name: string, labels: Readonly<Record<string, string>> = {}): Histogram | undefined {
    const counts = new Map<number, number>()
    for (const { labels: own, value } of this.#samples(name, `${name}_bucket`, labels)) {
      const upTo = parseValue(own['le'] ?? '')
      if (upTo !== undefined) counts.set(upTo, (counts.get(upTo) ?? 0) + value)
    }
    const total = (suffix: string) =>
      this.#samples(name, name + suffix, labels).reduce((sum, { value }) => sum + value, 0)
    if (counts.size === 0) return undefined
    const buckets = [...counts]
      .map(([upTo, count]) => ({ upTo, count }))
      .sort((a, b) => a.upTo - b.upTo)
    return { buckets, sum: total('_sum'), count: total('_count') }
  }

  #samples(family: string, name: string, labels: Readonly<Record<string, string>>): Sample[] {
    const wanted = Object.entries(labels)
    return (this.families.get(family)?.samples ?? []).filter(
      (sample) =>
        sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value),
    )
  }
}

/** What was observed between two scrapes. A server that restarted in between counts from 0: then all of `later`. */
export function histogramSince(earlier: Histogram | undefined, later: Histogram): Histogram {
  if (earlier === undefined || later.count < earlier.count) return later
  const before = new Map(earlier.buckets.map(({ upTo, count }) => [upTo, count]))
  return {
    buckets: later.buckets.map(({ upTo, count }) => ({
      upTo,
      count: Math.max(0, count - (before.get(upTo) ?? 0)),
    })),
    sum: later.sum - earlier.sum,
    count: later.count - earlier.count,
  }
}

/**
 * The value that a share `q` (0 to 1) of the observations does not exceed, interpolated within its bucket, as
 * Prometheus' histogram_quantile does. Undefined without observations; the greatest finite bound beyond all others.
 */
export function quantile({ buckets }: Histogram, q: number): number | undefined {
  const total = buckets.at(-1)?.count ?? 0
  if (total === 0) return undefined
  const rank = q * total
  const index = buckets.findIndex(({ count }) => count >= rank)
  const bucket = buckets[index]
  const below = buckets[index - 1] ?? { upTo: 0, count: 0 }
  if (bucket === undefined || bucket.upTo === Infinity) return below.upTo
  const width = bucket.upTo - below.upTo
  const inside = bucket.count - below.count
  return inside === 0 ? bucket.upTo : below.upTo + (width * (rank - below.count)) / inside
}

/** The text is not of the format. */
export class MetricsError extends Error {
  override readonly name = 'MetricsError'
}

interface Draft {
  name: string
  type: MetricType
  help: string
  samples: Sample[]
}

function parseFamilies(text: string): Map<string, Draft> {
  const families = new Map<string, Draft>()
  const family = (name: string): Draft => {
    let found = families.get(name)
    if (found === undefined)
      families.set(name, (found = { name, type: 'untyped', help: '', samples: [] }))
    return found
  }
  for (const [index, line] of text.split('\n').entries()) {
    const [, keyword, name = '', rest = ''] =
      /^#[ \t]+(HELP|TYPE)[ \t]+(\S+)[ \t]*(.*)$/.exec(line) ?? []
    if (keyword === 'HELP') family(name).help = unescape(rest)
    else if (keyword === 'TYPE') family(name).type = parseType(rest.trim(), index)
    else if (line.trim() !== '' && !line.startsWith('#')) {
      const sample = parseSample(line, index)
      family(familyOf(sample.name, families)).samples.push(sample)
    }
  }
  return families
}

function parseType(text: string, line: number): MetricType {
  switch (text) {
    case 'counter':
    case 'gauge':
    case 'histogram':
    case 'summary':
    case 'untyped':
      return text
    default:
      throw new MetricsError(`line ${line + 1}: unknown type`)
  }
}

function familyOf(name: string, families: ReadonlyMap<string, Draft>): string {
  const base = name.replace(/_(bucket|sum|count)$/, '')
  const type = base === name ? undefined : families.get(base)?.type
  return type === 'histogram' || type === 'summary' ? base : name
}

const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*\s*(?:,|(?=\}))/y
const CLOSE = /\s*\}/y

function parseSample(text: string, line: number): Sample {
  const bad = () => new MetricsError(`line ${line + 1}: no sample`)
  NAME.lastIndex = text.length - text.trimStart().length
  const name = NAME.exec(text)?.[0]
  if (name === undefined) throw bad()
  let at = NAME.lastIndex
  const labels: Record<string, string> = Object.create(null) as Record<string, string>
  at += /^\s*/.exec(text.slice(at))?.[0].length ?? 0
  if (text[at] === '{') {
    at++
    for (;;) {
      LABEL.lastIndex = at
      const label = LABEL.exec(text)
      if (label === null) break
      labels[label[1] ?? ''] = unescape(label[2] ?? '')
      at = LABEL.lastIndex
    }
    CLOSE.lastIndex = at
    if (!CLOSE.test(text)) throw bad()
    at = CLOSE.lastIndex
  }
  const [value = '', time, ...more] = text.slice(at).trim().split(/\s+/)
  const number = parseValue(value)
  if (number === undefined || more.length > 0 || (time !== undefined && !/^-?\d+$/.test(time)))
    throw bad()
  return { name, labels, value: number }
}

function parseValue(text: string): number | undefined {
  const infinite = /^([+-]?)inf(?:inity)?$/i.exec(text)
  if (infinite !== null) return infinite[1] === '-' ? -Infinity : Infinity
  if (/^[+-]?nan$/i.test(text)) return NaN
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))
}
