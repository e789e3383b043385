/** What Node's and OpenSSL's error codes mean to the person who sees them, and what to do about it. */

import { ConnectionError, type ConnectionFailure } from './errors.ts'
import type { Address } from './options.ts'

/** How far a request had come when its connection failed. */
export type Phase =
  /** TCP and TLS: nothing of the request was sent. */
  | 'connecting'
  /** TLS stands, but the server has not spoken yet; nothing of the request was sent. */
  | 'greeting'
  /** The server is there, and nothing of the request was sent or read. */
  | 'unsent'
  /** The request was sent, all or a part of it, on a connection that has not had an answer yet … */
  | 'first'
  /** … or that has. */
  | 'sent'

/** @param thrown undefined: the connection just ended */
export function connectionError(thrown: unknown, address: Address, phase: Phase): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const code = codeOf(thrown)
  const reason = reasonOf(code, thrown, phase)
  const said = thrown instanceof Error && thrown.message !== '' ? thrown.message : code
  return new ConnectionError(reason, address.url, message(reason, phase, address, said), {
    // In TLS 1.3 the verdict on our certificate comes when we may have begun to send, but then nothing is read.
    isUnprocessed: !mayBeRead(phase) || CERTIFICATE_ALERT.test(code),
    cause: thrown,
  })
}

export function timeoutError(
  address: Address,
  millis: number,
  what: 'connect' | 'answer' | 'ping',
  phase: Phase = what === 'connect' ? 'connecting' : 'sent',
): ConnectionError {
  const { url } = address
  const text = {
    connect: `${url}: no connection within ${millis} ms: is the host up, and does a firewall stand between?`,
    answer: `${url}: no answer within ${millis} ms`,
    ping: `${url}: the connection is dead: no sign of life within ${millis} ms`,
  }[what]
  return new ConnectionError('timeout', url, text, { isUnprocessed: !mayBeRead(phase) })
}

function mayBeRead(phase: Phase): boolean {
  return phase === 'sent' || phase === 'first'
}

const REASONS: Readonly<Record<string, ConnectionFailure>> = {
  ECONNREFUSED: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EAI_FAIL: 'dns',
  EHOSTUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENETDOWN: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ETIMEDOUT: 'timeout',
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'hostname',
  HOSTNAME_MISMATCH: 'hostname',
  ECONNRESET: 'closed',
  EPIPE: 'closed',
}

const CERTIFICATE_ALERT =
  /ALERT_((NO_|BAD_|UNSUPPORTED_)?CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)/

function reasonOf(code: string, thrown: unknown, phase: Phase): ConnectionFailure {
  const known = REASONS[code]
  const isFirst = phase === 'greeting' || phase === 'first'
  // How our server, and not only ours, treats a client whose certificate it does not like, or who has none.
  if (isFirst && (known === 'closed' || thrown === undefined)) return 'unauthenticated'
  if (known !== undefined) return known
  // OpenSSL's verdicts on a certificate: X509_V_ERR_… without the prefix.
  if (
    /^(UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CERT_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH)/.test(code)
  )
    return 'untrusted'
  if (CERTIFICATE_ALERT.test(code)) return 'unauthenticated'
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO' || code.startsWith('ERR_TLS_')) return 'tls'
  if (code.startsWith('HPE_') || code === 'ERR_HTTP2_ERROR') return 'protocol'
  return phase === 'connecting' && thrown !== undefined ? 'tls' : 'closed'
}

function codeOf(thrown: unknown): string {
  const code: unknown = (thrown as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : ''
}

function message(
  reason: ConnectionFailure,
  phase: Phase,
  { url, host }: Address,
  said: string,
): string {
  const why = said === '' ? '' : ` (${said})`
  const texts: Readonly<Record<ConnectionFailure, string>> = {
    refused: 'connection refused: is the server running, and is this its port?',
    dns: `the host '${host}' is not known: check its name and the DNS`,
    unreachable: `the host cannot be reached: ${said}`,
    timeout: 'the connection timed out',
    untrusted: `the server's certificate is not trusted (${said}): pass the CA that signed it, or the certificate itself (ca), or for trying out skip its verification (insecure)`,
    hostname: `the server's certificate is not for this host: ${said}`,
    expired: `the server's certificate cannot be used now: ${said}`,
    unauthenticated: `the server closed the connection instead of accepting the client${why}: does it know this API key or client certificate, and is one given?`,
    tls: `TLS failed: ${said}`,
    protocol: `what is there speaks no proper HTTP: ${said}`,
    closed:
      phase === 'connecting'
        ? `the connection was closed during the TLS handshake${why}: is this the server's TLS port, and does it accept this client certificate?`
        : `the connection was closed before the whole answer${why}`,
  }
  return `${url}: ${texts[reason]}`
}
