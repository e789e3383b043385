/**
 * Client of the KES API (kes-api.md, kes-behaviour.md): every call typed, over HTTP/2 or HTTP/1.1, with one server or
 * several. Speaks the current generation of the API; what else a server has is reached with `request`.
 */

import {
  AnswerFields,
  type Api,
  type AuditEvent,
  type DataKey,
  type ErrorEvent,
  type IdentityInfo,
  type KeyInfo,
  type NamePage,
  type Policy,
  type PolicyInfo,
  readApi,
  readAuditEvent,
  readErrorEvent,
  readIdentity,
  readPage,
  readStatus,
  type SelfInfo,
  type Status,
  type Version,
} from './answers.ts'
import { type Answer, Caller, type CallOptions, type RequestOptions } from './caller.ts'
import { AnswerError } from './errors.ts'
import type { Log, LogOptions } from './log.ts'
import { Metrics, MetricsError } from './metrics.ts'
import type { KesClientOptions } from './options.ts'

export interface ContextOptions extends CallOptions {
  /** Bytes that the ciphertext is bound to: only who names the same can open it. They are not secret. */
  readonly context?: Uint8Array | undefined
}

export interface KeyMaterial {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** Default `AES256`. */
  readonly cipher?: 'AES256' | 'ChaCha20' | undefined
  /** 32 bytes, for `hmac`; by default the server makes new ones. */
  readonly hmacKey?: Uint8Array | undefined
}

export interface RuleLists {
  /** Paths that may be called: exact, or a prefix if it ends in `*`. */
  readonly allow?: readonly string[] | undefined
  /** Paths that must not be called, whatever `allow` says. */
  readonly deny?: readonly string[] | undefined
}

export interface PageOptions extends CallOptions {
  /** Of the page before, instead of a prefix. */
  readonly continueAt?: string | undefined
}

/**
 * Every method rejects with a KesClientError, or with the reason of the signal that took the call back. Calls without
 * effect, and those whose repetition does no harm, are repeated on the same or another server when one fails;
 * create, import and delete only when the server certainly has not acted on them.
 *
 * An idle connection does not keep the process alive, and is closed after a minute.
 */
export class KesClient implements AsyncDisposable {
  readonly #caller: Caller

  /** Connects nowhere yet. @throws KesClientError BAD_OPTIONS */
  constructor(options: KesClientOptions) {
    this.#caller = new Caller(options)
  }

  /** As `https://host:port`. */
  get endpoints(): readonly string[] {
    return this.#caller.endpoints
  }

  async version(options?: CallOptions): Promise<Version> {
    const fields = await this.#get('/version', options)
    return { version: fields.text('version'), commit: fields.optionalText('commit') ?? '' }
  }

  /** Resolves when the server can serve keys. @throws ServerError KEYSTORE_… when it cannot */
  async ready(options?: CallOptions): Promise<void> {
    expectNothing(await this.request('GET', '/v1/ready', options))
  }

  async status(options?: CallOptions): Promise<Status> {
    return readStatus(await this.#get('/v1/status', options))
  }

  /** The APIs that the server has, with their limits. */
  async apis(options?: CallOptions): Promise<Api[]> {
    const answer = await this.request('GET', '/v1/api', options)
    const list = answer.json()
    if (!Array.isArray(list)) throw new AnswerError(answer.endpoint, 'the answer is no JSON array')
    return list.map((item: unknown) => readApi(new AnswerFields(answer.endpoint, item)))
  }

  /** What the server counts, with the families that only Prometheus gets. */
  async metrics(options?: CallOptions): Promise<Metrics> {
    const headers = { accept: 'text/plain;version=0.0.4' }
    const { body, endpoint } = await this.request('GET', '/v1/metrics', { ...options, headers })
    try {
      return new Metrics(body.toString())
    } catch (cause) {
      if (!(cause instanceof MetricsError)) throw cause
      throw new AnswerError(endpoint, `the metrics cannot be read: ${cause.message}`, { cause })
    }
  }

  /** @throws KeyExistsError */
  async createKey(name: string, options?: CallOptions): Promise<void> {
    await this.#change('PUT', `/v1/key/create/${segment(name)}`, undefined, options)
  }

  /** @throws KeyExistsError */
  async importKey(
    name: string,
    { key, cipher = 'AES256', hmacKey }: KeyMaterial,
    options?: CallOptions,
  ): Promise<void> {
    const body = {
      key: base64(key),
      cipher,
      ...(hmacKey !== undefined && { hmac_key: base64(hmacKey) }),
    }
    await this.#change('PUT', `/v1/key/import/${segment(name)}`, body, options)
  }

  /** @throws KeyNotFoundError */
  async describeKey(name: string, options?: CallOptions): Promise<KeyInfo> {
    const fields = await this.#get(`/v1/key/describe/${segment(name)}`, options)
    return {
      name: fields.optionalText('name') ?? name,
      algorithm: fields.optionalText('algorithm'),
      ...fields.origin(),
    }
  }

  /** For ever: whatever was encrypted under it is lost. @throws KeyNotFoundError */
  async deleteKey(name: string, options?: CallOptions): Promise<void> {
    await this.#change('DELETE', `/v1/key/delete/${segment(name)}`, undefined, options)
  }

  /** All key names with a prefix (`my-app-` or `my-app-*`), page after page. */
  keys(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.#names((page) => this.listKeys(prefix, { ...options, ...page }))
  }

  async listKeys(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.#page('/v1/key/list/', 'names', prefix, options)
  }

  /** A new data key, in the clear and sealed under the named key. @throws KeyNotFoundError */
  async generateKey(name: string, { context, ...options }: ContextOptions = {}): Promise<DataKey> {
    const body = { ...(context !== undefined && { context: base64(context) }) }
    const fields = await this.#ask(`/v1/key/generate/${segment(name)}`, body, options)
    return { plaintext: fields.bytes('plaintext'), ciphertext: fields.bytes('ciphertext') }
  }

  /** @param plaintext at most about 768 KiB: what fits into a body of 1 MiB @throws KeyNotFoundError */
  async encrypt(
    name: string,
    plaintext: Uint8Array,
    { context, ...options }: ContextOptions = {},
  ): Promise<Buffer> {
    const body = {
      plaintext: base64(plaintext),
      ...(context !== undefined && { context: base64(context) }),
    }
    const fields = await this.#ask(`/v1/key/encrypt/${segment(name)}`, body, options)
    return fields.bytes('ciphertext')
  }

  /** The plaintext is the caller's: to be wiped after use. @throws KeyNotFoundError, DecryptError */
  async decrypt(
    name: string,
    ciphertext: Uint8Array,
    { context, ...options }: ContextOptions = {},
  ): Promise<Buffer> {
    const body = {
      ciphertext: base64(ciphertext),
      ...(context !== undefined && { context: base64(context) }),
    }
    const fields = await this.#ask(`/v1/key/decrypt/${segment(name)}`, body, options)
    return fields.bytes('plaintext')
  }

  /** HMAC-SHA-256, 32 bytes. @throws KeyNotFoundError; RefusedError NO_HMAC for keys older than HMAC in KES */
  async hmac(name: string, message: Uint8Array, options?: CallOptions): Promise<Buffer> {
    const body = { message: base64(message) }
    const fields = await this.#ask(`/v1/key/hmac/${segment(name)}`, body, options)
    return fields.bytes('hmac')
  }

  /** @throws PolicyNotFoundError */
  async describePolicy(name: string, options?: CallOptions): Promise<PolicyInfo> {
    const fields = await this.#get(`/v1/policy/describe/${segment(name)}`, options)
    return { name: fields.optionalText('name') ?? name, ...fields.origin() }
  }

  /** @throws PolicyNotFoundError */
  async readPolicy(name: string, options?: CallOptions): Promise<Policy> {
    const fields = await this.#get(`/v1/policy/read/${segment(name)}`, options)
    return {
      name: fields.optionalText('name') ?? name,
      allow: fields.rules('allow'),
      deny: fields.rules('deny'),
      ...fields.origin(),
    }
  }

  /**
   * Makes a policy, or replaces its rules. The change is that server's alone, and lasts until it restarts; where
   * there are several endpoints, each is to be told by a client of its own. So it is with the next three, too.
   */
  async writePolicy(
    name: string,
    { allow = [], deny = [] }: RuleLists,
    options?: CallOptions,
  ): Promise<void> {
    const body = { allow, deny }
    await this.#change('PUT', `/v1/policy/write/${segment(name)}`, body, repeatable(options))
  }

  /**
   * Gives an identity a policy, instead of the one that it has.
   *
   * @throws PolicyNotFoundError; RefusedError for the admin's identity; NotAllowedError for one's own
   */
  async assignPolicy(name: string, identity: string, options?: CallOptions): Promise<void> {
    const path = `/v1/policy/assign/${segment(name)}`
    await this.#change('PUT', path, { identity }, repeatable(options))
  }

  /** Whoever has the policy has none from then on. @throws PolicyNotFoundError */
  async deletePolicy(name: string, options?: CallOptions): Promise<void> {
    await this.#change('DELETE', `/v1/policy/delete/${segment(name)}`, undefined, options)
  }

  /** Takes an identity's policy away. @throws IdentityNotFoundError; RefusedError for the admin's */
  async deleteIdentity(identity: string, options?: CallOptions): Promise<void> {
    await this.#change('DELETE', `/v1/identity/delete/${segment(identity)}`, undefined, options)
  }

  /** All policy names with a prefix, page after page. */
  policies(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.#names((page) => this.listPolicies(prefix, { ...options, ...page }))
  }

  async listPolicies(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.#page('/v1/policy/list/', 'names', prefix, options)
  }

  /** @throws IdentityNotFoundError when it has no policy, and is not the admin */
  async describeIdentity(identity: string, options?: CallOptions): Promise<IdentityInfo> {
    return readIdentity(await this.#get(`/v1/identity/describe/${segment(identity)}`, options))
  }

  /** Who the server takes us for, and what that identity may do. */
  async describeSelf(options?: CallOptions): Promise<SelfInfo> {
    const fields = await this.#get('/v1/identity/self/describe', options)
    return {
      identity: fields.text('identity'),
      ...readIdentity(fields),
      allow: fields.rules('allow'),
      deny: fields.rules('deny'),
    }
  }

  /** All identities with a prefix that have a policy, and the admin, page after page. */
  identities(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.#names((page) => this.listIdentities(prefix, { ...options, ...page }))
  }

  async listIdentities(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.#page('/v1/identity/list/', 'identities', prefix, options)
  }

  /** Resolves when the server has answered: from then on each call that it serves is an event. */
  auditLog(options?: LogOptions): Promise<Log<AuditEvent>> {
    return this.#caller.follow('/v1/log/audit', readAuditEvent, options)
  }

  /** Resolves when the server has answered: from then on each failure is an event. */
  errorLog(options?: LogOptions): Promise<Log<ErrorEvent>> {
    return this.#caller.follow('/v1/log/error', readErrorEvent, options)
  }

  /**
   * Any call, for those that have no method here.
   *
   * @param path percent-encoded, with the query
   * @throws KesClientError for every answer but 2xx, too
   */
  request(method: string, path: string, options?: RequestOptions): Promise<Answer> {
    return this.#caller.request(method, path, options)
  }

  /** Ends every call and log with CLOSED, and every connection; resolves when nothing is left of them. */
  close(): Promise<void> {
    return this.#caller.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #get(path: string, options?: CallOptions): Promise<AnswerFields> {
    return fieldsOf(await this.request('GET', path, options))
  }

  /** A call whose repetition does no harm. */
  async #ask(path: string, body: unknown, options: CallOptions = {}): Promise<AnswerFields> {
    return fieldsOf(await this.request('PUT', path, { ...repeatable(options), body }))
  }

  async #change(
    method: string,
    path: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<void> {
    expectNothing(await this.request(method, path, { ...options, body }))
  }

  async #page(
    path: string,
    list: string,
    prefix: string,
    { continueAt, ...options }: PageOptions = {},
  ): Promise<NamePage> {
    return readPage(await this.#get(path + segment(continueAt ?? prefix), options), list)
  }

  async *#names(list: (page: PageOptions) => Promise<NamePage>): AsyncGenerator<string, void> {
    let page = await list({})
    for (;;) {
      yield* page.names
      const { continueAt } = page
      if (continueAt === undefined) return
      page = await list({ continueAt })
    }
  }
}

/** A page for people, such as a proxy's, does not mean that anything was done. @throws AnswerError */
function expectNothing(answer: Answer): void {
  if (answer.body.length > 0) answer.json()
}

/** Done twice it is as if done once. */
function repeatable(options: CallOptions | undefined): RequestOptions {
  return { ...options, isRepeatable: true }
}

function fieldsOf(answer: Answer): AnswerFields {
  return new AnswerFields(answer.endpoint, answer.json())
}

/** A name in a path: nothing in it, neither slash nor dots, changes which path it is. */
function segment(name: string): string {
  // Half a surrogate pair has no UTF-8.
  const text = Buffer.from(name).toString()
  return encodeURIComponent(text).replaceAll('.', '%2E')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
