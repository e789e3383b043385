/**
 * Who may do what: identities, their policies and the admin. What the config file says is fixed; what was said over the
 * API since then stands in `AccessChanges`; it outlives a reload, and nothing else (kes-dialects.md, "Rules").
 */

import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import { now, type Timestamp } from '../time.ts'
import { type AccessRecord, policyOf, textOf } from './change.ts'
import type { Policy, Question } from './policy.ts'

const MAX_PATH_IN_ANSWER = 256

export interface Assignment {
  /** Name of the policy. */
  readonly policy: string
  readonly createdAt: Timestamp
  /** Hex identity of who assigned it, the admin's for the config file; '' for nobody's. */
  readonly createdBy: string
}

export interface AccessRules {
  readonly admin: Identity | undefined
  readonly policies: readonly Policy[]
  /** Identity → name of one of the policies. */
  readonly assignments: ReadonlyMap<Identity, string>
  /** Who may forward the certificates of others, and so is nobody else, and has no policy. */
  readonly proxies?: ReadonlySet<Identity>
  /** May the admin come through a proxy? */
  readonly proxiedAdmin?: boolean
  readonly createdAt: Timestamp
}

/** Policies and assignments made over the API; undefined for those that were taken away. */
class AccessChanges {
  readonly policies = new Map<string, Policy | undefined>()
  readonly assignments = new Map<Identity, Assignment | undefined>()
}

export class Access {
  readonly admin: Identity | undefined
  readonly createdAt: Timestamp
  readonly #proxies: ReadonlySet<Identity>
  readonly #policies: ReadonlyMap<string, Policy>
  readonly #proxiedAdmin: boolean
  readonly #assigned: ReadonlyMap<Identity, Assignment>
  #changes = new AccessChanges()

  /** @param previous under an earlier configuration: what was changed there survives, unless this one speaks of it. */
  constructor(rules: AccessRules, previous?: Access) {
    const { admin, policies, assignments, createdAt } = rules
    this.admin = admin
    this.createdAt = createdAt
    this.#proxies = rules.proxies ?? new Set()
    this.#proxiedAdmin = rules.proxiedAdmin ?? false
    this.#policies = new Map(policies.map((policy) => [policy.name, policy]))
    const assigned = new Map<Identity, Assignment>()
    for (const [identity, policy] of assignments) {
      if (!this.#policies.has(policy))
        throw new Error('bug: an identity of a policy that does not exist')
      assigned.set(identity, { policy, createdAt, createdBy: admin ?? '' })
    }
    this.#assigned = assigned
    if (previous !== undefined) this.#take(previous.#changes)
  }

  /** Requests that began here and go on under the next configuration change that one. */
  followedBy(next: Access): void {
    this.#changes = next.#changes
  }

  /** What another process needs to know to decide as this one does. */
  get record(): AccessRecord {
    const { policies, assignments } = this.#changes
    const texts = [...policies].map(([name, made]) => [name, made && textOf(made)] as const)
    return { policies: texts, assignments: [...assignments] }
  }

  /** From now on it is decided as where the record was made, under the same configuration. */
  restore({ policies, assignments }: AccessRecord): void {
    for (const [name, text] of policies) this.#changes.policies.set(name, text && policyOf(text))
    for (const [identity, assignment] of assignments)
      this.#changes.assignments.set(identity, assignment)
  }

  /** Every identity that means anything here, the admin's too. */
  get identities(): string[] {
    return [...(this.admin === undefined ? [] : [this.admin]), ...this.assignments.keys()]
  }

  /** All that are in force. */
  get assignments(): ReadonlyMap<Identity, Assignment> {
    return merged(this.#assigned, this.#changes.assignments)
  }

  get policyNames(): string[] {
    return [...merged(this.#policies, this.#changes.policies).keys()]
  }

  policy(name: string): Policy | undefined {
    const { policies } = this.#changes
    return policies.has(name) ? policies.get(name) : this.#policies.get(name)
  }

  assignment(identity: Identity): Assignment | undefined {
    const { assignments } = this.#changes
    return assignments.has(identity) ? assignments.get(identity) : this.#assigned.get(identity)
  }

  policyOf(identity: Identity): Policy | undefined {
    const assignment = this.assignment(identity)
    return assignment && this.policy(assignment.policy)
  }

  isProxy(identity: Identity): boolean {
    return this.#proxies.has(identity)
  }

  /**
   * Returns when somebody whom a TLS proxy speaks for may come that way: not the admin, unless the config says so,
   * and no proxy, whose certificate another one forwards.
   *
   * @throws KesError NOT_ALLOWED
   */
  checkForwarded(identity: Identity, path: string): void {
    if (this.isProxy(identity)) this.#refuse(identity, path, () => 'a TLS proxy is no caller')
    if (identity !== this.admin || this.#proxiedAdmin) return
    const advice = 'connect directly, or set tls.proxy.admin: true'
    this.#refuse(identity, path, () => `the admin may not come through a TLS proxy; ${advice}`)
  }

  /**
   * Returns when the identity may call what is asked.
   *
   * @throws KesError NOT_ALLOWED, with a hint that says what is missing. Nothing in it depends on whether
   *   a key exists.
   */
  check(identity: Identity, question: Question): void {
    if (identity === this.admin) return
    const policy = this.policyOf(identity)
    const verdict = policy?.judge(question)
    if (verdict?.allowed === true) return
    this.#refuse(identity, question.path, (api) => hint(policy, verdict?.rule, api))
  }

  /** @throws KesError NOT_ALLOWED for everybody but the admin */
  checkAdmin(identity: Identity, path: string): void {
    if (identity !== this.admin) this.#refuse(identity, path, () => 'only the admin may do this')
  }

  /** For a request that turns out to mean more than its path says. @throws KesError NOT_ALLOWED when that is denied */
  checkDenials(identity: Identity, path: string): void {
    if (identity === this.admin) return
    const policy = this.policyOf(identity)
    const rule = policy?.judge({ path }).rule
    if (rule !== undefined) this.#refuse(identity, path, (api) => hint(policy, rule, api))
  }

  /**
   * Creates or replaces a policy, for everybody who has it, from the next request on.
   *
   * @param by who writes it; '' for nobody. @throws KesError NOT_ALLOWED for one's own policy
   */
  write(policy: Policy, by: Identity): void {
    this.#refuseOwn(policy.name, by)
    this.#changes.policies.set(policy.name, policy)
  }

  /** Its identities lose every right. @throws KesError POLICY_NOT_FOUND, NOT_ALLOWED for one's own policy */
  deletePolicy(name: string, by: Identity): void {
    this.#refuseOwn(name, by)
    this.#existing(name)
    for (const [identity, assignment] of this.assignments) {
      if (assignment.policy === name) this.#changes.assignments.set(identity, undefined)
    }
    this.#changes.policies.set(name, undefined)
  }

  /**
   * Gives an identity a policy, instead of the one that it has.
   *
   * @throws KesError POLICY_NOT_FOUND; BAD_ASSIGNMENT for the admin's identity;
   *   NOT_ALLOWED for one's own identity
   */
  assign(identity: Identity, policy: string, by: Identity, at = now()): void {
    if (identity === this.admin) {
      throw new KesError('BAD_ASSIGNMENT', { message: 'cannot assign policy to admin' })
    }
    if (identity === by) {
      const path = `/v1/policy/assign/${policy}`
      this.#refuse(by, path, () => 'nobody can assign a policy to themselves')
    }
    this.#existing(policy)
    this.#changes.assignments.set(identity, { policy, createdAt: at, createdBy: by })
  }

  /** Takes an identity's policy away. @throws KesError IDENTITY_NOT_FOUND, BAD_ASSIGNMENT for the admin's */
  forget(identity: Identity): void {
    if (identity === this.admin) {
      throw new KesError('BAD_ASSIGNMENT', { message: 'cannot delete admin' })
    }
    if (this.assignment(identity) === undefined) throw new KesError('IDENTITY_NOT_FOUND')
    this.#changes.assignments.set(identity, undefined)
  }

  #existing(name: string): Policy {
    const policy = this.policy(name)
    if (policy === undefined) throw new KesError('POLICY_NOT_FOUND')
    return policy
  }

  #refuseOwn(name: string, by: Identity): void {
    if (by === this.admin || this.assignment(by)?.policy !== name) return
    const path = `/v1/policy/write/${name}`
    this.#refuse(
      by,
      path,
      () => 'nobody but the admin can change the policy that they have themselves',
    )
  }

  #refuse(identity: Identity, path: string, hint: (api: string) => string): never {
    throw notAllowed(identity, this.assignment(identity)?.policy ?? null, path, hint)
  }

  #take({ policies, assignments }: AccessChanges): void {
    for (const [name, policy] of policies) {
      if (policy !== undefined && !this.#policies.has(name))
        this.#changes.policies.set(name, policy)
    }
    for (const [identity, assignment] of assignments) {
      const isTaken =
        this.#assigned.has(identity) || identity === this.admin || this.#proxies.has(identity)
      if (isTaken || assignment === undefined || this.policy(assignment.policy) === undefined)
        continue
      this.#changes.assignments.set(identity, assignment)
    }
  }
}

function merged<K, V>(base: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V | undefined>): Map<K, V> {
  const all = new Map(base)
  for (const [key, value] of changes) {
    if (value === undefined) all.delete(key)
    else all.set(key, value)
  }
  return all
}

/** @param policy its name @param hint what is missing, for as much of the path as is shown */
export function notAllowed(
  identity: Identity,
  policy: string | null,
  path: string,
  hint: (api: string) => string,
): KesError {
  const api = path.slice(0, MAX_PATH_IN_ANSWER)
  return new KesError('NOT_ALLOWED', { detail: { identity, api, policy, hint: hint(api) } })
}

/** Why a path is refused, and what to add. @param rule the deny rule that matched, if one did */
export function hint(policy: Policy | undefined, rule: string | undefined, api: string): string {
  if (policy === undefined) return 'no policy is assigned to this identity'
  if (rule !== undefined) return `denied by the rule "${rule}" of policy '${policy.name}'`
  const missing = api.endsWith('/') ? `${api}*` : api
  return `policy '${policy.name}' does not allow ${api}; add "${missing}"`
}
