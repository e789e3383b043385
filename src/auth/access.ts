/** Who may do what: identities, their policies and the admin, as one configuration says. Immutable. */

import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import type { Timestamp } from '../time.ts'
import type { Policy } from './policy.ts'

const MAX_PATH_IN_ANSWER = 256

export interface AccessRules {
  readonly admin: Identity | undefined
  readonly policies: readonly Policy[]
  /** Identity → name of one of the policies. */
  readonly assignments: ReadonlyMap<Identity, string>
  readonly createdAt: Timestamp
}

export class Access {
  readonly admin: Identity | undefined
  readonly createdAt: Timestamp
  readonly #policies: ReadonlyMap<string, Policy>
  readonly #assigned = new Map<Identity, Policy>()

  constructor({ admin, policies, assignments, createdAt }: AccessRules) {
    this.admin = admin
    this.createdAt = createdAt
    this.#policies = new Map(policies.map((policy) => [policy.name, policy]))
    for (const [identity, name] of assignments) {
      const policy = this.#policies.get(name)
      if (policy === undefined) throw new Error('bug: an identity of a policy that does not exist')
      this.#assigned.set(identity, policy)
    }
  }

  /** Every identity that means anything here, the admin's too. */
  get identities(): string[] {
    return [...(this.admin === undefined ? [] : [this.admin]), ...this.#assigned.keys()]
  }

  get policyNames(): string[] {
    return [...this.#policies.keys()]
  }

  policy(name: string): Policy | undefined {
    return this.#policies.get(name)
  }

  policyOf(identity: Identity): Policy | undefined {
    return this.#assigned.get(identity)
  }

  /**
   * Returns when the identity may call the path, decoded and without query.
   *
   * @throws KesError NOT_ALLOWED, with a hint that says what is missing. Nothing in it depends on whether
   *   a key exists.
   */
  check(identity: Identity, path: string): void {
    if (identity === this.admin) return
    const policy = this.#assigned.get(identity)
    const verdict = policy?.judge(path)
    if (verdict?.allowed === true) return
    const api = path.slice(0, MAX_PATH_IN_ANSWER)
    throw new KesError('NOT_ALLOWED', {
      detail: {
        identity,
        api,
        policy: policy?.name ?? null,
        hint: hint(policy, verdict?.rule, api),
      },
    })
  }
}

function hint(policy: Policy | undefined, rule: string | undefined, api: string): string {
  if (policy === undefined) return 'no policy is assigned to this identity'
  if (rule !== undefined) return `denied by the rule "${rule}" of policy '${policy.name}'`
  const missing = api.endsWith('/') ? `${api}*` : api
  return `policy '${policy.name}' does not allow ${api}; add "${missing}"`
}
