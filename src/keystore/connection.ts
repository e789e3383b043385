/** The connection below one HTTP request: how far it got, and what its errors mean for the keystore. */

import type { ClientRequest } from 'node:http'
import { TLSSocket } from 'node:tls'

import { KeyStoreError } from './keystore.ts'

const CONNECT_LIMIT = 5000

/** No answer, or half of one. */
export class LostError extends Error {
  /** The service may have seen the request. */
  readonly wasSent: boolean
  /** It was sent on a connection that had been idle, and that the service had given up. */
  readonly wasStale: boolean
  readonly isTemporary: boolean

  constructor(
    message: string,
    facts: { wasSent: boolean; wasStale: boolean; isTemporary: boolean },
    cause: Error,
  ) {
    super(message, { cause })
    this.wasSent = facts.wasSent
    this.wasStale = facts.wasStale
    this.isTemporary = facts.isTemporary
  }

  toKeyStore(): KeyStoreError {
    return new KeyStoreError('unreachable', this.message, { cause: this.cause })
  }
}

/** TLS alerts of a service that does not accept our client certificate, or misses it. */
const REFUSAL = /ALERT_(?:.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)/

/** Nobody is there, or nobody has that name: waiting half a second does not help. */
const LASTING = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH'])

interface Connection {
  stop(): void
  /** @returns LostError, or KeyStoreError where the other side, or we, refuse each other */
  explain(error: Error, url: URL): Error
}

/** Limits how long it takes to connect, and knows how far it got. */
export function watchConnection(outgoing: ClientRequest, isSecure: boolean): Connection {
  let isConnected = false
  let socket: unknown
  let timer: NodeJS.Timeout | undefined
  const stop = (): void => clearTimeout(timer)
  outgoing.once('socket', (given) => {
    socket = given
    isConnected = outgoing.reusedSocket
    if (isConnected || outgoing.destroyed) return
    timer = setTimeout(() => {
      outgoing.destroy(new Error(`no connection within ${CONNECT_LIMIT} ms`))
    }, CONNECT_LIMIT)
    given.once(isSecure ? 'secureConnect' : 'connect', () => {
      isConnected = true
      stop()
    })
  })
  const explain = (error: Error, url: URL): Error => {
    const code = 'code' in error ? String(error.code) : ''
    const because = `${url.origin}: ${error.message}`
    const fail = (failure: 'denied' | 'failed', message: string): KeyStoreError =>
      new KeyStoreError(failure, message, { cause: error })
    if (socket instanceof TLSSocket && !isConnected && isVerdict(socket))
      return fail(
        'failed',
        `${url.origin}: its certificate is not trusted: ${error.message}; see tls.ca`,
      )
    if (REFUSAL.test(code))
      return fail('denied', `${because}; does it want another client certificate (tls.cert)?`)
    if (code === 'EPROTO' || code.startsWith('ERR_SSL'))
      return fail('failed', `${because}; does it speak TLS?`)
    if (code.startsWith('HPE_')) return fail('failed', `${because}; does it speak HTTP?`)
    return new LostError(
      because,
      {
        wasSent: isConnected,
        wasStale: outgoing.reusedSocket && code === 'ECONNRESET',
        isTemporary: !LASTING.has(code),
      },
      error,
    )
  }
  return { stop, explain }
}

/** The certificate of the other side was looked at, and did not pass. */
function isVerdict({ authorizationError }: TLSSocket): boolean {
  // Node's types say Error; it is the code as a string, or null.
  return Boolean(authorizationError)
}
