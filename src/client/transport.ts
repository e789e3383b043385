/** What the calls and the retries see of HTTP: one request, one answer, whatever the version. */

import type { Readable } from 'node:stream'

export interface HttpRequest {
  readonly method: string
  /** With the query, percent-encoded. */
  readonly path: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | undefined
}

export interface HttpAnswer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Readable
  /** After the body's end: whether that was the server's end of the answer, not just of the connection. */
  isWhole(): boolean
}

export interface SendOptions {
  /** Its end takes the request back, and later ends the answer's body. */
  readonly signal: AbortSignal
  /** The request has an effect and must not be sent into a connection that may be dead already. */
  readonly careful: boolean
}

/** One HTTP/2 connection, or a pool of HTTP/1.1 connections. */
export interface Connection {
  /** False: it takes no more requests. */
  readonly isUsable: boolean
  /** Called once, when the last trace of it is gone. */
  onClose: () => void
  /** @throws ConnectionError; the signal's reason */
  send(request: HttpRequest, options: SendOptions): Promise<HttpAnswer>
  /** At once, whatever runs on it; resolves when it is gone. */
  close(): Promise<void>
}

export function header(answer: HttpAnswer, name: string): string | undefined {
  const value = answer.headers[name]
  return typeof value === 'string' ? value : value?.[0]
}
