/** Everything that a configuration decides, as one immutable snapshot: a request keeps the one that it began with. */

import { Router } from '../api/router.ts'
import type { Services } from '../api/route.ts'

export interface State extends Services {
  readonly router: Router
  /** Some route may be called without a certificate. */
  readonly admitsAnonymous: boolean
}

export function stateOf(services: Services): State {
  return {
    ...services,
    router: new Router(services.routes),
    admitsAnonymous: services.routes.some(({ skipAuth }) => skipAuth),
  }
}
