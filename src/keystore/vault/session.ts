/**
 * Who we are to Vault over time: a token that is renewed, or replaced by a new login, before it ends, and at once
 * when Vault no longer takes it (keystores.md 2.2).
 */

import type { HttpAnswer } from '../http-answer.ts'
import { TokenKeeper, type TokenSource } from '../token.ts'
import type { VaultApi, VaultRequest } from './api.ts'
import { type Login, tokenOf, type VaultToken } from './login.ts'

export type SessionRequest = Omit<VaultRequest, 'token' | 'namespace'>

export interface SessionOptions {
  readonly login: Login
  /** Of everything but the login; '' = root. */
  readonly namespace: string
  /** Milliseconds before the end of a token from which it is refreshed at the latest; default 0. */
  readonly window?: number | undefined
}

/** Tokens that end sooner are replaced rather than renewed; renewals near a token's maximal age are that short. */
const SHORT = 30_000
/** Until other nodes of the cluster know a new token. */
const SPREAD = 30_000
/** How long a new login is not tried again after one that did not help. */
const FUTILE = 5000

export class VaultSession {
  readonly #api: VaultApi
  readonly #namespace: string
  readonly #keeper: TokenKeeper<VaultToken>
  #futileUntil = 0

  private constructor(api: VaultApi, namespace: string, keeper: TokenKeeper<VaultToken>) {
    this.#api = api
    this.#namespace = namespace
    this.#keeper = keeper
  }

  /** Logs in. @throws what the login throws */
  static async open(
    api: VaultApi,
    { login, namespace, window = 0 }: SessionOptions,
    signal: AbortSignal,
  ): Promise<VaultSession> {
    const source: TokenSource<VaultToken> = {
      login: (limit) => login(api, limit),
      renew: (old, limit) => renew(api, namespace, old, limit),
      refreshIn: ({ ttl, refreshIn = Infinity }) =>
        Math.min(refreshIn, ttl >= SHORT ? ttl * 0.8 : ttl / 2, Math.max(ttl - window, ttl / 2)),
      spread: SPREAD,
    }
    return new VaultSession(api, namespace, await TokenKeeper.open(source, signal))
  }

  /** The answer to a request with our token; a 403 that our token is to blame for never comes through. */
  async request(request: SessionRequest): Promise<HttpAnswer> {
    const { token } = this.#keeper
    const answer = await this.#send(request, token)
    if (answer.status !== 403) return answer
    const isGood = async (limit: AbortSignal): Promise<boolean> =>
      performance.now() < this.#futileUntil || (await this.#isGood(token, limit))
    if (!(await this.#keeper.replace(token, request, isGood))) return answer
    const { wasRepeated } = answer
    const second = await this.#send({ ...request, wasRepeated }, this.#keeper.token)
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
    this.#keeper.close()
    this.#api.close()
  }

  #send(request: SessionRequest, { text: token }: VaultToken): Promise<HttpAnswer> {
    return this.#api.request({ ...request, token, namespace: this.#namespace })
  }

  /** Vault answers 403 to a bad token and to a missing right alike; only a bad one may not look at itself. */
  async #isGood(token: VaultToken, signal: AbortSignal): Promise<boolean> {
    const path = '/v1/auth/token/lookup-self'
    return (await this.#send({ method: 'GET', path, signal }, token)).status === 200
  }
}

async function renew(
  api: VaultApi,
  namespace: string,
  { text: token, ttl, isRenewable, isGiven = false }: VaultToken,
  signal: AbortSignal,
): Promise<VaultToken | undefined> {
  if (!isRenewable || (ttl < SHORT && !isGiven)) return undefined
  const path = '/v1/auth/token/renew-self'
  const answer = await api.request({ method: 'PUT', path, body: {}, token, namespace, signal })
  const renewed = answer.status === 200 ? tokenOf(answer) : undefined
  if (renewed === undefined) return undefined
  const isLong = renewed.ttl === 0 || renewed.ttl >= SHORT
  return isLong || isGiven ? { ...renewed, isGiven } : undefined
}
