/**
 * Calls that change who may do what, until the server restarts (kes-dialects.md, "Routes that only old generations
 * have"). They have two spellings, of v0.18 and of v0.7; whoever is denied one is denied the other.
 */

import type { AccessChange } from '../../auth/change.ts'
import { type PolicyRules, isGlob } from '../../auth/policy.ts'
import { parseIdentity } from '../../crypto/identity.ts'
import { KesError } from '../../errors.ts'
import { checkName } from '../../names.ts'
import { now } from '../../time.ts'
import { Body } from '../body.ts'
import { type Call, EMPTY, MIB, type Reply, type Route, route } from '../route.ts'

/** `{"allow":[…],"deny":[…]}`, `{"allow":{"p":{}},"deny":{"p":{}}}`, or v0.7's `{"paths":[…]}`, which keeps the denials. */
const writePolicy = route({
  operation: 'policy:write',
  method: 'PUT',
  path: '/v1/policy/write/',
  access: 'permitted',
  administrative: true,
  maxBody: MIB,
  async handle(call) {
    const name = checkName(call.param, 'policy name')
    const { access } = call.realm
    const body = new Body(call.body, 'invalid policy request body')
    const paths = body.optionalNames('paths')
    const allow = body.optionalNames('allow')
    const deny = body.optionalNames('deny')
    if (paths !== undefined && allow !== undefined) {
      throw new KesError('BAD_BODY', {
        message: 'paths and allow mean the same: write one of them',
      })
    }
    const kept = paths === undefined ? [] : (access.policy(name)?.rules.deny ?? [])
    const rules = { allow: paths ?? allow ?? [], deny: deny ?? kept }
    const language = call.generation
    if (language !== 'current') checkGlobs(rules)
    const [at, by] = [now(), call.caller]
    const policy = { name, rules, options: { createdAt: at, createdBy: by, language } }
    return changed(call, { kind: 'write', policy, by, at })
  },
})

/** `{"identity"}` */
const assignPolicy = route({
  operation: 'policy:assign',
  method: 'PUT',
  path: '/v1/policy/assign/',
  access: 'permitted',
  administrative: true,
  twins: (policy) => [`/v1/identity/assign/${policy}`],
  maxBody: MIB,
  handle: async (call) => assign(call, call.param),
})

/** v0.7's `…/<policy>/<identity>`, and the v0.18 sample's `…/<policy>` with `{"identity"}`. */
const assignIdentity = route({
  operation: 'policy:assign',
  method: 'PUT',
  path: '/v1/identity/assign/',
  access: 'permitted',
  administrative: true,
  twins: (param) => [`/v1/policy/assign/${param.split('/', 1)[0]}`],
  maxBody: MIB,
  async handle(call) {
    const slash = call.param.indexOf('/')
    if (slash < 0) return assign(call, call.param)
    return assign(call, call.param.slice(0, slash), call.param.slice(slash + 1))
  },
})

const deletePolicy = route({
  operation: 'policy:delete',
  method: 'DELETE',
  path: '/v1/policy/delete/',
  access: 'permitted',
  administrative: true,
  async handle(call) {
    const policy = checkName(call.param, 'policy name')
    return changed(call, { kind: 'delete', policy, by: call.caller, at: now() })
  },
})

const deleteIdentity = route({
  operation: 'identity:delete',
  method: 'DELETE',
  path: '/v1/identity/delete/',
  access: 'permitted',
  administrative: true,
  twins: (identity) => [`/v1/identity/forget/${identity}`],
  handle: forget,
})

const forgetIdentity = route({
  operation: 'identity:delete',
  method: 'DELETE',
  path: '/v1/identity/forget/',
  access: 'permitted',
  administrative: true,
  twins: (identity) => [`/v1/identity/delete/${identity}`],
  handle: forget,
})

export const CHANGE_ROUTES: readonly Route[] = [
  writePolicy,
  assignPolicy,
  assignIdentity,
  deletePolicy,
  deleteIdentity,
  forgetIdentity,
]

/** @param spelled the identity, where it is not in the body */
function assign(call: Call, policy: string, spelled?: string): Promise<Reply> {
  const { access } = call.realm
  checkName(policy, 'policy name')
  const text = spelled ?? new Body(call.body).optionalString('identity') ?? ''
  const identity = parseIdentity(text)
  if (identity === undefined) {
    const message = 'the identity to assign must be 64 lower-case hex digits'
    throw new KesError('BAD_ASSIGNMENT', { message })
  }
  // A rule of v0.7 may name the identity, which v0.18 has in the body.
  access.checkDenials(call.caller, `/v1/identity/assign/${policy}/${identity}`)
  // An enclave knows none, and no proxy is somebody there.
  if (call.services.access.isProxy(identity)) {
    throw new KesError('BAD_ASSIGNMENT', { message: 'cannot assign policy to TLS proxy' })
  }
  return changed(call, { kind: 'assign', policy, identity, by: call.caller, at: now() })
}

async function forget(call: Call): Promise<Reply> {
  const identity = parseIdentity(checkName(call.param, 'identity'))
  if (identity === undefined) throw new KesError('IDENTITY_NOT_FOUND')
  return changed(call, { kind: 'forget', identity, by: call.caller, at: now() })
}

async function changed({ services, realm }: Call, change: AccessChange): Promise<Reply> {
  await services.change(realm, change)
  return EMPTY
}

/** In the older languages a malformed rule would match nothing, and a denial would be lost. */
function checkGlobs({ allow, deny }: PolicyRules): void {
  for (const [field, rules] of [
    ['allow', allow],
    ['deny', deny],
  ] as const) {
    const index = rules.findIndex((rule) => !isGlob(rule))
    if (index < 0) continue
    throw new KesError('BAD_BODY', {
      message: `invalid policy: ${field}[${index}] is no valid pattern`,
    })
  }
}
