/** The keystores that there are: one line each. Only their configs are loaded here; the rest is when one is opened. */

import { aws } from './aws.ts'
import { azure } from './azure.ts'
import { entrust } from './entrust.ts'
import { etcd } from './etcd.ts'
import { fortanix } from './fortanix.ts'
import { fs } from './fs.ts'
import { gcp } from './gcp.ts'
import { gemalto } from './gemalto.ts'
import type { KeyStoreKind } from './keystore.ts'
import { memory } from './memory.ts'
import { postgres } from './postgres.ts'
import { s3 } from './s3.ts'
import { vault } from './vault.ts'

export const KEY_STORES: readonly KeyStoreKind[] = [
  aws,
  azure,
  entrust,
  etcd,
  fortanix,
  fs,
  gcp,
  gemalto,
  memory,
  postgres,
  s3,
  vault,
]
