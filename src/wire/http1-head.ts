/**
 * The head of an HTTP/1.1 request (RFC 9112, 3 to 6). What two programs could read in two ways is refused: that is
 * how requests are smuggled past a proxy.
 */

import { type Field, http1Field, isLength, isTarget, isToken } from './field.ts'
import * as kinds from './field.ts'
import { RequestHead } from './request.ts'

export interface Http1Head {
  readonly request: RequestHead
  readonly isChunked: boolean
  /** The client may send another request on the connection. */
  readonly keepsAlive: boolean
  readonly expectsContinue: boolean
  readonly isHttp10: boolean
}

/** A path, all of the server, or an address in full; never CONNECT's (RFC 9112, 3.2). */
const TARGET_FORM = /^(?:\/|\*$|https?:\/\/[a-z0-9\-._~!$&'()*+,;=%:[\]]+(?:[/?]|$))/i
const REQUEST_LINE = /^([^ ]+) ([^ ]+) HTTP\/1\.([01])$/
/** What the beginning of a request line can look like. */
const BEGINNING =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,64}(?: [\x21-\x7e]*(?: H?T{0,2}P?\/?1?\.?[01]?)?)?\r?$/
/** A host, and a port (RFC 3986, 3.2): nothing that looks like more than that. */
const AUTHORITY = /^[A-Za-z0-9\-._~!$&'()*+,;=%:[\]]*$/

/** Whether bytes without an end of line can become a head. */
export function canBeHead(beginning: string): boolean {
  return BEGINNING.test(beginning)
}

/** Heads, and characters of one, that are remembered. */
const MOST_KNOWN = 64
const LONGEST_KNOWN = 1024
/** By their texts: most clients send the same ones again and again, on as many connections as they like. */
const known = new Map<string, Http1Head>()

/** As `parseHead`, which it spares those that came before. */
export function readHead(text: string): Http1Head | number {
  const seen = known.get(text)
  if (seen !== undefined) return seen
  const head = parseHead(text)
  if (typeof head === 'number' || text.length > LONGEST_KNOWN) return head
  if (known.size >= MOST_KNOWN) known.clear()
  known.set(text, head)
  return head
}

/** @param text the lines without the empty one at the end, one character per byte @returns a status when refused */
export function parseHead(text: string): Http1Head | number {
  let lineEnd = text.indexOf('\r\n')
  const line = REQUEST_LINE.exec(lineEnd < 0 ? text : text.slice(0, lineEnd))
  if (line === null) return 400
  const [, method = '', target = '', minor] = line
  if (!isToken(method) || !isTarget(target) || !TARGET_FORM.test(target)) return 400
  const fields: Field[] = []
  while (lineEnd >= 0) {
    const start = lineEnd + 2
    lineEnd = text.indexOf('\r\n', start)
    const field = parseField(lineEnd < 0 ? text.slice(start) : text.slice(start, lineEnd))
    if (field === undefined) return 400
    fields.push(field)
  }
  return headOf(method, target, fields, minor === '0')
}

/** Undefined when it is none. A line that begins with white space goes on the one before, in old texts: refused, as all of it that is odd. */
export function parseField(line: string): Field | undefined {
  const colon = line.indexOf(':')
  if (colon < 1) return undefined
  let [start, end] = [colon + 1, line.length]
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  return http1Field(line.slice(0, colon), line.slice(start, end))
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function headOf(
  method: string,
  target: string,
  fields: readonly Field[],
  isHttp10: boolean,
): Http1Head | number {
  let host: string | undefined
  let length: string | undefined
  let coding: string | undefined
  let expect: string | undefined
  let [closes, keeps] = [false, false]
  for (let i = 0; i < fields.length; i++) {
    const { kind, value } = fields[i] as Field
    switch (kind) {
      case kinds.HOST:
        if (host !== undefined || !AUTHORITY.test(value)) return 400
        host = value
        break
      case kinds.CONTENT_LENGTH:
        if (length !== undefined || !isLength(value)) return 400
        length = value
        break
      case kinds.TRANSFER_ENCODING:
        if (coding !== undefined) return 400
        coding = value.toLowerCase()
        break
      case kinds.EXPECT:
        expect = value.toLowerCase()
        break
      case kinds.CONNECTION:
        for (const option of value.toLowerCase().split(',')) {
          closes ||= option.trim() === 'close'
          keeps ||= option.trim() === 'keep-alive'
        }
        break
      default:
    }
  }
  if (host === undefined && !isHttp10) return 400
  // Both, or a coding that HTTP/1.0 does not have: whoever sent it, and whoever passed it on, may not agree.
  if (coding !== undefined && (length !== undefined || isHttp10)) return 400
  if (coding !== undefined && coding !== 'chunked') return /^[a-z0-9, -]+$/.test(coding) ? 501 : 400
  if (expect !== undefined && expect !== '100-continue') return 417
  const contentLength = length === undefined ? undefined : Number(length)
  return {
    request: new RequestHead(method, target, fields, contentLength),
    isChunked: coding !== undefined,
    keepsAlive: !closes && (!isHttp10 || keeps),
    expectsContinue: expect !== undefined && !isHttp10,
    isHttp10,
  }
}
