/**
 * A token that a service gives for a login, kept good over time: refreshed before it ends, replaced when the service
 * no longer takes it. What a login is, and when it is refreshed, is the keystore's business.
 */

import { type Deadline, within } from '../deadline.ts'
import type { HttpAnswer } from './http-answer.ts'
import type { HttpRequest } from './http.ts'

export interface Token {
  readonly text: string
  /** Milliseconds; 0 = it does not end. */
  readonly ttl: number
  /** By `performance.now()`. */
  readonly issuedAt: number
}

export interface TokenSource<T extends Token> {
  login(signal: AbortSignal): Promise<T>
  /** A longer life for the old token, or another one; undefined: a new login is the better way. */
  renew?(old: T, signal: AbortSignal): Promise<T | undefined>
  /** Milliseconds from when a token is new until it is refreshed. */
  refreshIn(token: T): number
  /** Milliseconds at most that a new token rests until all nodes of a service know it; default 0. */
  readonly spread?: number
}

const LOGIN_LIMIT = 10_000
const MIN_WAIT = 500
/** What setTimeout can take. */
const MAX_WAIT = 2 ** 31 - 1
const MAX_BACKOFF = 10_000

export class TokenKeeper<T extends Token> {
  readonly #source: TokenSource<T>
  #token: T
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #replacement: Promise<boolean> | undefined
  #isClosed = false

  private constructor(source: TokenSource<T>, token: T) {
    this.#source = source
    this.#token = token
    this.#use(token)
  }

  /** Logs in. @throws what the login throws */
  static async open<T extends Token>(
    source: TokenSource<T>,
    signal: AbortSignal,
  ): Promise<TokenKeeper<T>> {
    return new TokenKeeper(source, await source.login(signal))
  }

  get token(): T {
    return this.#token
  }

  /**
   * Whether there is another token than the one that was refused, if need be by a login that everybody shares.
   *
   * @param isGood whether something else than the token is to blame
   * @throws what the login throws, or the deadline's reason
   */
  replace(
    refused: T,
    deadline: Deadline,
    isGood: (signal: AbortSignal) => Promise<boolean> = async () => false,
  ): Promise<boolean> {
    if (this.#token.text !== refused.text) return Promise.resolve(true)
    this.#replacement ??= this.#replaceNow(isGood).finally(() => {
      this.#replacement = undefined
    })
    return within(this.#replacement, deadline)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  async #replaceNow(isGood: (signal: AbortSignal) => Promise<boolean>): Promise<boolean> {
    if (await isGood(AbortSignal.timeout(LOGIN_LIMIT))) return false
    this.#use(await this.#source.login(AbortSignal.timeout(LOGIN_LIMIT)))
    return true
  }

  #use(token: T): void {
    this.#token = token
    this.#failures = 0
    const wait = token.issuedAt + this.#source.refreshIn(token) - performance.now()
    if (token.ttl === 0) clearTimeout(this.#timer)
    else this.#schedule(wait)
  }

  #schedule(wait: number, work: () => void = () => void this.#refresh()): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    const millis = Math.min(Math.max(wait, MIN_WAIT), MAX_WAIT)
    this.#timer = setTimeout(work, millis).unref()
  }

  /** In time before the token ends. Trouble is no news here: requests meet it, too. */
  async #refresh(): Promise<void> {
    const old = this.#token
    const { spread = 0 } = this.#source
    try {
      const renewed = await this.#source.renew?.(old, AbortSignal.timeout(LOGIN_LIMIT))
      const fresh = renewed ?? (await this.#source.login(AbortSignal.timeout(LOGIN_LIMIT)))
      // Meanwhile a request may have found the token refused, and have replaced it.
      if (this.#token !== old) return
      const rest = Math.min((old.issuedAt + old.ttl - performance.now()) / 2, spread)
      const isKnown = renewed !== undefined || fresh.text === old.text
      if (isKnown || rest < MIN_WAIT) this.#use(fresh)
      else this.#schedule(rest, () => this.#use(fresh))
    } catch {
      if (this.#token !== old) return
      const wait = Math.min(1000 * 2 ** this.#failures++, MAX_BACKOFF)
      this.#schedule(wait * (0.5 + Math.random() / 2))
    }
  }
}

/** For services that answer 401 to a bad token and to nothing else: one more try with a new token. */
export async function withToken<T extends Token>(
  keeper: TokenKeeper<T>,
  request: HttpRequest,
  send: (request: HttpRequest, token: string) => Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  const { token } = keeper
  const answer = await send(request, token.text)
  if (answer.status !== 401) return answer
  await keeper.replace(token, request)
  return send({ ...request, wasRepeated: answer.wasRepeated }, keeper.token.text)
}
