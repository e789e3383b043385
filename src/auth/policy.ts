/**
 * A policy: which paths its identities may call (kes-api.md, "Policies"; kes-dialects.md, "Rules of policies"). Deny wins.
 *
 * The language of its rules is that of one generation of the API. `current`: a rule is exact, or a prefix if it ends in
 * `*`; every other character is literal, a `*` in the middle too. Older ones: Go's path.Match. A deny rule holds if either
 * reading matches, so that nothing is opened by reading a rule in another language than it was written in.
 */

import type { Timestamp } from '../time.ts'
import { Glob } from './glob.ts'

export type Generation = 'current' | 'v0.18' | 'v0.7'

export interface PolicyRules {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

export interface PolicyOptions {
  readonly createdAt: Timestamp
  /** Hex identity of who wrote it, the admin's for one of the config file; '' for nobody's. */
  readonly createdBy: string
  /** What its rules are written in; `current` by default. */
  readonly language?: Generation
  /** How its identities are answered; by default as the server says. */
  readonly generation?: Generation | undefined
}

/** A path that somebody wants to call. */
export interface Question {
  /** Decoded, without query. */
  readonly path: string
  /** Other spellings of the same: whoever is denied one of them is denied this. */
  readonly twins?: readonly string[] | undefined
  /**
   * It came later than the rules may have, and changes who may do what: in the language `current` only a rule that spells
   * the operation out opens it (kes-api.md, "New routes never widen old rules").
   */
  readonly administrative?: boolean | undefined
}

/** What a policy says; `rule` is the one that decided, if one did and it was asked for. */
export type Verdict = { readonly allowed: boolean; readonly rule?: string }

const ALLOWED: Verdict = { allowed: true }
const NOT_ALLOWED: Verdict = { allowed: false }

export class Policy {
  readonly name: string
  readonly rules: PolicyRules
  readonly createdAt: Timestamp
  readonly createdBy: string
  readonly language: Generation
  readonly generation: Generation | undefined
  readonly #allowed: Matcher
  readonly #spelledOut: Matcher
  readonly #denied: Matcher

  constructor(name: string, rules: PolicyRules, options: PolicyOptions) {
    const { createdAt, createdBy, language = 'current', generation } = options
    this.name = name
    this.rules = rules
    this.createdAt = createdAt
    this.createdBy = createdBy
    this.language = language
    this.generation = generation
    const isCurrent = language === 'current'
    this.#allowed = isCurrent ? prefixMatcher(rules.allow) : globMatcher(rules.allow)
    this.#spelledOut = isCurrent
      ? prefixMatcher(rules.allow.filter(spellsOut))
      : globMatcher(rules.allow)
    const globs = globMatcher(rules.deny)
    const prefixes = prefixMatcher(rules.deny)
    this.#denied = rules.deny.some(globReadsMore)
      ? (path) => prefixes(path) ?? globs(path)
      : prefixes
  }

  /** Names the rule of a denial only. */
  judge({ path, twins, administrative }: Question): Verdict {
    const rule = this.#denied(path)
    if (rule !== undefined) return { allowed: false, rule }
    for (const twin of twins ?? []) {
      const denial = this.#denied(twin)
      if (denial !== undefined) return { allowed: false, rule: denial }
    }
    const allowed = administrative === true ? this.#spelledOut : this.#allowed
    return allowed(path) === undefined ? NOT_ALLOWED : ALLOWED
  }

  /** Whether it may allow anything that begins with `prefix`, which ends in a slash. */
  reaches({ path: prefix, administrative }: Question): boolean {
    if (this.#denied(prefix) !== undefined) return false
    const isCurrent = this.language === 'current'
    return this.rules.allow.some((rule) => {
      if (isCurrent && administrative === true && !spellsOut(rule)) return false
      const start = isCurrent ? rule.replace(/\*$/, '') : (/^[^*?[\\]*/.exec(rule)?.[0] ?? '')
      return start.startsWith(prefix) || (start !== rule && prefix.startsWith(start))
    })
  }

  /** The same verdict with its rule, whatever it is: for people, not for requests. */
  explain(question: Question): Verdict {
    const verdict = this.judge(question)
    if (!verdict.allowed) return verdict
    const allowed = question.administrative === true ? this.#spelledOut : this.#allowed
    const rule = allowed(question.path)
    return rule === undefined ? verdict : { allowed: true, rule }
  }
}

/** Whether a rule is a pattern in the language of the older generations; one that is not matches nothing. */
export function isGlob(rule: string): boolean {
  return Glob.parse(rule) !== undefined
}

/**
 * Whether the languages differ about a rule, for the paths that there are: a final `*` behind `/v1/<noun>/<verb>/`
 * means the same in both.
 */
export function readsTwoWays(rule: string): boolean {
  return globReadsMore(rule) || (rule.endsWith('*') && !spellsOut(rule))
}

/** Whether path.Match finds something in a rule that the reading as a prefix does not. */
function globReadsMore(rule: string): boolean {
  return isPattern(rule.replace(/\*$/, ''))
}

function isPattern(rule: string): boolean {
  return /[*?[\\]/.test(rule)
}

/** `/v1/<noun>/<verb>/…`, or a path without a wildcard: whoever wrote this meant this operation, and not all there might be. */
function spellsOut(rule: string): boolean {
  return (
    !rule.endsWith('*') ||
    /^\/v1\/(?!kms\/key\/)(?:[^/*]+\/){2}|^\/v1\/kms\/key\/[^/*]+\//.test(rule)
  )
}

/** The first rule that matches a path. */
type Matcher = (path: string) => string | undefined

function prefixMatcher(rules: readonly string[]): Matcher {
  const exact = new Set(rules.filter((rule) => !rule.endsWith('*')))
  const prefixes = rules.filter((rule) => rule.endsWith('*')).map((rule) => rule.slice(0, -1))
  return (path) => {
    if (exact.has(path)) return path
    for (const prefix of prefixes) if (path.startsWith(prefix)) return `${prefix}*`
    return undefined
  }
}

function globMatcher(rules: readonly string[]): Matcher {
  const exact = new Set(rules.filter((rule) => !isPattern(rule)))
  const globs = rules.filter(isPattern).flatMap((rule) => {
    const glob = Glob.parse(rule)
    return glob === undefined ? [] : [{ rule, glob }]
  })
  return (path) => (exact.has(path) ? path : globs.find(({ glob }) => glob.matches(path))?.rule)
}
