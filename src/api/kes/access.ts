/** The KES API's calls about policies and identities. */

import type { Policy, PolicyRules } from '../../auth/policy.ts'
import { parseIdentity } from '../../crypto/identity.ts'
import { KesError } from '../../errors.ts'
import { stringify } from '../../json.ts'
import { checkName, continueAt, firstPage, PAGE, pageOf, parseListing } from '../../names.ts'
import { rfc3339 } from '../../time.ts'
import { type Call, json, type Route, route } from '../route.ts'

const describePolicy = route({
  operation: 'policy:describe',
  method: 'GET',
  path: '/v1/policy/describe/',
  access: 'permitted',
  handle(call) {
    const policy = policyNamed(call)
    return json(stringify({ name: policy.name, ...origin(policy) }))
  },
})

const readPolicy = route({
  operation: 'policy:read',
  method: 'GET',
  path: '/v1/policy/read/',
  access: 'permitted',
  handle(call) {
    const policy = policyNamed(call)
    const { name, rules, language } = policy
    // The Go server knows one language only: a policy in it is answered as there.
    const dialect = language === 'current' ? undefined : language
    return json(stringify({ name, ...ruleSets(rules), dialect, ...origin(policy) }))
  },
})

const listPolicies = route({
  operation: 'policy:list',
  method: 'GET',
  path: '/v1/policy/list/',
  aliases: ['/v1/policy/list'],
  access: 'permitted',
  judged: firstPage,
  handle(call) {
    const listing = parseListing(call.param)
    const page = pageOf(call.realm.access.policyNames, listing, PAGE)
    return json(stringify({ names: page.names, continue_at: continueAt(listing, page) }))
  },
})

const describeIdentity = route({
  operation: 'identity:describe',
  method: 'GET',
  path: '/v1/identity/describe/',
  access: 'permitted',
  handle(call) {
    const { access } = call.realm
    const identity = parseIdentity(checkName(call.param, 'identity'))
    if (identity !== undefined && identity === access.admin) {
      return json(stringify({ policy: '', admin: true, created_at: rfc3339(access.createdAt) }))
    }
    const assignment = identity && access.assignment(identity)
    if (assignment === undefined) throw new KesError('IDENTITY_NOT_FOUND')
    return json(stringify({ policy: assignment.policy, admin: false, ...origin(assignment) }))
  },
})

/** For everybody, also an identity without a policy; in the shape that the Go SDK decodes. */
const describeSelf = route({
  operation: 'identity:self-describe',
  method: 'GET',
  path: '/v1/identity/self/describe',
  access: 'anyone',
  handle(call) {
    const { fields, policy } = describeCaller(call)
    return json(
      stringify({
        identity: call.caller,
        policy: policy?.name ?? '',
        ...fields,
        ...(policy !== undefined && ruleSets(policy.rules)),
      }),
    )
  },
})

const listIdentities = route({
  operation: 'identity:list',
  method: 'GET',
  path: '/v1/identity/list/',
  aliases: ['/v1/identity/list'],
  access: 'permitted',
  judged: firstPage,
  handle(call) {
    const listing = parseListing(call.param)
    const page = pageOf(call.realm.access.identities, listing, PAGE)
    return json(stringify({ identities: page.names, continue_at: continueAt(listing, page) }))
  },
})

export const ACCESS_ROUTES: readonly Route[] = [
  describePolicy,
  readPolicy,
  listPolicies,
  describeIdentity,
  describeSelf,
  listIdentities,
]

export function policyNamed(call: Call): Policy {
  const policy = call.realm.access.policy(checkName(call.param, 'policy name'))
  if (policy === undefined) throw new KesError('POLICY_NOT_FOUND')
  return policy
}

/** What all generations say of who calls. */
export function describeCaller({ realm: { access }, caller }: Call): {
  readonly fields: object
  readonly policy: Policy | undefined
} {
  const admin = caller === access.admin
  const policy = admin ? undefined : access.policyOf(caller)
  const made = admin ? { created_at: rfc3339(access.createdAt) } : policy && origin(policy)
  return { fields: { policy_name: policy?.name ?? '', admin, ...made }, policy }
}

/** When and by whom a policy, or an assignment, was made. */
export function origin({ createdAt, createdBy }: Pick<Policy, 'createdAt' | 'createdBy'>): object {
  return { created_at: rfc3339(createdAt), created_by: createdBy || undefined }
}

/** `{"allow":{"<rule>":{}},"deny":…}`; an empty one is left out. */
function ruleSets(rules: PolicyRules): object {
  const set = (list: readonly string[]) =>
    list.length === 0 ? undefined : Object.fromEntries(list.map((rule) => [rule, {}]))
  return { allow: set(rules.allow), deny: set(rules.deny) }
}
