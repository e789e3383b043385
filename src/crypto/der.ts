/**
 * What access control needs of an X.509 certificate (RFC 5280), read from its own bytes: the exact
 * SubjectPublicKeyInfo, whose hash is the identity, the dates, and the extensions that say what it may be used for.
 * `X509Certificate` re-encodes the key, hides CA:TRUE where keyCertSign is missing, and
 * takes 300 µs. Verifying signatures is OpenSSL's business, not this file's.
 */

export interface CertificateFacts {
  /** DER of the SubjectPublicKeyInfo, a view of the certificate. */
  readonly publicKey: Buffer
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  /** basicConstraints has CA:TRUE. */
  readonly isCa: boolean
  /** How many CAs may stand below this one: its pathLenConstraint, Infinity without one. */
  readonly pathLength: number
  /** Without the extension any usage is allowed; with it, clientAuth or any must be listed. */
  readonly clientAuth: boolean
  /** keyUsage, if there is one, lets the key prove who speaks TLS: digitalSignature or keyAgreement. */
  readonly handshake: boolean
  /** It has limits that nobody here can check: name constraints, or a critical extension that is not known. */
  readonly hasOtherLimits: boolean
}

export class DerError extends Error {
  override readonly name = 'DerError'
}

const BOOLEAN = 0x01
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OID = 0x06
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const VERSION = 0xa0
const EXTENSIONS = 0xa3

const KEY_USAGE = '551d0f'
const BASIC_CONSTRAINTS = '551d13'
const NAME_CONSTRAINTS = '551d1e'
const EXT_KEY_USAGE = '551d25'
/** Besides those that are read: subjectAltName, cRLDistributionPoints and certificatePolicies limit nothing here. */
const HARMLESS = new Set([
  KEY_USAGE,
  BASIC_CONSTRAINTS,
  EXT_KEY_USAGE,
  '551d11',
  '551d1f',
  '551d20',
])
/** In the first octet of keyUsage. */
const DIGITAL_SIGNATURE = 0x80
const KEY_AGREEMENT = 0x08
const CLIENT_AUTH = '2b06010505070302'
const ANY_USAGE = '551d2500'

/** @throws DerError */
export function readCertificate(der: Buffer): CertificateFacts {
  const tbs = children(expect(children(expect(read(der, 0), SEQUENCE))[0], SEQUENCE))
  // version [0] is optional; then serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo.
  const first = tbs[0]?.tag === VERSION ? 1 : 0
  const [notBefore, notAfter] = children(expect(tbs[first + 3], SEQUENCE))
  const extensions = tbs.slice(first + 6).find(({ tag }) => tag === EXTENSIONS)
  const found = extensions === undefined ? new Map<string, Extension>() : readExtensions(extensions)
  const constraints = found.get(BASIC_CONSTRAINTS)?.value
  const keyUsage = found.get(KEY_USAGE)?.value
  const usages = found.get(EXT_KEY_USAGE)?.value
  return {
    publicKey: expect(tbs[first + 5], SEQUENCE).whole,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    isCa: constraints !== undefined && readIsCa(constraints),
    pathLength: constraints === undefined ? Infinity : readPathLength(constraints),
    clientAuth:
      usages === undefined ||
      readUsages(usages).some((id) => id === CLIENT_AUTH || id === ANY_USAGE),
    handshake:
      keyUsage === undefined || (readFlags(keyUsage) & (DIGITAL_SIGNATURE | KEY_AGREEMENT)) !== 0,
    hasOtherLimits: [...found].some(
      ([id, { isCritical }]) => id === NAME_CONSTRAINTS || (isCritical && !HARMLESS.has(id)),
    ),
  }
}

/** One tag-length-value; both buffers are views. */
interface Element {
  readonly tag: number
  readonly value: Buffer
  readonly whole: Buffer
}

function read(der: Buffer, start: number): Element {
  const tag = der[start]
  let length = der[start + 1]
  let at = start + 2
  if (tag === undefined || length === undefined) throw new DerError('truncated element')
  if ((tag & 0x1f) === 0x1f) throw new DerError('multi-byte tag')
  if (length > 0x7f) {
    const size = length - 0x80
    if (size < 1 || size > 4 || at + size > der.length) throw new DerError('illegal length')
    length = der.readUIntBE(at, size)
    at += size
  }
  if (at + length > der.length) throw new DerError('truncated element')
  return { tag, value: der.subarray(at, at + length), whole: der.subarray(start, at + length) }
}

function children({ value }: Element): Element[] {
  const elements: Element[] = []
  for (let at = 0; at < value.length;) {
    const element = read(value, at)
    elements.push(element)
    at += element.whole.length
  }
  return elements
}

function expect(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) throw new DerError('unexpected element')
  return element
}

interface Extension {
  readonly value: Element
  readonly isCritical: boolean
}

function readExtensions(extensions: Element): Map<string, Extension> {
  const found = new Map<string, Extension>()
  for (const extension of children(expect(children(extensions)[0], SEQUENCE))) {
    const parts = children(expect(extension, SEQUENCE))
    const id = expect(parts[0], OID).value.toString('hex')
    // RFC 5280, 4.2: a certificate must not have an extension twice. Two answers are none.
    if (found.has(id)) throw new DerError('extension twice')
    found.set(id, {
      value: read(expect(parts.at(-1), OCTET_STRING).value, 0),
      isCritical: parts.length === 3 && isTrue(parts[1]),
    })
  }
  return found
}

function readIsCa(constraints: Element): boolean {
  return isTrue(children(expect(constraints, SEQUENCE))[0])
}

function isTrue(element: Element | undefined): boolean {
  return element?.tag === BOOLEAN && element.value[0] !== 0
}

function readPathLength(constraints: Element): number {
  const last = children(expect(constraints, SEQUENCE)).at(-1)
  if (last?.tag !== INTEGER) return Infinity
  const { length } = last.value
  if (length < 1 || length > 6) throw new DerError('illegal path length')
  return last.value.readIntBE(0, length)
}

/** The first eight flags of a BIT STRING, whose own first octet counts unused bits. */
function readFlags(bits: Element): number {
  return expect(bits, BIT_STRING).value[1] ?? 0
}

function readUsages(usages: Element): string[] {
  return children(expect(usages, SEQUENCE)).map((usage) => expect(usage, OID).value.toString('hex'))
}

const TIME = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/

function readTime(element: Element | undefined): number {
  if (element?.tag !== UTC_TIME && element?.tag !== GENERALIZED_TIME)
    throw new DerError('not a time')
  const text = element.value.toString('latin1')
  // RFC 5280, 4.1.2.5.1: two-digit years from 50 on belong to the last century.
  const century = element.tag === GENERALIZED_TIME ? '' : text < '50' ? '20' : '19'
  const parts = TIME.exec(century + text)
  if (parts === null) throw new DerError('malformed time')
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return Date.UTC(year, month - 1, day, hour, minute, second)
}
