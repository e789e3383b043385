/** The routes that the server has, of all dialects. */

import { KES_ROUTES } from './kes.ts'
import type { Route } from './route.ts'

export const ROUTES: readonly Route[] = KES_ROUTES
