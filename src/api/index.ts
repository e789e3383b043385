/** The routes that the server has, with what they do in each generation of the API. */

import { V07 } from './kes-v07.ts'
import { V018 } from './kes-v018.ts'
import { KES_ROUTES } from './kes.ts'
import type { Difference, OlderGeneration, Route } from './route.ts'

/** What exists in an enclave, and nothing else (kes-dialects.md, "Enclaves"). */
const IN_ENCLAVES = /^\/v1\/(?:(?:key|policy|identity)\/|log\/audit$)/

export const ROUTES: readonly Route[] = KES_ROUTES.map((route) => {
  const older: Partial<Record<OlderGeneration, Difference>> = {}
  const [v018, v07] = [V018[route.operation], V07[route.operation]]
  if (v018 !== undefined) older['v0.18'] = v018
  if (v07 !== undefined) older['v0.7'] = v07
  const isOlder = v018 !== undefined || v07 !== undefined
  return { ...route, ...(isOlder && { older }), inEnclaves: IN_ENCLAVES.test(route.path) }
})
