/** Moments with nanoseconds, as Go writes them into keys and answers; `Date` would round them to milliseconds. */

export interface Timestamp {
  /** Seconds since 1970-01-01T00:00:00Z; negative before it. */
  readonly seconds: number
  /** 0 to 999,999,999. */
  readonly nanos: number
}

/** Go's zero time, 0001-01-01T00:00:00Z: a key whose creation date was never recorded. */
export const ZERO_TIME: Timestamp = { seconds: -62_135_596_800, nanos: 0 }

/** The present moment, in whole milliseconds. */
export function now(): Timestamp {
  return fromMillis(Date.now())
}

export function fromMillis(millis: number): Timestamp {
  const seconds = Math.floor(millis / 1000)
  return { seconds, nanos: Math.round(millis - seconds * 1000) * 1_000_000 }
}

/** So many days later. */
export function inDays(days: number, { seconds, nanos }: Timestamp): Timestamp {
  return { seconds: seconds + days * 86_400, nanos }
}

/** RFC 3339 in UTC with as many decimals as needed, as Go's RFC3339Nano. */
export function rfc3339({ seconds, nanos }: Timestamp): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, -5)
  const decimals = nanos === 0 ? '' : `.${String(nanos).padStart(9, '0').replace(/0+$/, '')}`
  return `${whole}${decimals}Z`
}

const RFC3339 = /^(\d{4}-\d{2}-(\d{2}))T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?(Z|[+-]\d{2}:\d{2})$/

/** Reads RFC 3339 with any offset; undefined when it is not that. */
export function parseRfc3339(text: string): Timestamp | undefined {
  const match = RFC3339.exec(text)
  if (match === null) return undefined
  const [, date, day, time, decimals = '', offset] = match
  // Date takes 30 February for 1 March, and 24:00 for the next day.
  if (new Date(`${date}T00:00:00Z`).getUTCDate() !== Number(day) || time?.startsWith('24'))
    return undefined
  const millis = Date.parse(`${date}T${time}${offset}`)
  if (Number.isNaN(millis)) return undefined
  return { seconds: millis / 1000, nanos: Number(decimals.padEnd(9, '0')) }
}
