/**
 * Types of config fields. Every scalar of the file arrives as a string: quoted or not, from the file or from an
 * environment variable, it means the same. Messages never repeat a value, which may be a secret.
 */

import * as v from 'valibot'

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of a Go duration such as `1h2m3.5s`, never negative; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined
  let millis = 0
  for (const [, number, unit] of text.matchAll(/([\d.]+)([a-zµμ]+)/g))
    millis += Number(number) * (UNITS[unit ?? ''] ?? 0)
  return millis
}

/** An optional field: left out, or left empty, it has its default. */
export function optional<S extends v.GenericSchema>(schema: S, preset: v.InferInput<S>) {
  return v.nullish(schema, preset as never)
}

export const text = v.string('a text is expected')

/** Milliseconds. */
export const duration = v.pipe(
  text,
  v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    const millis = parseDuration(dataset.value)
    if (millis !== undefined) return millis
    addIssue({ message: 'not a duration: write it like 1h2m3.5s, 300ms or 0s' })
    return NEVER
  }),
)

const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ['on', true],
  ['true', true],
  ['yes', true],
  ['off', false],
  ['false', false],
  ['no', false],
])

/** `on`, `off` and YAML's other words for them. @param preset what '' means */
export function onOff(preset: boolean) {
  return v.pipe(
    text,
    v.rawTransform<string, boolean>(({ dataset, addIssue, NEVER }) => {
      const value = dataset.value === '' ? preset : SWITCH.get(dataset.value.toLowerCase())
      if (value !== undefined) return value
      addIssue({ message: 'write on or off' })
      return NEVER
    }),
  )
}

export interface Address {
  /** '' = every address of the machine. */
  readonly host: string
  readonly port: number
}

/** Reads `host:port`, `:port` or `[ipv6]:port`. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) return undefined
  return { host: match[1] ?? match[2] ?? '', port }
}

export const address = v.pipe(
  text,
  v.rawTransform<string, Address>(({ dataset, addIssue, NEVER }) => {
    const parsed = parseAddress(dataset.value)
    if (parsed !== undefined) return parsed
    addIssue({ message: 'not an address: write it like 0.0.0.0:7373, :7373 or [::]:7373' })
    return NEVER
  }),
)
