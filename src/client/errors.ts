/**
 * What can go wrong with a call. A server's refusal is recognised by its status and exact message, as the Go SDK
 * does it, from the table that our own server answers with (../errors.ts).
 *
 * An abort is none of these: the call rejects with the signal's reason.
 */

import { codeOf, type ErrorCode } from '../errors.ts'

export type ClientErrorCode =
  | ErrorCode
  /** Another refusal of the server's, 4xx. */
  | 'REFUSED'
  /** Another failure of the server's, 5xx. */
  | 'FAILED'
  /** An answer that no KES server gives. */
  | 'BAD_ANSWER'
  | 'CONNECTION'
  /** The client was closed. */
  | 'CLOSED'
  /** The client cannot work with the options it was given. */
  | 'BAD_OPTIONS'

interface Options {
  readonly status?: number | undefined
  readonly cause?: unknown
}

/** Every error of the client. `message` is for people; a server's refusal carries the server's own words. */
export class KesClientError extends Error {
  override readonly name: string
  readonly code: ClientErrorCode
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined
  /** `https://host:port` of the server; '' when none is to blame. */
  readonly endpoint: string

  constructor(
    code: ClientErrorCode,
    endpoint: string,
    message: string,
    { status, cause }: Options = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = code
    this.status = status
    this.endpoint = endpoint
  }
}

/** 4xx: the server understood the call and refuses it. Repeating it seldom helps. */
export class RefusedError extends KesClientError {}
export class KeyNotFoundError extends RefusedError {}
export class KeyExistsError extends RefusedError {}
export class VersionNotFoundError extends RefusedError {}
/** The key does not do this while it is disabled. */
export class KeyDisabledError extends RefusedError {}
/** The key does not do this while its deletion is pending. */
export class KeyPendingError extends RefusedError {}
/** No deletion of the key is pending that could be cancelled. */
export class KeyNotPendingError extends RefusedError {}
/** Others changed the key at the same time, again and again; nothing was done, and it may be tried once more. */
export class ConflictError extends RefusedError {}
export class PolicyNotFoundError extends RefusedError {}
export class IdentityNotFoundError extends RefusedError {}
/** The ciphertext is damaged, was made with another key, or with another context: nobody can tell which. */
export class DecryptError extends RefusedError {}
/** The server has no such API: it is older, or something else than a KES server. */
export class UnknownApiError extends RefusedError {}

/** 403. The fields beside the message are undefined where the server does not tell them, as the Go server. */
export class NotAllowedError extends RefusedError {
  /** Whom the server took us for. */
  readonly identity: string | undefined
  /** The policy that was asked; null: the identity has none. */
  readonly policy: string | null | undefined
  /** The path that was asked for. */
  readonly api: string | undefined
  /** What to change, e.g. the rule to add. */
  readonly hint: string | undefined

  constructor(endpoint: string, message: string, body: Readonly<Record<string, unknown>>) {
    super('NOT_ALLOWED', endpoint, message, { status: 403 })
    const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
    this.identity = text(body['identity'])
    this.policy = body['policy'] === null ? null : text(body['policy'])
    this.api = text(body['api'])
    this.hint = text(body['hint'])
  }
}

/** 5xx, or 429: the server, its keystore or a proxy failed or is busy. `KEYSTORE_…` codes name what the keystore could not do. */
export class ServerError extends KesClientError {
  /** When to try again, in milliseconds from the answer on; undefined when the server does not say. */
  readonly retryAfter: number | undefined

  constructor(
    code: ClientErrorCode,
    endpoint: string,
    message: string,
    options: Options & { readonly retryAfter?: number | undefined },
  ) {
    super(code, endpoint, message, options)
    this.retryAfter = options.retryAfter
  }
}

/** An answer that no KES server gives: a redirect, HTML, broken JSON, a missing field, or too much of it. */
export class AnswerError extends KesClientError {
  constructor(endpoint: string, message: string, options?: Options) {
    super('BAD_ANSWER', endpoint, `${endpoint}: ${message}; is this a KES server?`, options)
  }
}

export type ConnectionFailure =
  /** Nothing listens there. */
  | 'refused'
  /** The host name is unknown. */
  | 'dns'
  /** No way to the host. */
  | 'unreachable'
  /** No answer in time. */
  | 'timeout'
  /** The server's certificate is signed by nobody we trust. */
  | 'untrusted'
  /** The server's certificate is for other names. */
  | 'hostname'
  /** The server's certificate has expired, or is not valid yet. */
  | 'expired'
  /** The server refuses our certificate, or wants one. */
  | 'unauthenticated'
  /** TLS could not be agreed upon, or what is there speaks none. */
  | 'tls'
  /** What is there speaks neither HTTP/2 nor HTTP/1.1, or breaks their rules. */
  | 'protocol'
  /** The connection ended before the answer, or in the midst of it. */
  | 'closed'

/** There was no whole answer. The message says what failed and what to do about it. */
export class ConnectionError extends KesClientError {
  readonly reason: ConnectionFailure
  /** True: the server certainly has not acted on the request. False: nobody knows. */
  readonly isUnprocessed: boolean

  constructor(
    reason: ConnectionFailure,
    endpoint: string,
    message: string,
    { isUnprocessed, cause }: { readonly isUnprocessed: boolean; readonly cause?: unknown },
  ) {
    super('CONNECTION', endpoint, message, { cause })
    this.reason = reason
    this.isUnprocessed = isUnprocessed
  }
}

const CLASSES: Partial<Record<ErrorCode, typeof RefusedError>> = {
  KEY_NOT_FOUND: KeyNotFoundError,
  KEY_EXISTS: KeyExistsError,
  VERSION_NOT_FOUND: VersionNotFoundError,
  KEY_DISABLED: KeyDisabledError,
  KEY_PENDING: KeyPendingError,
  KEY_NOT_PENDING: KeyNotPendingError,
  CONFLICT: ConflictError,
  POLICY_NOT_FOUND: PolicyNotFoundError,
  IDENTITY_NOT_FOUND: IdentityNotFoundError,
  DECRYPT: DecryptError,
  NO_ROUTE: UnknownApiError,
  BAD_METHOD: UnknownApiError,
}

const LONGEST_MESSAGE = 1024

/**
 * The error that an answer of 4xx or 5xx stands for.
 *
 * @param body as much of it as is needed, JSON or not
 * @param retryAfter the header
 */
export function errorOfAnswer(
  endpoint: string,
  status: number,
  body: string,
  retryAfter?: string,
): KesClientError {
  const fields = jsonObject(body)
  const said = fields['message'] ?? fields['error']
  const message =
    (typeof said === 'string' ? said : body).trim().slice(0, LONGEST_MESSAGE) ||
    `HTTP status ${status}`
  const code = codeOf(status, message)
  if (status >= 500 || status === 429) {
    const wait = retryAfter === undefined ? undefined : parseRetryAfter(retryAfter)
    return new ServerError(code ?? 'FAILED', endpoint, message, { status, retryAfter: wait })
  }
  if (code === 'NOT_ALLOWED') return new NotAllowedError(endpoint, message, fields)
  const Class = (code && CLASSES[code]) ?? RefusedError
  return new Class(code ?? 'REFUSED', endpoint, message, { status })
}

function jsonObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {} // plain text: the Go server's 404, a proxy's page
  }
}

/** Seconds, or a date (RFC 9110, 10.2.3). @returns milliseconds from now */
function parseRetryAfter(value: string): number | undefined {
  if (/^\d+$/.test(value)) return Number(value) * 1000
  // Date.parse takes almost anything.
  const date = /^[A-Z][a-z]{2}, /.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}
