/**
 * Keys whose backend is configured, started, stopped and swapped while the server runs (rustfs-kms-admin.md, 3).
 * Whoever wants a key asks for what runs now, and keeps to that for one request.
 */

import type { KeyService } from './service.ts'

/** As the API of RustFS spells them. */
export type BackendKind = 'local' | 'vault' | 'vault-transit' | 'static' | 'keystore'

export type ManagedStatus = 'NotConfigured' | 'Configured' | 'Running' | { readonly Error: string }

/** One backend while it runs. */
export interface Running {
  readonly keys: KeyService
  readonly kind: BackendKind
  /** The keys are those of the KES API: its names, its policies. */
  readonly isSharedWithKes: boolean
  readonly defaultKeyId: string | undefined
}

export interface ManagedKeys {
  readonly status: ManagedStatus
  /** Of the configuration, whether it runs or not. */
  readonly kind: BackendKind | undefined
  /** What runs now. @param own the server's keys, of the configuration that the request began under */
  running(own: KeyService): Running | undefined
}

/** Nothing but the server's own keystore, always running. */
export class OwnKeys implements ManagedKeys {
  readonly status = 'Running'
  readonly kind = 'keystore'

  running(own: KeyService): Running {
    return { keys: own, kind: this.kind, isSharedWithKes: true, defaultKeyId: undefined }
  }
}
