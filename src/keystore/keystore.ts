/**
 * What a keystore is: bytes by name. It knows nothing of keys, versions, policies or cryptography.
 * To write one: docs/keystores.md.
 */

import type * as v from 'valibot'

import type { Listing, Page } from '../names.ts'

/**
 * Values are printable ASCII. Names are those of keys, and entries of the server's own that begin with `-`.
 * A store that can give up when `signal` aborts does so, with the signal's reason; the key service does not wait
 * for the others.
 *
 * Errors: KesError KEY_EXISTS and KEY_NOT_FOUND where said; everything else is a KeyStoreError.
 */
export interface KeyStore {
  /** Resolves when the store can be used now. The caller measures how long that took. */
  status(signal: AbortSignal): Promise<void>
  /** Atomic: a reader sees the whole value or none. KEY_EXISTS when there is one, which stays as it is. */
  create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void>
  /** The exact bytes given to `create`, owned by the caller. Else KEY_NOT_FOUND. */
  get(name: string, signal: AbortSignal): Promise<Uint8Array>
  /** Else KEY_NOT_FOUND, in stores that can tell. */
  delete(name: string, signal: AbortSignal): Promise<void>
  /** Names from `listing.from` on that begin with `listing.prefix`, sorted by byte, at most `limit` of them. */
  list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page>
  /** Ends connections and timers. No other call follows. */
  close(): Promise<void>
}

/** `unreachable`: no answer. `denied`: it refuses us. `failed`: anything else. */
export type KeyStoreFailure = 'unreachable' | 'denied' | 'failed'

/** Trouble with the store itself. The message goes to the log, never to a client. */
export class KeyStoreError extends Error {
  override readonly name = 'KeyStoreError'
  readonly failure: KeyStoreFailure

  constructor(failure: KeyStoreFailure, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.failure = failure
  }
}

export type ConfigSchema = v.GenericSchema

export interface KeyStoreKind<S extends ConfigSchema = ConfigSchema> {
  /** Its word in the config file, below `keystore`. */
  readonly name: string
  /** What an operator calls it. */
  readonly title: string
  readonly config: S
  /** Entries are in the process that opens it, and nowhere else. */
  readonly isLocal?: true
  /** Where the keys are, for the start-up banner; without secrets. */
  describe(config: v.InferOutput<S>): string
  /** Connects. Third-party clients are imported here, so that nobody else pays for them. */
  open(config: v.InferOutput<S>, signal: AbortSignal): Promise<KeyStore>
}

/** Ties a kind's config type to its schema. */
export function defineKeyStore<S extends ConfigSchema>(kind: KeyStoreKind<S>): KeyStoreKind<S> {
  return kind
}
