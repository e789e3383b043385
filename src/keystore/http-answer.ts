/** An answer of a service to http.ts, and the error that it is. What a status means for keys is the keystore's business. */

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

import { member } from '../json.ts'
import { KeyStoreError } from './keystore.ts'
import { isNoAnswer, quote } from './said.ts'

/** Any answer: a status is judged by the caller. */
export class HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** An earlier try may have reached the service, too. */
  readonly wasRepeated: boolean
  /** Scheme, host and port that answered. */
  readonly origin: string
  readonly #secrets: readonly string[]

  constructor(
    { statusCode = 0, headers }: IncomingMessage,
    body: Buffer,
    origin: string,
    { wasRepeated, secrets }: { wasRepeated: boolean; secrets: readonly string[] },
  ) {
    this.status = statusCode
    this.headers = headers
    this.body = body
    this.origin = origin
    this.wasRepeated = wasRepeated
    this.#secrets = secrets
  }

  get isJson(): boolean {
    return /^application\/json\b/i.test(this.headers['content-type'] ?? '')
  }

  /** @throws KeyStoreError `failed` when the body is no JSON, or not whole; it is never quoted. */
  json(): unknown {
    try {
      return JSON.parse(this.body.toString()) as unknown
    } catch {
      const type = this.headers['content-type'] ?? 'nothing'
      const hint = this.isJson ? '' : `, but ${type}; is the endpoint right?`
      throw new KeyStoreError('failed', `${this.origin}: the answer is not JSON${hint}`)
    }
  }

  /** What the service says in this field of its JSON, or in plain text. */
  reason(field: string): string {
    const said = this.isJson ? member(this.json(), field) : this.body.toString()
    return typeof said === 'string' ? said : ''
  }

  /**
   * The error that this answer is: 401 and 403 deny; 408, 429, 502, 503 and 504 are no answer; the rest failed.
   *
   * @param what was tried, and which right it needs
   * @param reason the service's own words; what was sent to it is cut out of them
   */
  error(what: string, reason: string): KeyStoreError {
    const failure =
      this.status === 401 || this.status === 403
        ? 'denied'
        : isNoAnswer(this.status)
          ? 'unreachable'
          : 'failed'
    const words = quote(reason, ...this.#secrets)
    const said = words === '' ? '' : `: ${words}`
    return new KeyStoreError(
      failure,
      `${this.origin}: ${what}: answered with status ${this.status}${said}`,
    )
  }
}

/** 429, and 5xx except 501. */
export function isTransientStatus({ status }: HttpAnswer): boolean {
  return status === 429 || (status >= 500 && status !== 501)
}

/** A sign-in page, or that of a proxy: whatever it is, the service has not said yes. */
export function isWebPage({ status, headers }: HttpAnswer): boolean {
  return status < 300 && /^text\/html\b/i.test(headers['content-type'] ?? '')
}
