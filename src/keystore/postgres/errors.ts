/** What the errors of PostgreSQL (its appendix A), of pg and of sockets mean for a keystore, and what to do about them. */

import { KeyStoreError } from '../keystore.ts'
import type { PostgresSettings } from '../postgres.ts'

/** An error that the server answered with. */
interface ServerError extends Error {
  /** SQLSTATE */
  readonly code: string
  readonly severity: string
}

function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^[0-9A-Z]{5}$/.test(error.code) &&
    'severity' in error
  )
}

/** The connection is gone, so whether the statement was executed is unknown. */
export function isLost(error: unknown): boolean {
  if (!isServerError(error)) return true
  // The severity may be in the language of the server.
  return /^(?:08|57P)/.test(error.code) || ['FATAL', 'PANIC'].includes(error.severity)
}

/** The outcome is unknown, though the connection is fine (CockroachDB). */
export function isUnclear(error: unknown): boolean {
  return isServerError(error) && error.code === '40003'
}

/** Transactions got in each other's way: the statement was not executed, and may be at the next try. */
export function isConflict(error: unknown): boolean {
  return isServerError(error) && error.code.startsWith('40')
}

/** A server that became a standby: another connection may find the new primary behind the same name. */
export function isReadOnly(error: unknown): boolean {
  return isServerError(error) && error.code === '25006'
}

/** Another server of ours made the table at the same moment: PostgreSQL has several words for it. */
export function isMadeTwice(error: unknown): boolean {
  return isServerError(error) && ['42P07', '23505', '42710', 'XX000'].includes(error.code)
}

export function isMissingTable(error: unknown): boolean {
  return isServerError(error) && error.code === '42P01'
}

export function isForbidden(error: unknown): boolean {
  return isServerError(error) && error.code === '42501'
}

/** @param right of the table that the statement needs */
export function translate(error: unknown, settings: PostgresSettings, right: string): Error {
  if (error instanceof KeyStoreError || !(error instanceof Error)) return error as Error
  const { host, port, database, user, table } = settings
  const where = host.startsWith('/') ? host : `${host}:${port}`
  const as = (failure: KeyStoreError['failure'], message: string): KeyStoreError =>
    new KeyStoreError(failure, `${where}: ${message}`, { cause: error })
  if (!isServerError(error)) return as(...explain(error, settings))
  const { code, message } = error
  if (code === '42501') {
    return as('denied', `${message}: GRANT ${right} ON ${table} TO ${quoted(user)}`)
  }
  if (code === '28P01') return as('denied', `${message}; check keystore.postgres.password`)
  if (code === '28000') return as('denied', `${message}${hintForTls(message)}`)
  if (code.startsWith('28')) return as('denied', message)
  if (code === '42P01') return as('failed', `the table ${table} is gone: ${message}`)
  if (code === '3D000') return as('failed', `${message}: CREATE DATABASE ${quoted(database)}`)
  if (code === '25006') return as('failed', `${message}; is it a standby?`)
  if (code === '57014') return as('unreachable', 'the statement took too long and was cancelled')
  // 08: connections, 53300: too many of them, 57P: shutting down or starting, 40: conflicts that do not end.
  if (/^(?:08|53300|57P|40)/.test(code)) return as('unreachable', message)
  return as('failed', `${message} (${code})`)
}

function hintForTls(message: string): string {
  if (message.includes('no encryption')) return '; does it want TLS? See keystore.postgres.tls.mode'
  if (message.includes('certificate')) return '; see keystore.postgres.tls.cert and tls.key'
  return ''
}

/** Trouble below PostgreSQL's protocol: sockets, TLS, authentication. */
function explain(
  error: Error,
  { tls, user }: PostgresSettings,
): [KeyStoreError['failure'], string] {
  const { code = '' } = error as NodeJS.ErrnoException
  const { message } = error
  if (message.includes('does not support SSL')) {
    return [
      'failed',
      'the server does not offer TLS: switch it on there, or set keystore.postgres.tls.mode to disable if the network is trusted',
    ]
  }
  if (message.startsWith('SASL')) {
    return message.includes('client password')
      ? ['denied', `a password is needed for the user "${user}": set keystore.postgres.password`]
      : ['denied', message]
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) {
    // OpenSSL's message is all about its own source; the reason is in it.
    const { reason = message } = error as Error & { readonly reason?: string }
    return code.includes('ALERT')
      ? ['denied', `TLS: ${reason}; does it want another client certificate (tls.cert)?`]
      : ['failed', `TLS: ${reason}`]
  }
  if (/CERT|ISSUER|SIGNATURE|ALTNAME/.test(code)) {
    const hint = tls.ca === '' ? '; set keystore.postgres.tls.ca' : '; see keystore.postgres.tls'
    return ['failed', `its certificate is not trusted: ${message}${hint}`]
  }
  return ['unreachable', `no connection: ${message || code}`]
}

/** As SQL writes a name. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
