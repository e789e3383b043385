/**
 * A change of who may do what, as data: every process of a server makes it by itself, all of them in the same order, so
 * that they always agree (docs/adr/0011).
 */

import { type Topic, topic } from '../bus.ts'
import type { Identity } from '../crypto/identity.ts'
import type { Timestamp } from '../time.ts'
import type { Access, Assignment } from './access.ts'
import { Policy, type PolicyOptions, type PolicyRules } from './policy.ts'

/** A policy as data. */
export interface PolicyText {
  readonly name: string
  readonly rules: PolicyRules
  readonly options: PolicyOptions
}

export type AccessChange = {
  /** Who makes it; '' for nobody. */
  readonly by: Identity
  readonly at: Timestamp
} & (
  | { readonly kind: 'write'; readonly policy: PolicyText }
  | { readonly kind: 'delete'; readonly policy: string }
  | { readonly kind: 'assign'; readonly policy: string; readonly identity: Identity }
  | { readonly kind: 'forget'; readonly identity: Identity }
)

/** Where a change is made: in the server itself, or in an enclave with this admin and age, and in no other of its name. */
export interface RealmChange {
  /** '' for the server itself. */
  readonly enclave: string
  readonly admin: Identity | undefined
  readonly createdAt: Timestamp
  readonly change: AccessChange
}

export const ACCESS_CHANGED: Topic<RealmChange> = topic('access')

/** All that was changed since the start, and counts; undefined is what was taken away. */
export interface AccessRecord {
  readonly policies: readonly (readonly [name: string, PolicyText | undefined])[]
  readonly assignments: readonly (readonly [Identity, Assignment | undefined])[]
}

/** @throws KesError, as the methods of Access do */
export function change(access: Access, { by, at, ...what }: AccessChange): void {
  switch (what.kind) {
    case 'write':
      return access.write(policyOf(what.policy), by)
    case 'delete':
      return access.deletePolicy(what.policy, by)
    case 'assign':
      return access.assign(what.identity, what.policy, by, at)
    case 'forget':
      return access.forget(what.identity)
  }
}

export function policyOf({ name, rules, options }: PolicyText): Policy {
  return new Policy(name, rules, options)
}

export function textOf(policy: Policy): PolicyText {
  const { name, rules, createdAt, createdBy, language, generation } = policy
  return { name, rules, options: { createdAt, createdBy, language, generation } }
}
