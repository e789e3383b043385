/**
 * The routes of the RustFS KMS Admin API (rustfs-kms-admin.md), below `/rustfs/admin/v3` and `/minio/admin/v3`. Who calls,
 * and whether he may, is not decided here: server/rustfs.ts.
 */

import { KesError } from '../errors.ts'
import { decryptDataKey, generateDataKey } from './rustfs/data-keys.ts'
import { deleteKey } from './rustfs/delete-key.ts'
import { KEY_ROUTES } from './rustfs/keys.ts'
import { listKeys } from './rustfs/list-keys.ts'
import type { KmsRoute } from './rustfs/route.ts'
import { SERVICE_ROUTES } from './rustfs/service.ts'

const KMS_ROUTES: readonly KmsRoute[] = [
  ...SERVICE_ROUTES,
  ...KEY_ROUTES,
  listKeys,
  deleteKey,
  generateDataKey,
  decryptDataKey,
]

const PREFIX = /^\/(?:rustfs|minio)\/admin\/(v\d+)(\/.*)$/

export interface KmsMatch {
  readonly route: KmsRoute
  /** What stands behind the route's path, still encoded. */
  readonly param: string
}

const exact = new Map<string, Map<string, KmsRoute>>()
const prefixes = new Map<string, Map<string, KmsRoute>>()
for (const route of KMS_ROUTES) {
  for (const path of [route.path, ...(route.aliases ?? [])]) {
    const methods = path.endsWith('/') ? prefixes : exact
    methods.set(path, (methods.get(path) ?? new Map<string, KmsRoute>()).set(route.method, route))
  }
}

/**
 * The route of a request. Paths are compared as they are: no cleaning, no trailing slash, upper case is upper case.
 *
 * @param path still encoded @throws KesError NO_ROUTE, BAD_METHOD, UPGRADE
 */
export function findKmsRoute(method: string, path: string): KmsMatch {
  const [, version, rest = ''] = PREFIX.exec(path) ?? []
  if (version === 'v4') throw new KesError('UPGRADE')
  if (version !== 'v3') throw new KesError('NO_ROUTE')
  const behind = rest.lastIndexOf('/') + 1
  const param = exact.has(rest) ? '' : rest.slice(behind)
  const methods =
    exact.get(rest) ?? (param === '' ? undefined : prefixes.get(rest.slice(0, behind)))
  if (methods === undefined) throw new KesError('NO_ROUTE')
  const route = methods.get(method)
  if (route !== undefined) return { route, param }
  const allow = [...methods.keys()].join(', ')
  throw new KesError('BAD_METHOD', {
    message: `method not allowed; allowed: ${allow}`,
    headers: { allow },
  })
}
