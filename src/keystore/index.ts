/** The keystores there are: one line per kind. Config, its documentation and its checks follow from it. */

import { aws } from './aws.ts'
import { fs } from './fs.ts'
import { gcp } from './gcp.ts'
import type { KeyStoreKind } from './keystore.ts'
import { memory } from './memory.ts'
export const KEY_STORES: readonly KeyStoreKind[] = [aws, fs, gcp, memory, postgres, s3, vault]
