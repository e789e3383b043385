/** The KES API in its current form (kes-api.md). */

import { ACCESS_ROUTES } from './kes/access.ts'
import { KEY_ROUTES } from './kes/keys.ts'
import { SYSTEM_ROUTES } from './kes/system.ts'
import type { Route } from './route.ts'

/** Sorted by path, as `/v1/api` lists them. */
export const KES_ROUTES: readonly Route[] = [
  ...SYSTEM_ROUTES,
  ...KEY_ROUTES,
  ...ACCESS_ROUTES,
].sort((a, b) => (a.path < b.path ? -1 : 1))
