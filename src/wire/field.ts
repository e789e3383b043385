/** A header field of a request: looked at once, when it is made, and kept as long as HPACK's table keeps it. */

/** What a field means to the framing itself. */
export const REGULAR = 0
export const METHOD = 1
export const PATH = 2
export const SCHEME = 3
export const AUTHORITY = 4
export const CONTENT_LENGTH = 5
export const HOST = 6
export const EXPECT = 7
export const CONNECTION = 8
export const TRANSFER_ENCODING = 9
/** Breaks the rules of HTTP/2, as a name, as a value, or because it is for HTTP/1.1 only. */
export const MALFORMED = 10

type Kind = number

const KINDS: ReadonlyMap<string, Kind> = new Map([
  [':method', METHOD],
  [':path', PATH],
  [':scheme', SCHEME],
  [':authority', AUTHORITY],
  ['content-length', CONTENT_LENGTH],
  ['host', HOST],
  ['expect', EXPECT],
  ['connection', CONNECTION],
  ['transfer-encoding', TRANSFER_ENCODING],
])
/** RFC 9113, 8.2.2. */
const HTTP1_ONLY = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])

const LOWER_TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 9110, 5.5: visible characters, spaces and tabs between them, and bytes beyond ASCII. */
const VALUE = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/
/** RFC 3986: ASCII, without white space and control characters. */
const TARGET = /^[\x21-\x7e]+$/
const LENGTH = /^\d{1,15}$/

export class Field {
  /** In lower case. */
  readonly name: string
  /** One character per byte. */
  readonly value: string
  readonly kind: Kind

  constructor(name: string, value: string, kind: Kind) {
    this.name = name
    this.value = value
    this.kind = kind
  }

  /** As HPACK counts it (RFC 7541, 4.1). */
  get size(): number {
    return this.name.length + this.value.length + 32
  }
}

/** A field as HTTP/2 has it; MALFORMED when its rules are broken. */
export function http2Field(name: string, value: string): Field {
  return new Field(name, value, http2Kind(name, value))
}

function http2Kind(name: string, value: string): Kind {
  const kind = KINDS.get(name)
  if (!isValue(value)) return MALFORMED
  switch (kind) {
    case METHOD:
      return isToken(value) ? METHOD : MALFORMED
    case PATH:
      return isTarget(value) ? PATH : MALFORMED
    case CONTENT_LENGTH:
      return isLength(value) ? CONTENT_LENGTH : MALFORMED
    case undefined:
      if (!LOWER_TOKEN.test(name) || HTTP1_ONLY.has(name)) return MALFORMED
      return name === 'te' && value.toLowerCase() !== 'trailers' ? MALFORMED : REGULAR
    case CONNECTION:
    case TRANSFER_ENCODING:
      return MALFORMED
    default:
      return kind
  }
}

/** A field as HTTP/1.1 has it. @param name in any case. Undefined when it is none */
export function http1Field(name: string, value: string): Field | undefined {
  if (!TOKEN.test(name) || !isValue(value)) return undefined
  const lower = name.toLowerCase()
  return new Field(lower, value, KINDS.get(lower) ?? REGULAR)
}

export function isToken(text: string): boolean {
  return TOKEN.test(text)
}

export function isTarget(text: string): boolean {
  return TARGET.test(text)
}

export function isLength(text: string): boolean {
  return LENGTH.test(text)
}

function isValue(text: string): boolean {
  return text === '' || VALUE.test(text)
}
