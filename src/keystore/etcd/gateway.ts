/**
 * Calls of etcd's JSON gateway (its v3 API as gRPC-gateway maps it: bytes are base64, 64-bit numbers are strings), with
 * a login where there is a user.
 */

import * as v from 'valibot'

import { within } from '../../deadline.ts'
import type { EtcdConfig } from '../etcd.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { HttpClient } from '../http.ts'
import { KeyStoreError } from '../keystore.ts'

/** Of a member; where there are others, a silent one must not cost the whole deadline. */
const ANSWER_LIMIT = 3000
const LOGIN_LIMIT = 10_000

/** gRPC's code, and words, of an error. */
const errorBody = v.object({
  code: v.optional(v.number(), 0),
  message: v.optional(v.string()),
  error: v.optional(v.string()),
})
const INVALID_ARGUMENT = 3
const UNAUTHENTICATED = 16

const login = v.object({ token: v.string() })

export interface GatewayAnswer<T> {
  readonly body: T
  /** An earlier try may have been executed, too: its answer was lost. */
  readonly wasRepeated: boolean
}

/** What a call does, and what it needs, for messages. */
export type Right = 'read' | 'readwrite'

export class Gateway {
  readonly #config: EtcdConfig
  readonly #http: HttpClient
  /** Of the login that was last begun. */
  #token: Promise<string> | undefined

  /** @throws KeyStoreError when a TLS file cannot be used */
  constructor(config: EtcdConfig) {
    const { endpoints, tls } = config
    this.#config = config
    this.#http = new HttpClient({
      // The config has at least one.
      endpoints: endpoints as [string, ...string[]],
      tls,
      ...(endpoints.length > 1 && { answerLimit: ANSWER_LIMIT }),
    })
  }

  /**
   * Every call may be repeated: see `wasRepeated`.
   *
   * @param path behind `/v3/`
   * @throws KeyStoreError, or the signal's reason
   */
  async call<S extends v.GenericSchema>(
    path: string,
    body: object,
    schema: S,
    right: Right,
    signal: AbortSignal,
  ): Promise<GatewayAnswer<v.InferOutput<S>>> {
    for (let attempt = 1; ; attempt++) {
      const token = await this.#login(signal)
      const answer = await this.#post(path, body, token?.value, signal)
      if (answer.status === 200) {
        const parsed = v.safeParse(schema, answer.json())
        if (parsed.success) return { body: parsed.output, wasRepeated: answer.wasRepeated }
        throw new KeyStoreError('failed', `${answer.origin}: the answer is not etcd’s`)
      }
      const { code, reason } = explain(answer)
      if (token !== undefined && attempt === 1 && isStale(code, reason)) {
        // Others may have noticed before, and logged in.
        if (this.#token === token.login) this.#token = undefined
        continue
      }
      throw this.#error(answer, reason, right)
    }
  }

  close(): void {
    this.#http.close()
  }

  /** Undefined where there is no user. Whoever needs a new login shares it. */
  async #login(
    signal: AbortSignal,
  ): Promise<{ value: string; login: Promise<string> } | undefined> {
    if (this.#config.username === '') return undefined
    this.#token ??= this.#authenticate()
    const begun = this.#token
    try {
      return { value: await within(begun, { signal }), login: begun }
    } catch (error) {
      if (!signal.aborted && this.#token === begun) this.#token = undefined
      throw error
    }
  }

  async #authenticate(): Promise<string> {
    const { username, password } = this.#config
    const limit = AbortSignal.timeout(LOGIN_LIMIT)
    const who = { name: username, password: password.reveal() }
    let answer: HttpAnswer
    try {
      answer = await this.#post('auth/authenticate', who, undefined, limit)
    } catch (error) {
      if (!limit.aborted) throw error
      throw new KeyStoreError('unreachable', `no login within ${LOGIN_LIMIT} ms`, { cause: error })
    }
    if (answer.status === 200) return v.parse(login, answer.json()).token
    const { code, reason } = explain(answer)
    if (reason.includes('authentication is not enabled')) {
      throw new KeyStoreError(
        'failed',
        `${answer.origin}: authentication is off in etcd: switch it on, or leave username and password out`,
      )
    }
    if (code !== INVALID_ARGUMENT) throw answer.error('login', reason)
    throw new KeyStoreError(
      'denied',
      `${answer.origin}: login of the user '${username}': ${reason}; check keystore.etcd.password`,
    )
  }

  #post(
    path: string,
    body: object,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    return this.#http.request({
      method: 'POST',
      path: `/v3/${path}`,
      ...(token !== undefined && { headers: { authorization: token } }),
      body,
      isRepeatable: true,
      signal,
    })
  }

  #error(answer: HttpAnswer, reason: string, right: Right): KeyStoreError {
    const { username, prefix } = this.#config
    if (answer.status === 404 && !answer.isJson) {
      return new KeyStoreError(
        'failed',
        `${answer.origin}: there is no /v3 here: it is not etcd 3.4 or later, or its JSON gateway is off`,
      )
    }
    if (reason.includes('user name is empty')) {
      return new KeyStoreError(
        'denied',
        `${answer.origin}: etcd wants a user: set keystore.etcd.username and password`,
      )
    }
    if (reason.includes('space exceeded')) {
      // Its status is that of too many requests; but waiting does not help.
      return new KeyStoreError(
        'failed',
        `${answer.origin}: ${reason}: compact and defragment etcd, and disarm its alarm`,
      )
    }
    if (reason.includes('permission denied')) {
      return new KeyStoreError(
        'denied',
        `${answer.origin}: the user '${username}' lacks a right: etcdctl role grant-permission ROLE --prefix=true ${right} ${prefix}`,
      )
    }
    return answer.error(`etcd`, reason)
  }
}

function explain(answer: HttpAnswer): { code: number; reason: string } {
  if (!answer.isJson) return { code: 0, reason: '' }
  const parsed = v.safeParse(errorBody, answer.json())
  if (!parsed.success) return { code: 0, reason: '' }
  const { code, message, error } = parsed.output
  return { code, reason: message ?? error ?? '' }
}

/** The token has expired, or users and roles have changed since it was made. */
function isStale(code: number, reason: string): boolean {
  return (
    code === UNAUTHENTICATED ||
    reason.includes('invalid auth token') ||
    reason.includes('revision of auth store is old')
  )
}
