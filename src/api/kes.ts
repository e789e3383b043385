/** The routes of the KES API, of all generations, in their current form (kes-api.md, kes-dialects.md). */

import { ACCESS_ROUTES } from './kes/access.ts'
import { CHANGE_ROUTES } from './kes/changes.ts'
import { ENCLAVE_ROUTES } from './kes/enclaves.ts'
import { KEY_LIFE_ROUTES } from './kes/key-life.ts'
import { KEY_ROUTES } from './kes/keys.ts'
import { SYSTEM_ROUTES } from './kes/system.ts'
import type { Route } from './route.ts'

/** Sorted by path, as `/v1/api` lists them. */
export const KES_ROUTES: readonly Route[] = [
  ...SYSTEM_ROUTES,
  ...KEY_ROUTES,
  ...KEY_LIFE_ROUTES,
  ...ACCESS_ROUTES,
  ...CHANGE_ROUTES,
  ...ENCLAVE_ROUTES,
].sort((a, b) => (a.path < b.path ? -1 : 1))
