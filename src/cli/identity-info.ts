/** `kes identity info`: what the server knows of an identity, by default of the caller's own. */

import type { IdentityInfo, SelfInfo } from '../client/index.ts'
import { attempt, type ConnectionOptions, withClient } from './connect.ts'
import { printFields, printJson, quoted } from './output.ts'
import { ruleSet } from './policy.ts'

export async function info(
  identity: string | undefined,
  options: ConnectionOptions,
): Promise<void> {
  const known = await withClient(
    options,
    (client): Promise<SelfInfo | (IdentityInfo & { readonly identity: string })> =>
      identity === undefined
        ? attempt('describe this identity', client.describeSelf())
        : attempt(
            `describe identity ${quoted(identity)}`,
            client.describeIdentity(identity).then((found) => ({ ...found, identity })),
          ),
  )
  const { policy, isAdmin, createdAt, createdBy } = known
  const rules = 'allow' in known ? known : undefined
  if (options.json === true) {
    return printJson({
      identity: known.identity,
      policy,
      admin: isAdmin,
      created_at: createdAt,
      created_by: createdBy,
      ...(rules !== undefined && { allow: ruleSet(rules.allow), deny: ruleSet(rules.deny) }),
    })
  }
  printFields(
    {
      Identity: known.identity,
      Policy: policy ?? (isAdmin ? 'none: the admin may do everything' : 'none'),
      Admin: isAdmin ? 'yes' : 'no',
      'Created at': createdAt,
      'Created by': createdBy,
      Allow: rules?.allow,
      Deny: rules?.deny,
    },
    options,
  )
}
