/**
 * All servers of a client: whose turn it is, who is asked when one fails, and how often.
 *
 * What may be repeated: a call without effect after any failure of connection or server; a call with one only when
 * the server certainly has not acted on it.
 */

import { ConnectionError, KesClientError, ServerError } from './errors.ts'
import type { Connector } from './connect.ts'
import { Endpoint } from './endpoint.ts'
import { timeoutError } from './failures.ts'
import type { Address, Settings } from './options.ts'
import { Scope, sleep } from './scope.ts'
import type { HttpAnswer, HttpRequest } from './transport.ts'

const FIRST_PAUSE = 100
const LONGEST_PAUSE = 2000
/** Failures that seldom pass by themselves are not repeated for long on the same server. */
const DOUBTFUL_RETRIES = 2

export interface Plan<T> {
  readonly request: HttpRequest
  /** May the server act on it twice? */
  readonly isRepeatable: boolean
  /** Makes the result of an answer; what it throws is judged as a failure of the attempt. */
  read(answer: HttpAnswer, address: Address, attempt: Scope): Promise<T>
}

export class Endpoints {
  readonly addresses: readonly Address[]
  readonly #endpoints: readonly Endpoint[]
  readonly #settings: Settings
  #connector: Promise<Connector> | undefined
  #turn: number

  constructor(addresses: readonly Address[], settings: Settings) {
    this.addresses = addresses
    this.#settings = settings
    this.#endpoints = addresses.map(
      (address) => new Endpoint(address, settings, () => this.#loadConnector()),
    )
    // Many clients with the same list shall not all begin with its first.
    this.#turn = Math.floor(Math.random() * addresses.length)
  }

  /**
   * @param timeout milliseconds for all attempts together
   * @throws KesClientError, the last attempt's; the signal's reason
   */
  async send<T>(plan: Plan<T>, timeout: number, signal: AbortSignal): Promise<T> {
    const until = performance.now() + timeout
    const history = new History(this.#endpoints, this.#settings.retries)
    for (;;) {
      signal.throwIfAborted()
      const endpoint = this.#choose(history)
      try {
        return await this.#attempt(endpoint, plan, { until, timeout }, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof KesClientError)) throw error
        const pause = history.pauseAfter(endpoint, error, plan.isRepeatable)
        if (performance.now() + pause >= until) throw history.verdict(error)
        if (pause > 0) await sleep(pause, signal)
      }
    }
  }

  /** Ends everything that runs; resolves when nothing is left. */
  async close(reason: Error): Promise<void> {
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.close(reason)))
  }

  /** Of those that were not tried in this round: the next that is well, else the one that will be the soonest. */
  #choose({ candidates }: History): Endpoint {
    const now = performance.now()
    const count = this.#endpoints.length
    const turn = this.#turn++
    let best: Endpoint | undefined
    for (let i = 0; i < count; i++) {
      const endpoint = this.#endpoints[(turn + i) % count]
      if (endpoint === undefined || !candidates.has(endpoint)) continue
      if (best === undefined || endpoint.downUntil < best.downUntil) best = endpoint
    }
    if (best === undefined) throw new Error('bug: nobody left to ask')
    for (const endpoint of this.#endpoints) {
      const { downUntil } = endpoint
      if (endpoint !== best && downUntil !== 0 && downUntil <= now) endpoint.probe()
    }
    return best
  }

  async #attempt<T>(
    endpoint: Endpoint,
    plan: Plan<T>,
    { until, timeout }: { readonly until: number; readonly timeout: number },
    signal: AbortSignal,
  ): Promise<T> {
    const { attemptTimeout } = this.#settings
    const { address } = endpoint
    const left = until - performance.now()
    const isShort = plan.isRepeatable && this.#endpoints.length > 1 && attemptTimeout < left
    const attempt = new Scope(signal)
    attempt.limit(isShort ? attemptTimeout : left, () =>
      timeoutError(address, isShort ? attemptTimeout : timeout, 'answer'),
    )
    try {
      const options = { signal: attempt.signal, careful: !plan.isRepeatable }
      const answer = await endpoint.send(plan.request, options)
      const result = await plan.read(answer, address, attempt)
      endpoint.succeeded()
      return result
    } catch (error) {
      if (error instanceof ConnectionError) endpoint.failed()
      else if (error instanceof ServerError && error.retryAfter !== undefined)
        endpoint.busy(error.retryAfter)
      throw error
    } finally {
      attempt[Symbol.dispose]()
    }
  }

  #loadConnector(): Promise<Connector> {
    this.#connector ??= import('./connect.ts').then(
      ({ Connector }) => new Connector(this.#settings),
    )
    return this.#connector
  }
}

/** What has been tried in one call. */
class History {
  /** Who may be asked next; empty only when there shall be no further attempt. */
  candidates: Set<Endpoint>
  readonly #hopeful: Set<Endpoint>
  readonly #failures = new Map<Endpoint, KesClientError>()
  readonly #retries: number
  #tries = 0
  #doubtful = 0
  #rounds = 0
  #wasClosed = false

  constructor(endpoints: readonly Endpoint[], retries: number) {
    this.candidates = new Set(endpoints)
    this.#hopeful = new Set(endpoints)
    this.#retries = retries === 0 ? 0 : Math.max(retries, endpoints.length - 1)
  }

  /** Milliseconds until the next attempt; Infinity: there shall be none. */
  pauseAfter(endpoint: Endpoint, error: KesClientError, isRepeatable: boolean): number {
    this.#failures.set(endpoint, error)
    this.candidates.delete(endpoint)
    const hope = hopeOf(error, isRepeatable)
    if (hope === 'none' || ++this.#tries > this.#retries) return Infinity
    if (hope === 'elsewhere') this.#hopeful.delete(endpoint)
    if (this.candidates.size > 0) return 0
    if (error instanceof ConnectionError && error.reason === 'closed' && !this.#wasClosed) {
      // Most likely it was just being closed, and another one is made at once.
      this.#wasClosed = true
      this.candidates = new Set(this.#hopeful)
      return 0
    }
    if (hope === 'little' && ++this.#doubtful > DOUBTFUL_RETRIES) return Infinity
    if (this.#hopeful.size === 0) return Infinity
    // Everybody was asked once more.
    this.candidates = new Set(this.#hopeful)
    const pause = Math.min(FIRST_PAUSE * 2 ** this.#rounds++, LONGEST_PAUSE)
    return Math.max(pause * (0.5 + Math.random() / 2), this.#askedFor())
  }

  /** How long at least all servers want to be left alone. */
  #askedFor(): number {
    const waits = [...this.#hopeful].map((endpoint) => {
      const error = this.#failures.get(endpoint)
      return (error instanceof ServerError && error.retryAfter) || 0
    })
    return Math.min(...waits)
  }

  /** What is told to the caller in the end. */
  verdict(last: KesClientError): KesClientError {
    const errors = [...this.#failures.values()]
    const all = errors.every((error) => error instanceof ConnectionError)
    if (errors.length < 2 || !all || !(last instanceof ConnectionError)) return last
    const message = errors.map((error) => error.message).join('; ')
    return new ConnectionError(last.reason, last.endpoint, `no server answered: ${message}`, {
      isUnprocessed: errors.every(
        (error) => error instanceof ConnectionError && error.isUnprocessed,
      ),
      cause: new AggregateError(errors),
    })
  }
}

type Hope =
  /** It may well work a moment later. */
  | 'good'
  /** It may, but seldom does. */
  | 'little'
  /** Not with this server. */
  | 'elsewhere'
  /** A repetition would be wrong, or of no use. */
  | 'none'

function hopeOf(error: KesClientError, isRepeatable: boolean): Hope {
  if (error instanceof ConnectionError) {
    if (!isRepeatable && !error.isUnprocessed) return 'none'
    switch (error.reason) {
      case 'untrusted':
      case 'hostname':
      case 'expired':
      case 'tls':
      case 'protocol':
        return 'elsewhere'
      // A server that is just stopping looks the same.
      case 'unauthenticated':
        return 'little'
      case 'refused':
      case 'dns':
      case 'unreachable':
      case 'timeout':
      case 'closed':
        return 'good'
    }
  }
  const { status } = error
  const isPassing = status === 502 || status === 503 || status === 504 || status === 429
  return isPassing && isRepeatable ? 'little' : 'none'
}
