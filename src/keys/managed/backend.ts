/** A backend from its settings: a KeyService over a keystore of its own, once that has answered. */

import { KesError } from '../../errors.ts'
import { openAnswering } from '../../keystore/open.ts'
import type { KeyStore } from '../../keystore/keystore.ts'
import { decodeBase64 } from '../../json.ts'
import { ZERO_TIME } from '../../time.ts'
import type { CacheCounts, CacheExpiry } from '../cache.ts'
import { encodeKey } from '../codec.ts'
import type { ErrorLog } from '../../telemetry/log.ts'
import { keepsRecords } from '../probe.ts'
import { KeyService } from '../service.ts'
import { Sweep } from '../sweep.ts'
import { openLocal } from './local.ts'
import type { KmsSettings, StaticSettings } from './settings.ts'
import { StaticStore } from './static-store.ts'
import { openVaultBackend } from './vault.ts'

export interface Backend {
  readonly settings: KmsSettings
  /** Undefined: the server's own. */
  readonly keys: KeyService | undefined
  readonly counts: CacheCounts | undefined
  readonly sweep: Sweep | undefined
}

export interface Surroundings {
  /** File or directory with the CAs of Vaults; '' for the operating system's. */
  readonly ca: string
  /** Where files with secrets must lie; undefined: anywhere. */
  readonly secretFiles: string | undefined
  readonly log: Pick<ErrorLog, 'write'>
}

/** Milliseconds until what another server has changed is seen; as the config file's cache.expiry.changes. */
const CHANGES = 15_000
const MAX_TIMEOUT = 300
const MAX_TRIES = 10

/** Milliseconds that the opening of a backend may take. */
function openingLimit({ timeout }: KmsSettings): number {
  return Math.min(timeout, MAX_TIMEOUT) * 1000
}

/** @throws KeyStoreError, or a TimeoutError; nothing is left open then */
export async function openBackend(
  settings: KmsSettings,
  surroundings: Surroundings,
  stop: AbortSignal,
): Promise<Backend> {
  if (settings.backend.kind === 'keystore')
    return { settings, keys: undefined, counts: undefined, sweep: undefined }
  const limit = openingLimit(settings)
  const signal = AbortSignal.any([stop, AbortSignal.timeout(limit)])
  const store = await openAnswering((until) => openStore(settings, surroundings, until), signal)
  const counts = { hits: 0, misses: 0 }
  const hasRecords = await keepsRecords(store)
  const maxKeys = settings.cache?.maxKeys ?? 0
  const keys = new KeyService(store, expiryOf(settings), { counts, hasRecords, maxKeys })
  const { log } = surroundings
  const sweep = new Sweep({
    store,
    withKeys: async (prefix, work) => work(ofServer(prefix, keys)),
    // If the store is a server's keystore, too, its enclaves are that server's business.
    destroyEnclave: async () => false,
    hasRecords,
    log,
  })
  sweep.spare((name) => name === settings.defaultKeyId)
  return { settings, counts, keys, sweep }
}

/** Closes when the last request has left, at most `limit` ms from now; a backend of its own, that is. */
export async function retireBackend({ keys, sweep }: Backend, limit: number): Promise<void> {
  await sweep?.close()
  await keys?.retire(limit)
}

async function openStore(
  settings: KmsSettings,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<KeyStore> {
  const { backend } = settings
  if (backend.kind === 'local') return openLocal(backend, signal)
  if (backend.kind === 'static') return new StaticStore(backend.keyId, () => entryOf(backend))
  if (backend.kind === 'keystore') throw new Error('bug: the server’s keystore is open already')
  const tries = Math.min(settings.tries, MAX_TRIES)
  const limit = openingLimit(settings)
  return openVaultBackend(backend, { ...surroundings, limit, tries }, signal)
}

/** Enclaves there are none here. */
function ofServer(prefix: string, keys: KeyService): KeyService {
  if (prefix === '') return keys
  throw new KesError('KEY_NOT_FOUND')
}

function expiryOf({ cache }: KmsSettings): CacheExpiry {
  const ttl = (cache?.ttl ?? 0) * 1000
  return { any: ttl, unused: ttl, offline: 0, changes: CHANGES }
}

/** When it was made nobody knows. */
function entryOf({ secretKey }: StaticSettings): Buffer {
  const secret = decodeBase64(secretKey.reveal()) ?? Buffer.alloc(0)
  const entry = encodeKey({ cipher: 'AES256', secret, createdAt: ZERO_TIME, createdBy: '' })
  secret.fill(0)
  return entry
}
