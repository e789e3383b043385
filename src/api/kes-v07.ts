/** What generation v0.7 of the KES API does differently from v0.18 (kes-dialects.md, "Shapes that differ"). */

import { stringify } from '../json.ts'
import { type Differences, listKeys, matching, V018 } from './kes-v018.ts'
import { policyNamed } from './kes/access.ts'
import { json } from './route.ts'

export const V07: Differences = {
  ...V018,
  'key:list': { handle: (call) => listKeys(call, (name) => Promise.resolve({ name })) },
  'policy:list': {
    handle: (call) => json(stringify(matching(call, call.realm.access.policyNames))),
  },
  'identity:list': {
    // The root identity of its time had no place in this map, and no policy.
    handle(call) {
      const { assignments } = call.realm.access
      const identities = matching(call, [...assignments.keys()])
      const policyOf = new Map<string, string>()
      for (const [identity, { policy }] of assignments) policyOf.set(identity, policy)
      return json(
        stringify(
          Object.fromEntries(identities.map((identity) => [identity, policyOf.get(identity)])),
        ),
      )
    },
  },
  'policy:read': {
    handle(call) {
      const { allow, deny } = policyNamed(call).rules
      return json(stringify({ paths: allow, deny: deny.length > 0 ? deny : undefined }))
    },
  },
}
