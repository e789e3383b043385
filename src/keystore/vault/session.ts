/**
 * Who we are to Vault over time: a token that is renewed, or replaced by a new login, before it ends, and at once
 * when Vault no longer takes it (keystores.md 2.2).
 */

import { within } from '../../deadline.ts'
import type { HttpAnswer } from '../http.ts'
import type { VaultApi, VaultRequest } from './api.ts'
import { type Login, type Token, tokenOf } from './login.ts'

export type SessionRequest = Omit<VaultRequest, 'token' | 'namespace'>

const LOGIN_LIMIT = 10_000
/** Tokens that end sooner are replaced rather than renewed; renewals near a token's maximal age are that short. */
const SHORT = 30_000
/** Until other nodes of the cluster know a new token. */
const SPREAD_LIMIT = 30_000
const MIN_WAIT = 500
/** What setTimeout can take; the default of AppRole tokens, 80 % of 32 days, is more. */
const MAX_WAIT = 2 ** 31 - 1
const MAX_BACKOFF = 10_000
/** How long a new login is not tried again after one that did not help. */
const FUTILE = 5000

export class VaultSession {
  readonly #api: VaultApi
  readonly #login: Login
  readonly #namespace: string
  #token: Token
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #replacement: Promise<boolean> | undefined
  #futileUntil = 0
  #isClosed = false

  private constructor(api: VaultApi, login: Login, namespace: string, token: Token) {
    this.#api = api
    this.#login = login
    this.#namespace = namespace
    this.#token = token
    this.#use(token)
  }

  /** Logs in. @throws what the login throws */
  static async open(
    api: VaultApi,
    login: Login,
    namespace: string,
    signal: AbortSignal,
  ): Promise<VaultSession> {
    return new VaultSession(api, login, namespace, await login(api, signal))
  }

  /** The answer to a request with our token; a 403 that our token is to blame for never comes through. */
  async request(request: SessionRequest): Promise<HttpAnswer> {
    const token = this.#token
    const answer = await this.#send(request, token)
    // A repeated request may be refused for what its first try did: the caller has to look.
    if (answer.status !== 403 || answer.wasRepeated) return answer
    if (!(await within(this.#replace(token), request))) return answer
    const second = await this.#send(request, this.#token)
    if (second.status === 403) this.#futileUntil = performance.now() + FUTILE
    return second
  }

  /** Whether Vault is there, and able to work; says nothing about our rights. The namespace has no health. */
  health(signal: AbortSignal): Promise<HttpAnswer> {
    const codes = ['uninit', 'sealed', 'standby', 'drsecondary', 'performancestandby']
    const query = codes.map((state) => `${state}code=299`).join('&')
    return this.#api.request({
      method: 'GET',
      path: `/v1/sys/health?${query}`,
      namespace: '',
      signal,
    })
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#api.close()
  }

  #send(request: SessionRequest, token: Token): Promise<HttpAnswer> {
    return this.#api.request({ ...request, token: token.text, namespace: this.#namespace })
  }

  #use(token: Token): void {
    this.#token = token
    this.#failures = 0
    if (token.ttl === 0) clearTimeout(this.#timer)
    else this.#schedule(token.issuedAt + renewIn(token) - performance.now())
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
    try {
      const renewed = await this.#renew(old)
      const fresh = renewed ?? (await this.#newToken())
      // Meanwhile a request may have found the token refused, and have replaced it.
      if (this.#token !== old) return
      const left = old.issuedAt + old.ttl - performance.now()
      if (renewed !== undefined || left < 2 * MIN_WAIT) this.#use(fresh)
      else this.#schedule(Math.min(left / 2, SPREAD_LIMIT), () => this.#use(fresh))
    } catch {
      if (this.#token !== old) return
      const wait = Math.min(1000 * 2 ** this.#failures++, MAX_BACKOFF)
      this.#schedule(wait * (0.5 + Math.random() / 2))
    }
  }

  /** Undefined when a new login is the better way. */
  async #renew(old: Token): Promise<Token | undefined> {
    if (!old.isRenewable || old.ttl < SHORT) return undefined
    const answer = await this.#send(
      {
        method: 'PUT',
        path: '/v1/auth/token/renew-self',
        body: {},
        signal: AbortSignal.timeout(LOGIN_LIMIT),
      },
      old,
    )
    const renewed = answer.status === 200 ? tokenOf(answer) : undefined
    return renewed !== undefined && (renewed.ttl === 0 || renewed.ttl >= SHORT)
      ? renewed
      : undefined
  }

  #newToken(): Promise<Token> {
    return this.#login(this.#api, AbortSignal.timeout(LOGIN_LIMIT))
  }

  /** Whether there is another token than the one that was refused. Everybody shares one login. */
  #replace(refused: Token): Promise<boolean> {
    if (this.#token.text !== refused.text) return Promise.resolve(true)
    this.#replacement ??= this.#replaceNow(refused).finally(() => {
      this.#replacement = undefined
    })
    return this.#replacement
  }

  async #replaceNow(refused: Token): Promise<boolean> {
    if (performance.now() < this.#futileUntil || (await this.#isGood(refused))) return false
    this.#use(await this.#newToken())
    return true
  }

  /** Vault answers 403 to a bad token and to a missing right alike; only a bad one may not look at itself. */
  async #isGood(token: Token): Promise<boolean> {
    const signal = AbortSignal.timeout(LOGIN_LIMIT)
    const path = '/v1/auth/token/lookup-self'
    return (await this.#send({ method: 'GET', path, signal }, token)).status === 200
  }
}

/** Milliseconds from when a token is new until it is to be refreshed. */
function renewIn({ ttl }: Token): number {
  return ttl >= SHORT ? ttl * 0.8 : ttl / 2
}
