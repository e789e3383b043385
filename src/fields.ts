/**
 * Types of config fields. Every scalar of the file arrives as a string: quoted or not, from the file or from an
 * environment variable, it means the same. Messages never repeat a value, which may be a secret.
 */

import { createHmac, randomBytes } from 'node:crypto'

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

/**
 * A text that means `preset` when it is left out, left empty, or ''.
 *
 * @param what its description, which has to come before the transformation to be seen in documents
 */
export function textOr(preset: string, what: string) {
  return v.pipe(
    optional(text, preset),
    v.description(what),
    v.transform((given) => (given === '' ? preset : given)),
  )
}

/** An http(s) URL, in a pipe of a text; a host alone is meant with https. @param example where it is neither */
export function hostOrUrl(example: string) {
  return v.rawTransform<string, string>(({ dataset: { value }, addIssue, NEVER }) => {
    const url = value.includes('://') ? value : `https://${value}`
    if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url
    addIssue({ message: `not an endpoint: write it like ${example}` })
    return NEVER
  })
}

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

/** Milliseconds; in fields of our own, whole days are understood, too. */
export const durationOrDays = v.pipe(
  text,
  v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    const [, days] = /^(\d{1,5})d$/.exec(dataset.value) ?? []
    const millis = days === undefined ? parseDuration(dataset.value) : Number(days) * DAY
    if (millis !== undefined) return millis
    addIssue({ message: 'not a duration: write it like 90d, 1h2m3.5s or 0s' })
    return NEVER
  }),
)

export const DAY = 86_400_000

/** A whole number. */
export function whole(min: number, max: number) {
  return v.pipe(
    text,
    v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
      const value = /^\d{1,15}$/.test(dataset.value) ? Number(dataset.value) : Number.NaN
      if (value >= min && value <= max) return value
      addIssue({ message: `a whole number from ${min} to ${max} is expected` })
      return NEVER
    }),
  )
}

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

/** Whether an address names this machine, in digits: a name could come to mean another one. */
export function isLoopback({ host }: Address): boolean {
  return /^127(?:\.\d{1,3}){3}$/.test(host) || host === '::1'
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

const MARKING = randomBytes(32)

/** A secret of the config file: nothing that prints or inspects it shows it. */
export class Secret {
  /** Equal for equal secrets of this process, and of no use elsewhere: a deep comparison sees no private fields. */
  readonly mark: string
  readonly #text: string

  constructor(text: string) {
    this.#text = text
    this.mark = createHmac('sha256', MARKING).update(text).digest('base64')
  }

  reveal(): string {
    return this.#text
  }
}

/** @param missing what to say when it is empty @param what its description */
export function secret(missing: string, what: string) {
  return v.pipe(
    text,
    v.description(what),
    v.nonEmpty(missing),
    v.transform((given) => new Secret(given)),
  )
}

/** The URL of a service, without a final slash. */
export const endpoint = v.pipe(
  text,
  v.description('URL of the service, like https://keys.example.com:8200.'),
  v.trim(),
  v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
    const url = URL.canParse(dataset.value) ? new URL(dataset.value) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      addIssue({ message: 'not a URL: write it like https://keys.example.com:8200' })
      return NEVER
    }
    if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
      addIssue({ message: 'only scheme, host, port and path belong here, and no password' })
      return NEVER
    }
    return url.href.replace(/\/+$/, '')
  }),
)

/** What stands before the names of our entries in a store that others use, too; ends with a slash unless it is ''. */
export const folder = v.pipe(
  text,
  v.regex(/^[\w./-]*$/, 'letters, digits and the characters . _ - / only'),
  v.transform((given) => (given === '' || given.endsWith('/') ? given : `${given}/`)),
)

/** How a service is recognised, and how we show ourselves to it: paths of PEM files, '' where none is given. */
export interface ClientTlsFiles {
  readonly ca: string
  readonly cert?: string
  readonly key?: string
}

const ca = v.pipe(
  optional(text, ''),
  v.description(
    'File or directory of PEM files with the CAs that are trusted; else the operating system’s.',
  ),
)

/** `tls` of a service that knows us by other means than a certificate. */
export const serverTls = v.pipe(
  optional(v.strictObject({ ca }), {}),
  v.description('How the certificate of the service is verified.'),
)

/** `tls` of a service that may want a client certificate. */
export const mutualTls = v.pipe(
  optional(
    v.pipe(
      v.strictObject({
        key: v.pipe(
          optional(text, ''),
          v.description('PEM file with the private key of the client certificate.'),
        ),
        cert: v.pipe(optional(text, ''), v.description('PEM file with the client certificate.')),
        ca,
      }),
      v.check(({ key, cert }) => (key === '') === (cert === ''), 'key and cert belong together'),
    ),
    {},
  ),
  v.description('How the certificate of the service is verified, and with which we identify.'),
)
