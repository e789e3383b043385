/**
 * From one configuration to the next. Whatever can fail is done here while the old one serves; the step that then
 * replaces it is the server's.
 */

import { isDeepStrictEqual } from 'node:util'

import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/load.ts'
import { KesError } from '../errors.ts'
import { Enclaves } from '../keys/enclaves.ts'
import type { Change } from '../keys/managed.ts'
import { KeyStoreHealth } from '../keys/health.ts'
import { keepsRecords, NO_RECORDS } from '../keys/probe.ts'
import { KeyService } from '../keys/service.ts'
import { Sweep } from '../keys/sweep.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { TlsFileError } from '../pem.ts'
import { createKeys, openKeyStore, type OpenOptions } from './keystore.ts'
import type { Lasting, State, Stores } from './state.ts'
import { loadTls, type Tls } from './tls.ts'

/** What a configuration needs, at hand: `stateOf` makes a state of it, which cannot fail. */
export interface Plan {
  readonly config: Config
  readonly stores: Stores
  readonly tls: Tls
  /** What else runs behind the RustFS KMS Admin API. */
  readonly change?: Change | undefined
}

/** With a keystore that cannot be reached. */
export type Patience = Pick<OpenOptions, 'tries' | 'limit'>

/** At the start there is nothing better to do than to wait; later, a server that works. */
export const AT_START: Patience = { tries: 5, limit: 30_000 }
export const LATER: Patience = { tries: 1, limit: 10_000 }

export interface PrepareOptions {
  readonly signal: AbortSignal
  /** With a keystore that is opened anew. */
  readonly patience?: Patience | undefined
  readonly before?: State
  /** Keys of the config are left to somebody else. */
  readonly leavesKeys?: boolean
}

/**
 * Reads certificates, opens the keystore if it is another one than before, and creates keys. When it fails nothing
 * is left open; keys that it has created stay.
 *
 * @param before what serves now; absent at the start
 * @throws TlsFileError, KeyStoreError; the signal's reason when it aborts
 */
export async function prepare(
  config: Config,
  lasting: Lasting,
  { signal, patience = LATER, before, leavesKeys = false }: PrepareOptions,
): Promise<Plan> {
  const tls = loadTls(config)
  const kept = before !== undefined && isSameKeyStore(before.config, config) ? before : undefined
  const stores =
    kept === undefined
      ? await storesOf(
          await openKeyStore(config, { ...patience, log: lasting.log, signal }),
          config,
          lasting,
        )
      : { keys: kept.keys, enclaves: kept.enclaves, sweep: kept.sweep }
  try {
    // Those that the same keystore was asked for before need no second look, which it may not be up to just now.
    const known = new Set(kept?.config.keys.map(({ name }) => name))
    const wanted = leavesKeys ? [] : config.keys.map(({ name }) => name)
    const names = wanted.filter((name) => !known.has(name))
    await createKeys(stores.keys, names, config.admin ?? '', signal)
    signal.throwIfAborted()
    return { config, stores, tls }
  } catch (error) {
    if (kept === undefined) await closeStores(stores)
    throw error
  }
}

async function storesOf(
  store: KeyStore,
  { cache }: Config,
  { metrics, log, bus, relay }: Lasting,
): Promise<Stores> {
  const hasRecords = await keepsRecords(store)
  if (!hasRecords) bus.whenFirst(() => log.write('WARN', NO_RECORDS))
  const shared = { counts: metrics.cache, health: new KeyStoreHealth(store, bus), hasRecords, bus }
  const keys = new KeyService(store, cache, shared)
  const enclaves = new Enclaves({ store, expiry: cache, relay, ...shared })
  const sweep = new Sweep({
    store,
    withKeys: (prefix, work) => (prefix === '' ? work(keys) : enclaves.withKeys(prefix, work)),
    destroyEnclave: (name, at, deadline) => enclaves.destroy(name, at, deadline),
    hasRecords,
    log,
  })
  return { keys, enclaves, sweep }
}

/** None of them is used any more. */
export async function closeStores({ keys, enclaves, sweep }: Stores): Promise<void> {
  await sweep.close()
  enclaves.close()
  await keys.close()
}

/** Whether what is cached of one is true of the other. */
export function isSameKeyStore({ keystore: a }: Config, { keystore: b }: Config): boolean {
  return a.kind === b.kind && isDeepStrictEqual(a.settings, b.settings)
}

/** The sections that differ. */
export function changedSections(before: Config, after: Config): string[] {
  const sections = Object.keys(after) as (keyof Config)[]
  return sections.filter((section) => !isDeepStrictEqual(before[section], after[section]))
}

/** What another configuration means for a door that is open, or is not: where it listens cannot be changed. */
export function withSameDoor({ rustfs: before }: Config, after: Config): Config {
  if (before === undefined) return { ...after, rustfs: undefined }
  // Without the section nobody may call it any more.
  const rustfs = after.rustfs ?? { ...before, credentials: [] }
  return { ...after, rustfs: { ...rustfs, address: before.address } }
}

/** Why a configuration is refused, for the log: a line each. */
export function reasonsOf(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.findings
  if (error instanceof KesError) {
    const { message, cause } = error
    return [cause instanceof Error ? `${message}: ${cause.message}` : message]
  }
  const isExpected = error instanceof TlsFileError || error instanceof KeyStoreError
  const { message, stack = message } = error as Error
  return [isExpected ? message : stack]
}
