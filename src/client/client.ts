/**
 * Client of the KES API (kes-api.md, kes-behaviour.md, key-lifecycle.md): every call typed, over HTTP/2 or HTTP/1.1, with
 * one server or several. Speaks the current generation of the API; what else a server has is reached with `request`.
 */

import {
  AnswerFields,
  type Api,
  type AuditEvent,
  type ErrorEvent,
  type IdentityInfo,
  type NamePage,
  type Policy,
  type PolicyInfo,
  readApi,
  readAuditEvent,
  readErrorEvent,
  readIdentity,
  readPolicy,
  readStatus,
  type SelfInfo,
  type Status,
  type Version,
} from './answers.ts'
import type { CallOptions } from './caller.ts'
import { expectNothing, type PageOptions, repeatable, segment } from './base.ts'
import { AnswerError } from './errors.ts'
import { KeyClient } from './keys.ts'
import type { Log, LogOptions } from './log.ts'
import { Metrics, MetricsError } from './metrics.ts'

export interface RuleLists {
  /** Paths that may be called: exact, or a prefix if it ends in `*`. */
  readonly allow?: readonly string[] | undefined
  /** Paths that must not be called, whatever `allow` says. */
  readonly deny?: readonly string[] | undefined
}

/**
 * Every method rejects with a KesClientError, or with the reason of the signal that took the call back. Calls without
 * effect, and those whose repetition does no harm, are repeated on the same or another server when one fails;
 * create, import, rotate, restore and delete only when the server certainly has not acted on them.
 *
 * An idle connection does not keep the process alive, and is closed after a minute.
 */
export class KesClient extends KeyClient {
  async version(options?: CallOptions): Promise<Version> {
    const fields = await this.get('/version', options)
    return { version: fields.text('version'), commit: fields.optionalText('commit') ?? '' }
  }

  /** Resolves when the server can serve keys. @throws ServerError KEYSTORE_… when it cannot */
  async ready(options?: CallOptions): Promise<void> {
    expectNothing(await this.request('GET', '/v1/ready', options))
  }

  async status(options?: CallOptions): Promise<Status> {
    return readStatus(await this.get('/v1/status', options))
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

  /** @throws PolicyNotFoundError */
  async describePolicy(name: string, options?: CallOptions): Promise<PolicyInfo> {
    const fields = await this.get(`/v1/policy/describe/${segment(name)}`, options)
    return { name: fields.optionalText('name') ?? name, ...fields.origin() }
  }

  /** @throws PolicyNotFoundError */
  async readPolicy(name: string, options?: CallOptions): Promise<Policy> {
    return readPolicy(await this.get(`/v1/policy/read/${segment(name)}`, options), name)
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
    await this.change('PUT', `/v1/policy/write/${segment(name)}`, body, repeatable(options))
  }

  /**
   * Gives an identity a policy, instead of the one that it has.
   *
   * @throws PolicyNotFoundError; RefusedError for the admin's identity; NotAllowedError for one's own
   */
  async assignPolicy(name: string, identity: string, options?: CallOptions): Promise<void> {
    const path = `/v1/policy/assign/${segment(name)}`
    await this.change('PUT', path, { identity }, repeatable(options))
  }

  /** Whoever has the policy has none from then on. @throws PolicyNotFoundError */
  async deletePolicy(name: string, options?: CallOptions): Promise<void> {
    await this.change('DELETE', `/v1/policy/delete/${segment(name)}`, undefined, options)
  }

  /** Takes an identity's policy away. @throws IdentityNotFoundError; RefusedError for the admin's */
  async deleteIdentity(identity: string, options?: CallOptions): Promise<void> {
    await this.change('DELETE', `/v1/identity/delete/${segment(identity)}`, undefined, options)
  }

  /** All policy names with a prefix, page after page. */
  policies(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.names((page) => this.listPolicies(prefix, { ...options, ...page }))
  }

  async listPolicies(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.page('/v1/policy/list/', 'names', prefix, options)
  }

  /** @throws IdentityNotFoundError when it has no policy, and is not the admin */
  async describeIdentity(identity: string, options?: CallOptions): Promise<IdentityInfo> {
    return readIdentity(await this.get(`/v1/identity/describe/${segment(identity)}`, options))
  }

  /** Who the server takes us for, and what that identity may do. */
  async describeSelf(options?: CallOptions): Promise<SelfInfo> {
    const fields = await this.get('/v1/identity/self/describe', options)
    return {
      identity: fields.text('identity'),
      ...readIdentity(fields),
      allow: fields.rules('allow'),
      deny: fields.rules('deny'),
    }
  }

  /** All identities with a prefix that have a policy, and the admin, page after page. */
  identities(prefix = '', options?: CallOptions): AsyncGenerator<string, void> {
    return this.names((page) => this.listIdentities(prefix, { ...options, ...page }))
  }

  async listIdentities(prefix = '', options?: PageOptions): Promise<NamePage> {
    return this.page('/v1/identity/list/', 'identities', prefix, options)
  }

  /** Resolves when the server has answered: from then on each call that it serves is an event. */
  auditLog(options?: LogOptions): Promise<Log<AuditEvent>> {
    return this.follow('/v1/log/audit', readAuditEvent, options)
  }

  /** Resolves when the server has answered: from then on each failure is an event. */
  errorLog(options?: LogOptions): Promise<Log<ErrorEvent>> {
    return this.follow('/v1/log/error', readErrorEvent, options)
  }
}
