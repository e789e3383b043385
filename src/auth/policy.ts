/**
 * A policy: which paths its identities may call (kes-api.md, "Policies"). A rule is exact, or a prefix
 * if it ends in `*`; every other character is literal, a `*` in the middle too. Deny wins.
 */

import type { Timestamp } from '../time.ts'

export interface PolicyRules {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

/** What a policy says of a path; `rule` is the deny rule that matched. */
export type Verdict = { readonly allowed: boolean; readonly rule?: string }

const ALLOWED: Verdict = { allowed: true }
const NOT_ALLOWED: Verdict = { allowed: false }

export class Policy {
  readonly name: string
  readonly rules: PolicyRules
  readonly createdAt: Timestamp
  /** Hex identity of the admin, or ''. */
  readonly createdBy: string
  readonly #allowed: Matcher
  readonly #denied: Matcher

  constructor(name: string, rules: PolicyRules, createdAt: Timestamp, createdBy: string) {
    this.name = name
    this.rules = rules
    this.createdAt = createdAt
    this.createdBy = createdBy
    this.#allowed = matcher(rules.allow)
    this.#denied = matcher(rules.deny)
  }

  /** @param path decoded, without query. */
  judge(path: string): Verdict {
    const rule = this.#denied(path)
    if (rule !== undefined) return { allowed: false, rule }
    return this.#allowed(path) === undefined ? NOT_ALLOWED : ALLOWED
  }
}

/** The first rule that matches a path. */
type Matcher = (path: string) => string | undefined

function matcher(rules: readonly string[]): Matcher {
  const exact = new Set(rules.filter((rule) => !rule.endsWith('*')))
  const prefixes = rules.filter((rule) => rule.endsWith('*')).map((rule) => rule.slice(0, -1))
  return (path) => {
    if (exact.has(path)) return path
    for (const prefix of prefixes) if (path.startsWith(prefix)) return `${prefix}*`
    return undefined
  }
}
