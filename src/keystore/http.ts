/**
 * JSON over HTTPS for keystores that are services: keep-alive, deadlines, bounded retries, and errors told apart
 * (keystores.md 0.5, 0.7). It knows no vendor: which status means what is the keystore's business.
 */

import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'

import type { ClientTlsFiles } from '../fields.ts'
import { VERSION } from '../version.ts'
import { LostError, watchConnection } from './connection.ts'
import { HttpAnswer, isTransientStatus, isWebPage } from './http-answer.ts'
import { KeyStoreError } from './keystore.ts'
import { clientTls } from './tls.ts'

const IDLE_LIMIT = 30_000
const MAX_CONNECTIONS = 64
const TRIES = 3
/** Milliseconds between two tries, on average. */
const MAX_PAUSE = 3000
const MAX_ANSWER = 2 * 1024 * 1024

export interface HttpOptions {
  /** Base URLs of one service, without a final slash; the next one is tried where one fails. */
  readonly endpoints: readonly [string, ...string[]]
  readonly tls: ClientTlsFiles
  /** Redirects to follow per request: 301, 302, 307 and 308, with the same method, headers and body. Default 0. */
  readonly redirects?: number
  /** Milliseconds that one endpoint may take to answer; default: as long as the request's signal lets. */
  readonly answerLimit?: number
  /** How often a request is sent that may be repeated; default 3. */
  readonly tries?: number
  /** Whether the same request may have another answer a moment later. Default: 429, and 5xx except 501. */
  readonly isTransient?: (answer: HttpAnswer) => boolean
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Behind the base URL: begins with a slash, and is escaped. */
  readonly path: string
  /** Lower-case names; undefined leaves a header out that is there by default (`content-type`). */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Sent as JSON. */
  readonly body?: unknown
  /**
   * Whether it may be sent again when it is unknown if the service has seen it; default: unless it is a POST. The
   * caller must expect to meet its own first try (`HttpAnswer.wasRepeated`).
   */
  readonly isRepeatable?: boolean
  /** The same was sent before, perhaps with another token, and may have reached the service; default false. */
  readonly wasRepeated?: boolean
  /** Bytes of the answer's body; default 2 MiB. */
  readonly maxAnswer?: number
  readonly signal: AbortSignal
}

/** One service. Nothing is sent before the first request; `close` ends what is under way. */
export class HttpClient {
  readonly #endpoints: readonly [string, ...string[]]
  readonly #redirects: number
  readonly #isTransient: (answer: HttpAnswer) => boolean
  readonly #answerLimit: number | undefined
  readonly #tries: number
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #closed = new AbortController()
  /** Index of the endpoint that answered last. */
  #current = 0

  /** @throws KeyStoreError when a TLS file cannot be used */
  constructor({
    endpoints,
    tls,
    redirects = 0,
    answerLimit,
    tries = TRIES,
    isTransient = isTransientStatus,
  }: HttpOptions) {
    this.#endpoints = endpoints
    this.#answerLimit = answerLimit
    this.#tries = tries
    this.#redirects = redirects
    this.#isTransient = isTransient
    const pool = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_LIMIT }
    this.#http = new HttpAgent(pool)
    this.#https = new HttpsAgent({ ...pool, secureContext: clientTls(tls) })
  }

  /**
   * The answer, whatever its status; where it is transient, that of the last try.
   *
   * @throws KeyStoreError `unreachable`, `denied` (our client certificate), `failed` (their certificate, a broken
   * answer), or the signal's reason
   */
  async request(request: HttpRequest): Promise<HttpAnswer> {
    const { signal, isRepeatable = request.method !== 'POST' } = request
    let { wasRepeated = false } = request
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted()
      if (this.#closed.signal.aborted) throw closedError()
      const isLast = attempt === this.#tries
      try {
        const answer = await this.#tryEndpoints(request, wasRepeated)
        if (isWebPage(answer)) throw answer.error('a web page; is the endpoint right?', '')
        if (isLast || !isRepeatable || !this.#isTransient(answer)) return answer
        wasRepeated = true
      } catch (error) {
        if (!(error instanceof LostError)) throw error
        if (isLast || !error.isTemporary || (error.wasSent && !isRepeatable))
          throw error.toKeyStore()
        wasRepeated ||= error.wasSent
        // The service closed an idle connection just when it was used again.
        if (error.wasStale && attempt === 1) continue
      }
      await this.#pause(attempt, signal)
    }
  }

  close(): void {
    this.#closed.abort()
    this.#http.destroy()
    this.#https.destroy()
  }

  async #pause(attempt: number, signal: AbortSignal): Promise<void> {
    // Nobody would end the wait: what has ended ends the next try.
    if (signal.aborted || this.#closed.signal.aborted) return
    const limit = Math.min(300 * 3 ** (attempt - 1), MAX_PAUSE)
    const ended = new AbortController()
    const end = (): void => ended.abort()
    signal.addEventListener('abort', end)
    this.#closed.signal.addEventListener('abort', end)
    try {
      await sleep((limit * (1 + 2 * Math.random())) / 3, undefined, { signal: ended.signal })
    } catch {
      signal.throwIfAborted()
    } finally {
      signal.removeEventListener('abort', end)
      this.#closed.signal.removeEventListener('abort', end)
    }
  }

  /** Goes through the endpoints, from the last good one on, until one can be connected to. */
  async #tryEndpoints(request: HttpRequest, wasRepeated: boolean): Promise<HttpAnswer> {
    for (let tried = 1; ; tried++) {
      const index = this.#current
      // Requests fail side by side: only the first of them moves on.
      const moveOn = (): void => {
        if (this.#current === index) this.#current = (index + 1) % this.#endpoints.length
      }
      try {
        const answer = await this.#follow(request, this.#endpoints[index] ?? '', wasRepeated)
        if (this.#isTransient(answer)) moveOn()
        return answer
      } catch (error) {
        moveOn()
        const isElsewhere = error instanceof LostError && !error.wasSent
        if (!isElsewhere || tried >= this.#endpoints.length) throw error
      }
    }
  }

  async #follow(request: HttpRequest, base: string, wasRepeated: boolean): Promise<HttpAnswer> {
    let url = new URL(`${base}${request.path}`)
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#send(request, url, wasRepeated)
      const { location } = answer.headers
      if (location === undefined || ![301, 302, 307, 308].includes(answer.status)) return answer
      if (redirects === this.#redirects || !URL.canParse(location, url.href)) {
        throw answer.error('unexpected redirect; is the endpoint right?', '')
      }
      const next = new URL(location, url)
      if (next.protocol !== 'https:' && next.protocol !== url.protocol)
        throw answer.error('redirect away from https, not followed', '')
      url = next
    }
  }

  /** One request on one connection. @throws LostError, KeyStoreError, or the signal's reason */
  #send(request: HttpRequest, url: URL, wasRepeated: boolean): Promise<HttpAnswer> {
    const { method, signal, maxAnswer = MAX_ANSWER } = request
    const isSecure = url.protocol === 'https:'
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body))
    const send = isSecure ? httpsRequest : httpRequest
    const outgoing = send(url.href, {
      method,
      agent: isSecure ? this.#https : this.#http,
      headers: headersOf(request, body),
    })
    return new Promise<HttpAnswer>((resolve, reject) => {
      const connection = watchConnection(outgoing, isSecure)
      const abort = (): void => {
        outgoing.destroy()
        // What was silent for so long may be dead, and so may its neighbours.
        this.#dropIdle()
        settle(() => reject(signal.reason as Error))
      }
      const limit = this.#answerLimit
      const timer =
        limit === undefined
          ? undefined
          : setTimeout(() => outgoing.destroy(new Error(`no answer within ${limit} ms`)), limit)
      const settle = (outcome: () => void): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        connection.stop()
        outcome()
      }
      const lose = (error: Error): void =>
        settle(() =>
          reject(this.#closed.signal.aborted ? closedError() : connection.explain(error, url)),
        )
      signal.addEventListener('abort', abort)
      outgoing.on('error', lose)
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = []
        let size = 0
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length
          chunks.push(chunk)
          if (size <= maxAnswer) return
          outgoing.destroy()
          const text = `${url.origin}: the answer has more than ${maxAnswer} bytes`
          settle(() => reject(new KeyStoreError('failed', text)))
        })
        incoming.on('error', lose)
        incoming.on('end', () => {
          const secrets = secretsOf(request)
          const facts = { wasRepeated, secrets }
          settle(() => resolve(new HttpAnswer(incoming, Buffer.concat(chunks), url.origin, facts)))
        })
      })
      outgoing.end(body)
    })
  }

  #dropIdle(): void {
    for (const { freeSockets } of [this.#http, this.#https])
      for (const sockets of Object.values(freeSockets))
        for (const socket of sockets ?? []) socket.destroy()
  }
}

function closedError(): KeyStoreError {
  return new KeyStoreError('unreachable', 'the keystore is closed')
}

function headersOf(
  { headers = {} }: HttpRequest,
  body: Buffer | undefined,
): Record<string, string | number> {
  const all = {
    'user-agent': `openkes/${VERSION}`,
    'content-type': body === undefined ? undefined : 'application/json',
    'content-length': body?.length,
    ...headers,
  }
  return Object.fromEntries(
    Object.entries(all).filter(
      (entry): entry is [string, string | number] => entry[1] !== undefined,
    ),
  )
}

/** What must not come back in a message: long texts of the body, and the credentials among the headers. */
function secretsOf({ headers = {}, body }: HttpRequest): string[] {
  const texts = Object.values(headers).flatMap((value) => value?.split(' ') ?? [])
  const collect = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value)
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(collect)
  }
  collect(body)
  return texts.filter((text) => text.length >= 8).sort((a, b) => b.length - a.length)
}
