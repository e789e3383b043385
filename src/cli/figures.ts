/** Figures as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function bytes(count: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10))
  const value = count / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1)} ${UNITS[power]}`
}

/** A short one: three digits and a unit. */
export function took(millis: number): string {
  if (millis < 1) return `${Math.round(millis * 1000)}µs`
  if (millis < 999.5) return `${Number(millis.toPrecision(3))}ms`
  return `${Number((millis / 1000).toPrecision(3))}s`
}

const SPANS = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const

/** A long one: its two greatest units. */
export function span(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds))
  const parts = SPANS.map(([unit, size]) => {
    const count = Math.floor(rest / size)
    rest -= count * size
    return { unit, count }
  })
  const first = parts.findIndex(({ count }) => count > 0)
  if (first < 0) return '0s'
  return parts
    .slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ unit, count }) => `${count}${unit}`)
    .join(' ')
}
