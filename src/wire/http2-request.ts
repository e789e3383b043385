/** Whether fields are a request, and which (RFC 9113, 8.2 and 8.3). */

import {
  AUTHORITY,
  CONTENT_LENGTH,
  type Field,
  HOST,
  MALFORMED,
  METHOD,
  PATH,
  SCHEME,
} from './field.ts'
import { RequestHead } from './request.ts'

/** Undefined when they are none. Strict: what a proxy might read in another way is refused. */
export function requestOf(fields: readonly Field[]): RequestHead | undefined {
  let method: string | undefined
  let path: string | undefined
  let scheme: string | undefined
  let authority: string | undefined
  let host: string | undefined
  let length: string | undefined
  let isPseudo = true
  for (let i = 0; i < fields.length; i++) {
    const { kind, value } = fields[i] as Field
    if (kind >= METHOD && kind <= AUTHORITY) {
      if (!isPseudo) return undefined
      if (kind === METHOD) {
        if (method !== undefined) return undefined
        method = value
      } else if (kind === PATH) {
        if (path !== undefined) return undefined
        path = value
      } else if (kind === SCHEME) {
        if (scheme !== undefined) return undefined
        scheme = value
      } else {
        if (authority !== undefined) return undefined
        authority = value
      }
      continue
    }
    isPseudo = false
    if (kind === MALFORMED) return undefined
    if (kind === CONTENT_LENGTH) {
      if (length !== undefined) return undefined
      length = value
    } else if (kind === HOST) {
      if (host !== undefined) return undefined
      host = value
    }
  }
  if (method === undefined) return undefined
  if (authority !== undefined && host !== undefined && !isSame(authority, host)) return undefined
  if (method === 'CONNECT') {
    // Well-formed, and refused by whoever looks for its path.
    if (path !== undefined || scheme !== undefined || authority === undefined) return undefined
  } else if (scheme === undefined || path === undefined || !isPath(path, method)) return undefined
  const contentLength = length === undefined ? undefined : Number(length)
  return new RequestHead(method, path ?? '', fields, contentLength)
}

/** Trailers have no pseudo fields, and nothing that a head could not have, too. */
export function areTrailers(fields: readonly Field[]): boolean {
  return fields.every(({ kind }) => kind !== MALFORMED && (kind < METHOD || kind > AUTHORITY))
}

function isPath(path: string, method: string): boolean {
  return path.charCodeAt(0) === 0x2f || (path === '*' && method === 'OPTIONS')
}

function isSame(authority: string, host: string): boolean {
  return authority === host || authority.toLowerCase() === host.toLowerCase()
}
