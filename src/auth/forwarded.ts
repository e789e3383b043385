/**
 * Client certificates that a TLS proxy forwards in a header (kes-api.md, "Connections"): exactly one value, one
 * URL-encoded PEM certificate, held to what is asked of one that comes in a handshake. Who may forward is
 * not decided here, and nothing is kept per connection: a proxy's next request may be somebody else's.
 */

import { X509Certificate } from 'node:crypto'

import { type TrustedCas, type Validity } from '../crypto/chain.ts'
import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import { decodeBase64 } from '../json.ts'
import { peerOf } from './peer.ts'

/** Who sends a request. */
export interface Caller {
  /** Undefined when nobody knows. */
  readonly identity: Identity | undefined
  /** The TLS proxy that says so. */
  readonly proxy?: Identity
  /** Why the identity does not count. */
  readonly fault?: KesError
  /** Milliseconds since 1970: when it ceases to count. Absent where dates do not matter, or the connection knows. */
  readonly until?: number
}

export const NOBODY: Caller = { identity: undefined }

/** Good certificates to keep: reading and verifying one takes longer than most requests. */
const KEPT = 256
const ALWAYS: Validity = { notBefore: -Infinity, notAfter: Infinity }

interface Known extends Validity {
  readonly identity: Identity
}

export class ForwardedCertificates {
  /** Name of the header, in lower case. */
  readonly header: string
  readonly #cas: TrustedCas | undefined
  /** By the header's value. What was refused is not here, or it would push out what is good. */
  readonly #known = new Map<string, Known>()

  /** @param cas that must vouch for a certificate; undefined: any well-formed one counts (`tls.auth: off`). */
  constructor(header: string, cas: TrustedCas | undefined) {
    this.header = header.toLowerCase()
    this.#cas = cas
  }

  /** @param values of the header, as the proxy sent them. @param now milliseconds since 1970 */
  callerOf(proxy: Identity, values: readonly string[], now: number): Caller {
    const [value = '', ...others] = values
    if (others.length > 0) return refused(proxy, 'MANY_CERTIFICATES', `${this.header} came twice`)
    if (value === '') return refused(proxy, 'NO_CERTIFICATE', `${this.header} is missing`)
    const known = this.#known.get(value)
    if (known !== undefined && known.notBefore <= now && now <= known.notAfter)
      return { identity: known.identity, proxy, until: known.notAfter }
    const certificate = read(value)
    if ('reason' in certificate) return refused(proxy, certificate.code, certificate.reason)
    const identity = peerOf(certificate.raw)?.identity
    if (identity === undefined)
      return refused(proxy, 'NO_CERTIFICATE', 'a CA’s is none, nor one that cannot be read')
    const verdict = this.#cas === undefined ? ALWAYS : this.#cas.judge(certificate, now)
    if ('fault' in verdict) return refused(proxy, 'BAD_CERTIFICATE', verdict.fault, identity)
    this.#keep(value, { identity, ...verdict })
    return { identity, proxy, until: verdict.notAfter }
  }

  #keep(value: string, known: Known): void {
    // Again at the end: the first of a Map is its oldest.
    this.#known.delete(value)
    this.#known.set(value, known)
    const [oldest = ''] = this.#known.keys()
    if (this.#known.size > KEPT) this.#known.delete(oldest)
  }
}

type Code = 'NO_CERTIFICATE' | 'MANY_CERTIFICATES' | 'BAD_CERTIFICATE'

/** What is wrong with a bad certificate helps its owner; the rest is for whoever runs the proxy, and so for the log. */
function refused(proxy: Identity, code: Code, reason: string, identity?: Identity): Caller {
  const options =
    code === 'BAD_CERTIFICATE'
      ? { message: `tls: client certificate is not accepted: ${reason}` }
      : { cause: new Error(reason) }
  return { identity, proxy, fault: new KesError(code, options) }
}

/** Some proxies leave the pluses of base64 as they are; others write the spaces of the first and last line so. */
const PEM =
  /^-----BEGIN[ +]CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END[ +]CERTIFICATE-----\s*$/

function read(value: string): X509Certificate | { readonly code: Code; readonly reason: string } {
  const bad = (reason: string) => ({ code: 'BAD_CERTIFICATE', reason }) as const
  let pem: string
  try {
    pem = decodeURIComponent(value)
  } catch {
    return bad('its URL encoding is damaged')
  }
  const [, base64] = PEM.exec(pem) ?? []
  if (base64 === undefined) {
    return /BEGIN.*BEGIN/s.test(pem)
      ? { code: 'MANY_CERTIFICATES', reason: 'there are several in one value' }
      : bad('it is not a URL-encoded PEM certificate')
  }
  const der = decodeBase64(base64)
  if (der === undefined) return bad('its base64 is damaged')
  try {
    const certificate = new X509Certificate(der)
    // What follows a certificate, or is not in its only right form, is not looked at by everybody in the same way.
    return certificate.raw.equals(der) ? certificate : bad('it is not in DER')
  } catch {
    return bad('it is not an X.509 certificate')
  }
}
