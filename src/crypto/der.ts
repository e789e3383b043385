/**
 * What access control needs of an X.509 certificate (RFC 5280), read from its own bytes: the exact
 * SubjectPublicKeyInfo, whose hash is the identity, the dates, and the basicConstraints and extKeyUsage
 * extensions. `X509Certificate` re-encodes the key, hides CA:TRUE where keyCertSign is missing, and
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
  /** Without the extension any usage is allowed; with it, clientAuth or any must be listed. */
  readonly clientAuth: boolean
}

export class DerError extends Error {
  override readonly name = 'DerError'
}

const BOOLEAN = 0x01
const OCTET_STRING = 0x04
const OID = 0x06
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const VERSION = 0xa0
const EXTENSIONS = 0xa3

const BASIC_CONSTRAINTS = '551d13'
const EXT_KEY_USAGE = '551d25'
const CLIENT_AUTH = '2b06010505070302'
const ANY_USAGE = '551d2500'

/** @throws DerError */
export function readCertificate(der: Buffer): CertificateFacts {
  const tbs = children(expect(children(expect(read(der, 0), SEQUENCE))[0], SEQUENCE))
  // version [0] is optional; then serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo.
  const first = tbs[0]?.tag === VERSION ? 1 : 0
  const [notBefore, notAfter] = children(expect(tbs[first + 3], SEQUENCE))
  const extensions = tbs.slice(first + 6).find(({ tag }) => tag === EXTENSIONS)
  const found = extensions === undefined ? new Map<string, Element>() : readExtensions(extensions)
  const constraints = found.get(BASIC_CONSTRAINTS)
  const usages = found.get(EXT_KEY_USAGE)
  return {
    publicKey: expect(tbs[first + 5], SEQUENCE).whole,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    isCa: constraints !== undefined && readIsCa(constraints),
    clientAuth:
      usages === undefined ||
      readUsages(usages).some((id) => id === CLIENT_AUTH || id === ANY_USAGE),
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

function readExtensions(extensions: Element): Map<string, Element> {
  const found = new Map<string, Element>()
  for (const extension of children(expect(children(extensions)[0], SEQUENCE))) {
    const parts = children(expect(extension, SEQUENCE))
    const id = expect(parts[0], OID).value.toString('hex')
    // RFC 5280, 4.2: a certificate must not have an extension twice. Two answers are none.
    if (found.has(id)) throw new DerError('extension twice')
    found.set(id, read(expect(parts.at(-1), OCTET_STRING).value, 0))
  }
  return found
}

function readIsCa(constraints: Element): boolean {
  const [flag] = children(expect(constraints, SEQUENCE))
  return flag?.tag === BOOLEAN && flag.value[0] !== 0
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
