/** Where names mean something: the server itself, or an enclave in it, a tenant with keys, policies and an admin of its own. */

import type { Access } from '../auth/access.ts'
import type { EventStream } from '../telemetry/stream.ts'
import type { KeyService } from './service.ts'

export interface Realm {
  /** Of the enclave; '' for the server itself. */
  readonly enclave: string
  readonly keys: KeyService
  readonly access: Access
  /** Audit events of what is called here. */
  readonly events: EventStream
}
