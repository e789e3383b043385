/**
 * The entries that a key has in a keystore: its own, and a chain of change records (docs/formats.md). Nothing is ever
 * overwritten; an entry is created, read, or deleted.
 */

import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import { isCode, KesError, unless } from '../errors.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import type { Timestamp } from '../time.ts'
import { DamagedKeyError, decodeEntry, encodeKey } from './codec.ts'
import type { KeyParts } from './key-version.ts'
import { Key, type Origin } from './key.ts'
import { encodeRecord, hashOf, lastOf } from './record.ts'
import { recordName } from './record-name.ts'
import { type Snapshot, UNCHANGED } from './snapshot.ts'

/** Records that are read at the same time. */
const AT_ONCE = 16
/** How often a record that is missing before another one is looked for again: it may have been made meanwhile. */
const GAP_TRIES = 3
/** Milliseconds. */
const WITHDRAW_LIMIT = 5000
/**
 * Milliseconds between the deletion of a key and that of its records. Whoever reads the key and finds no record sooner has
 * found what there was; who takes longer looks again whether the key is still there.
 */
const READ_TIME = 250

/** A key as it is stored. It has secrets: whoever reads it wipes it. */
export interface StoredKey extends Origin {
  readonly first: KeyParts
  readonly snapshot: Snapshot
  /** SHA-256 of the last record; undefined when there is none. */
  readonly head: Buffer | undefined
  /** When the last record was made. */
  readonly changedAt: Timestamp | undefined
}

/** All methods throw KeyStoreError for trouble with the keystore, and what they name. */
export class KeyEntries {
  readonly #store: KeyStore
  /** false: the keystore keeps none of ours, keys have version 1 and nothing else. */
  readonly hasRecords: boolean

  constructor(store: KeyStore, hasRecords: boolean) {
    this.#store = store
    this.hasRecords = hasRecords
  }

  /**
   * A key with all of its changes. It takes one call after the other for the entry and the first record, and a third one
   * where those were slow; with what was known of the key before, they are asked for at the same time.
   *
   * @throws KesError KEY_NOT_FOUND, DamagedKeyError
   */
  async read(name: string, signal: AbortSignal, known?: Origin): Promise<StoredKey> {
    const began = performance.now()
    const early = known && this.#records(name, known, signal)
    // Nobody may come to look at it.
    early?.catch(() => {})
    const entry = await this.#store.get(name, signal)
    const owner = hashOf(entry)
    const isKnown = known?.owner.equals(owner) === true
    if (!isKnown) early?.then(wipeAll, () => {})
    const first = named(`keystore entry '${name}' is damaged`, () => decodeEntry(entry))
    entry.fill(0)
    const records = await (isKnown && early !== undefined
      ? early
      : this.#records(name, { owner, records: 0 }, signal))
    // A deletion takes the entry first and then the last of its records: what is left may be an older state.
    const isSuspect =
      records.length > 0 ||
      (isKnown && known.records > 0) ||
      (this.hasRecords && performance.now() - began >= READ_TIME)
    if (isSuspect && !(await this.#hash(name, signal)).equals(owner)) return this.read(name, signal)
    const last = records.at(-1)
    if (last === undefined) return unchanged(first, owner)
    const { snapshot, changedAt } = named(`change records of key '${name}' are damaged`, () =>
      lastOf(records, owner),
    )
    const head = hashOf(last)
    wipeAll(records)
    return { first, snapshot, owner, records: records.length, head, changedAt }
  }

  /** Whether a key was changed since it was read. */
  async hasNext(name: string, { owner, records }: Origin, signal: AbortSignal): Promise<boolean> {
    if (!this.hasRecords) return false
    const next = await this.#get(recordName(records + 1, owner, name), signal)
    next?.fill(0)
    return next !== undefined
  }

  /** Makes a key, with what it is beyond version 1. @throws KesError KEY_EXISTS; then nothing of it is left */
  async create(
    name: string,
    first: KeyParts,
    snapshot: Snapshot,
    signal: AbortSignal,
  ): Promise<StoredKey> {
    const entry = encodeKey(first)
    const before = unchanged(first, hashOf(entry))
    try {
      if (snapshot === UNCHANGED) {
        await this.#store.create(name, entry, signal)
        return before
      }
      // Before the key, so that nobody ever sees it without.
      const change = { at: first.createdAt, by: first.createdBy }
      const stored = await this.append(name, before, snapshot, change, signal)
      if (stored === undefined) throw new Error('bug: a record of a new key is there already')
      try {
        await this.#store.create(name, entry, signal)
      } catch (error) {
        await this.#withdraw(name, stored).catch(() => {}) // the first trouble says more
        throw error
      }
      return stored
    } finally {
      entry.fill(0)
    }
  }

  /** Makes the next record. Undefined when somebody else has made it: what was read is old then. */
  async append(
    name: string,
    before: StoredKey,
    snapshot: Snapshot,
    { at: changedAt, by: changedBy }: { readonly at: Timestamp; readonly by: string },
    signal: AbortSignal,
  ): Promise<StoredKey | undefined> {
    const { owner, head: predecessor } = before
    const number = before.records + 1
    const record = encodeRecord({ number, owner, predecessor, changedAt, changedBy, snapshot })
    const head = hashOf(record)
    const entryName = recordName(number, owner, name)
    try {
      await this.#store.create(entryName, record, signal)
    } catch (error) {
      if (!isCode(error, 'KEY_EXISTS')) throw error
      // Two servers may make the same claim; of two that each take it for theirs one must not destroy.
      if (snapshot.isDestroying) return undefined
      // A store that tries again when an answer was lost may meet its own first try.
      const found = await unless('KEY_NOT_FOUND', this.#hash(entryName, signal))
      if (found?.equals(head) !== true) return undefined
    } finally {
      record.fill(0)
    }
    return { ...before, snapshot, records: number, head, changedAt }
  }

  /**
   * Deletes the entry of a key: from then on there is no such key.
   *
   * @param only this one, not a key that was made anew under the name
   * @returns whose records are left; undefined when that cannot be told. @throws KesError KEY_NOT_FOUND
   */
  async delete(name: string, signal: AbortSignal, only?: Buffer): Promise<Buffer | undefined> {
    const owner = await this.#ownerOf(name, signal)
    if (only !== undefined && owner?.equals(only) !== true) throw new KesError('KEY_NOT_FOUND')
    await this.#store.delete(name, signal)
    return owner
  }

  /** Deletes the records of a key that was deleted, when nobody can take it for one without records any more. */
  async deleteRecords(name: string, origin: Origin, signal: AbortSignal): Promise<void> {
    const records = await this.#records(name, origin, signal)
    wipeAll(records)
    if (records.length === 0) return
    await sleep(READ_TIME)
    await this.#deleteRecords(name, { ...origin, records: records.length }, signal)
  }

  /** The last one first, so that a chain never has a gap. */
  async #deleteRecords(
    name: string,
    { owner, records }: Origin,
    signal: AbortSignal,
  ): Promise<void> {
    for (let number = records; number > 0; number--) {
      const record = recordName(number, owner, name)
      await unless('KEY_NOT_FOUND', this.#store.delete(record, signal))
    }
  }

  /** Deletes the record of a key that was not made. */
  async #withdraw(name: string, { owner, records }: Origin): Promise<void> {
    const signal = AbortSignal.timeout(WITHDRAW_LIMIT)
    const made = await unless('KEY_NOT_FOUND', this.#hash(name, signal))
    if (made?.equals(owner) !== true) await this.#deleteRecords(name, { owner, records }, signal)
  }

  /** An entry that cannot be read can still be deleted. */
  async #ownerOf(name: string, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      return await this.#hash(name, signal)
    } catch (error) {
      if (error instanceof KeyStoreError && error.failure !== 'unreachable') return undefined
      throw error
    }
  }

  /** Of an entry. @throws KesError KEY_NOT_FOUND */
  async #hash(name: string, signal: AbortSignal): Promise<Buffer> {
    const entry = await this.#store.get(name, signal)
    const hash = hashOf(entry)
    entry.fill(0)
    return hash
  }

  /** Records 1, 2, … until one is absent. @param origin how many there were before */
  async #records(
    name: string,
    { owner, records: expected }: Origin,
    signal: AbortSignal,
  ): Promise<Uint8Array[]> {
    const found: Uint8Array[] = []
    if (!this.hasRecords) return found
    setMaxListeners(4 * AT_ONCE, signal)
    for (let size = expected + 1, gaps = 0; ; size = AT_ONCE) {
      const batch = await Promise.all(
        Array.from({ length: Math.min(size, AT_ONCE) }, (_, index) =>
          this.#get(recordName(found.length + 1 + index, owner, name), signal),
        ),
      )
      const present = batch.filter((record) => record !== undefined)
      const end = batch.indexOf(undefined)
      found.push(...present.slice(0, end < 0 ? undefined : end))
      if (end < 0) continue
      if (present.length === end) return found
      if (++gaps > GAP_TRIES)
        throw new DamagedKeyError(`change record ${found.length + 1} of key '${name}' is missing`)
    }
  }

  #get(name: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return unless('KEY_NOT_FOUND', this.#store.get(name, signal))
  }
}

function unchanged(first: KeyParts, owner: Buffer): StoredKey {
  return { first, snapshot: UNCHANGED, owner, records: 0, head: undefined, changedAt: undefined }
}

/** The key; what it was made of is wiped. */
export function keyOf(stored: StoredKey): Key {
  const { first, snapshot, owner, records } = stored
  const key = new Key(first, snapshot, { owner, records })
  for (const { secret, hmacKey } of [first, ...snapshot.later]) {
    secret.fill(0)
    hmacKey?.fill(0)
  }
  return key
}

function wipeAll(entries: readonly Uint8Array[]): void {
  for (const entry of entries) entry.fill(0)
}

/** @throws DamagedKeyError that says of what */
function named<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof DamagedKeyError)) throw error
    throw new DamagedKeyError(`${what}: ${error.message}`)
  }
}
