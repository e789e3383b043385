/**
 * Whether policies let MinIO do what its releases of 2023 and later call (docs of MinIO; minio/minio#16908,
 * minio/operator#2509): without these it starts, and then fails where nobody looks for a policy.
 */

import { questionOf } from '../../api/route.ts'
import type { Policy } from '../../auth/policy.ts'
import type { Config } from '../../config/config.ts'
import { findRoute, judgeOf } from '../policy.ts'
import { type Finding, ok, warn } from './finding.ts'

interface Need {
  readonly method: 'GET' | 'PUT'
  /** `<key>` stands for names of keys. */
  readonly path: string
  /** What fails without. */
  readonly why: string
}

const DATA_KEYS: readonly Need[] = [
  { method: 'PUT', path: '/v1/key/generate/<key>', why: 'to encrypt' },
  { method: 'PUT', path: '/v1/key/decrypt/<key>', why: 'to decrypt' },
]
const OTHERS: readonly Need[] = [
  { method: 'PUT', path: '/v1/key/create/<key>', why: 'to make its key' },
  { method: 'PUT', path: '/v1/key/bulk/decrypt/<key>', why: 'to load users and policies' },
  { method: 'PUT', path: '/v1/key/hmac/<key>', why: 'in its later releases' },
  { method: 'GET', path: '/v1/key/list/*', why: 'to offer keys in its console' },
  { method: 'GET', path: '/v1/status', why: 'for mc admin info' },
  { method: 'GET', path: '/v1/metrics', why: 'for its metrics' },
]

export function* examinePolicies({
  policies,
  admin,
}: Pick<Config, 'policies' | 'admin'>): Generator<Finding> {
  const members = policies.reduce((sum, { identities }) => sum + identities.length, 0)
  if (admin === undefined && members === 0)
    yield warn(
      'policy',
      'nobody may do anything: the admin is switched off, and no policy has an identity',
      'name identities in a policy, or an admin in admin.identity',
    )
  for (const { name, allow, deny, identities, language } of policies) {
    if (identities.length === 0)
      yield warn(`policy.${name}`, 'nobody has it', 'name its identities')
    yield* examineForMinio(judgeOf(name, { allow, deny }, language))
  }
}

/** Nothing for a policy that cannot be meant for MinIO: one that does not let it encrypt and decrypt. */
export function* examineForMinio(policy: Policy): Generator<Finding> {
  const keys = keysOf(policy)
  if (DATA_KEYS.some((need) => verdictOn(policy, need, keys) !== 'allowed')) return
  const about = `policy.${policy.name}`
  const refused = OTHERS.filter((need) => verdictOn(policy, need, keys) !== 'allowed')
  if (refused.length === 0) {
    yield ok(about, `allows what MinIO calls, for keys ${keys}`)
    return
  }
  const missing = refused.filter((need) => verdictOn(policy, need, keys) === 'missing')
  const rules = missing.map(({ path }) => `"${path.replace('<key>', keys)}"`)
  const advice = [
    ...(rules.length > 0 ? [`add to allow: ${rules.join(', ')}`] : []),
    ...(missing.length < refused.length ? ['remove from deny what forbids it'] : []),
  ]
  yield warn(
    about,
    `refuses what MinIO also calls: ${refused.map(({ path, why }) => `${path.replace('<key>', keys)} (${why})`).join(', ')}`,
    `if it is for MinIO, ${advice.join('; ')}`,
  )
}

function verdictOn(
  policy: Policy,
  { method, path }: Need,
  keys: string,
): 'allowed' | 'denied' | 'missing' {
  const asked = path.replace('<key>', keys.replaceAll('*', 'x'))
  const { route, param } = findRoute(method, asked)
  const { allowed, rule } = policy.judge(questionOf(route, asked, param))
  return allowed ? 'allowed' : rule === undefined ? 'missing' : 'denied'
}

/** Which keys it may make data keys of, as its rule spells them: `minio-*`. */
function keysOf({ rules }: Policy): string {
  const path = '/v1/key/generate/'
  const rule = rules.allow.find((rule) => rule.startsWith(path) && rule.length > path.length)
  return rule === undefined ? '*' : rule.slice(path.length)
}
