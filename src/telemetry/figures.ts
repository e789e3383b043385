/** Figures of several processes, and their sum. prom-client adds them up; it is loaded at the first scrape. */

import type { Metric } from 'prom-client'

export type Aggregator = 'sum' | 'max' | 'min'

export interface Sample {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** Of one process: every family that there is, as prom-client passes them on. */
export type Figures = readonly FamilyFigures[]

interface FamilyFigures {
  readonly name: string
  readonly type: string
  readonly values: readonly Sample[]
}

/** Counts go up, gauges are what their family says. */
export async function sumOf(parts: readonly Figures[]): Promise<Figures> {
  const { AggregatorRegistry } = await import('prom-client')
  const sum = AggregatorRegistry.aggregate(parts as unknown as object[])
  return (await sum.getMetricsAsJSON()) as unknown as Figures
}

/** Part of a unit that figures of one process are rounded to. */
const EXACT = 2 ** 20

/**
 * Rounded, so that the sum is the same in whatever order they are added up, to the last bit: a counter that is smaller than
 * before, by however little, means a restart to Prometheus.
 */
export function rounded(figures: Figures): Figures {
  return figures.map((family) => ({
    ...family,
    values: family.values.map((sample) => ({
      ...sample,
      value: Math.round(sample.value * EXACT) / EXACT,
    })),
  }))
}

/** What only ever grows. */
export function counts(figures: Figures): Figures {
  return figures.filter(({ type }) => type === 'counter' || type === 'histogram')
}

/** Something that a registry asks for nothing but name and figures. */
export function asMetric(family: { readonly name: string; get(): Promise<object> }): Metric {
  return family as unknown as Metric
}
