/**
 * AWS Signature Version 4 in the Authorization header (rustfs-kms-admin.md, 1): what is signed, and the signature of it.
 * No presigned addresses, no chunked signatures, no version 2; whose key it is, and how old, is the caller's business.
 */

import {
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'

export const ALGORITHM = 'AWS4-HMAC-SHA256'

/** What a key signs for. */
export interface Scope {
  /** YYYYMMDD */
  readonly date: string
  readonly region: string
  readonly service: string
}

/** What an Authorization header says. */
export interface Authorization extends Scope {
  readonly accessKey: string
  /** In lower case, sorted, none twice. */
  readonly signedHeaders: readonly string[]
  /** 64 hex digits. */
  readonly signature: string
}

const HEADER =
  /^AWS4-HMAC-SHA256 +Credential=([^,/\s]{1,128})\/(\d{8})\/([A-Za-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request *, *SignedHeaders=([a-z0-9;._-]{1,2048}) *, *Signature=([0-9a-f]{64})$/

/** Undefined for what is none, or not well-formed. */
export function parseAuthorization(header: string): Authorization | undefined {
  const match = HEADER.exec(header)
  if (match === null) return undefined
  const [, accessKey = '', date = '', region = '', service = '', names = '', signature = ''] = match
  const signedHeaders = names.split(';')
  const isSorted = signedHeaders.every(
    (name, index) => name !== '' && (index === 0 || name > (signedHeaders[index - 1] ?? '')),
  )
  return isSorted ? { accessKey, date, region, service, signedHeaders, signature } : undefined
}

/** Milliseconds since 1970 of `YYYYMMDDTHHMMSSZ`; undefined for anything else. */
export function parseAmzDate(text: string): number | undefined {
  const digits = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (digits === null) return undefined
  const [, year, month, day, hour, minute, second] = digits
  const millis = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(millis) || amzDate(millis) !== text ? undefined : millis
}

/** @param millis since 1970 */
export function amzDate(millis: number): string {
  return new Date(millis).toISOString().replace(/[-:]|\.\d{3}/g, '')
}

/** A request as it was sent. Texts have one character per byte. */
export interface Signable {
  readonly method: string
  /** Path and query, encoded. */
  readonly target: string
  /** Every value that came under a name, which is in lower case. */
  headerValues(name: string): readonly string[]
}

export class SigningSecret {
  readonly #key: KeyObject

  constructor(secret: string) {
    this.#key = createSecretKey(Buffer.from(`AWS4${secret}`))
  }

  /** The signature of a canonical request, 32 bytes. @param time `x-amz-date` */
  sign(canonical: string, time: string, { date, region, service }: Scope): Buffer {
    let key = hmac(this.#key, date)
    for (const part of [region, service, 'aws4_request']) key = hmac(key, part)
    const scope = `${date}/${region}/${service}/aws4_request`
    const digest = createHash('sha256').update(canonical, 'latin1').digest('hex')
    return hmac(key, `${ALGORITHM}\n${time}\n${scope}\n${digest}`)
  }

  /**
   * Whether a request has this secret's signature, in one of the ways that clients write what they sign.
   *
   * @param payload `x-amz-content-sha256`, or the digest of the body
   */
  signed(request: Signable, authorization: Authorization, time: string, payload: string): boolean {
    const given = Buffer.from(authorization.signature, 'hex')
    let isSigned = false
    for (const canonical of canonicalRequests(request, authorization, payload)) {
      const expected = this.sign(canonical, time, authorization)
      isSigned = timingSafeEqual(given, expected) || isSigned
    }
    return isSigned
  }
}

function hmac(key: KeyObject | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/**
 * What is signed, in each way that there is of writing the path and the query: nearly always one. The first is S3's,
 * which decodes and encodes again.
 */
export function canonicalRequests(
  request: Signable,
  { service, signedHeaders }: Pick<Authorization, 'service' | 'signedHeaders'>,
  payload: string,
): string[] {
  const { method, target } = request
  const question = target.indexOf('?')
  const path = question < 0 ? target : target.slice(0, question)
  const headers = signedHeaders.map(
    (name) => `${name}:${canonicalValue(request.headerValues(name))}\n`,
  )
  const rest = `${headers.join('')}\n${signedHeaders.join(';')}\n${payload}`
  const queries = canonicalQueries(question < 0 ? '' : target.slice(question + 1))
  const paths = canonicalPaths(path, service)
  return paths.flatMap((one) => queries.map((query) => `${method}\n${one}\n${query}\n${rest}`))
}

function canonicalPaths(path: string, service: string): string[] {
  const once = encode(decode(path)).replaceAll('%2F', '/')
  // Services other than S3 encode what is encoded already; some clients sign what they send.
  const twice = service === 's3' ? once : encode(path).replaceAll('%2F', '/')
  return [...new Set([once, twice, path])]
}

function canonicalQueries(query: string): string[] {
  if (query === '') return ['']
  const raw = query.split('&').map((part): Pair => {
    const equals = part.indexOf('=')
    return equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)]
  })
  const written = (read: (text: string) => string): Pair[] =>
    raw.map(([name, value]) => [encode(read(name)), encode(read(value))])
  // A plus is a space in a form, and a plus in a URI.
  const forms = [written((text) => decode(text.replaceAll('+', ' '))), written(decode), raw]
  const orders = [byNameAndValue, byName]
  return [
    ...new Set(
      forms.flatMap((pairs) =>
        orders.map((order) =>
          pairs
            .toSorted(order)
            .map(([name, value]) => `${name}=${value}`)
            .join('&'),
        ),
      ),
    ),
  ]
}

type Pair = readonly [name: string, value: string]

function byName([a]: Pair, [b]: Pair): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function byNameAndValue(a: Pair, b: Pair): number {
  return byName(a, b) || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0)
}

function canonicalValue(values: readonly string[]): string {
  return values.map((value) => value.trim().replace(/ +/g, ' ')).join(',')
}

/** Bytes, one character each; what is no percent-encoding stands for itself. */
function decode(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  )
}

/** All but RFC 3986's unreserved characters as `%XX`. @param text one character per byte */
function encode(text: string): string {
  return text.replace(
    /[^A-Za-z0-9._~-]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}
