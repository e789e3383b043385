/**
 * Copies entries from one keystore to another, byte for byte, so that HMAC keys, metadata and changes come along
 * (kes-cli.md, `kes migrate`). It keeps no state: what was copied is found in the target by whoever runs it again. It
 * deletes nothing that the source does not have, but the changes of keys that it is told to overwrite.
 */

import { KeyStoreError, type KeyStore } from '../keystore/keystore.ts'
import { FIRST_ENTRY_NAME, parseListing } from '../names.ts'
import {
  decodeChain,
  readChain,
  type RecordEntry,
  recordEntry,
  recordsByKey,
  wipe,
} from './chain.ts'
import { DamagedKeyError } from './codec.ts'
import { decodeEnclaveEntry } from './enclave-entry.ts'
import { type Action, Bringer, type BringOptions, RefusalError } from './migrate/bringer.ts'
import { type EntryKind, inOrder, kindOf } from './migrate/entries.ts'
import { KeyCopier } from './migrate/keys.ts'
import { PATIENCE, type Patience, PatientStore } from './patient.ts'

export type { Action } from './migrate/bringer.ts'

/** Entries that are copied at the same time. */
const AT_ONCE = 16

export interface MigrationOptions extends BringOptions {
  /** Keys whose names begin so, with a `*` behind it or not; absent: all that the server has in the keystore. */
  readonly pattern?: string | undefined
  /** Afterwards each key is read from the target and used. */
  readonly isVerified: boolean
  /** No more entries are begun when it aborts; those that are being copied are finished. */
  readonly stop: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
  readonly patience?: Patience
}

export interface Failure {
  readonly name: string
  readonly reason: string
}

export interface MigrationSummary {
  /** What was done with each entry that did not fail; in a dry run what would be. */
  readonly actions: ReadonlyMap<string, Action>
  /** Entries of which it was shown that the target has them. */
  readonly verified: number
  /** Change records that no key of the source owns; they are not copied. */
  readonly orphans: readonly string[]
  /** In the order of their names. A key counts as one, with all its changes. */
  readonly failures: readonly Failure[]
  /** Entries that were not begun. */
  readonly untried: number
  /** Why it ended before its time; absent also when it was asked to stop. */
  readonly trouble: string | undefined
}

/** @throws KesError BAD_NAME for a pattern that is none, KeyStoreError when the keystores cannot be listed */
export async function migrate(
  source: KeyStore,
  target: KeyStore,
  options: MigrationOptions,
): Promise<MigrationSummary> {
  return new Migration(source, target, options).run()
}

class Migration {
  readonly #source: PatientStore
  readonly #target: PatientStore
  readonly #options: MigrationOptions
  readonly #bringer: Bringer
  readonly #actions = new Map<string, Action>()
  readonly #failures: Failure[] = []
  readonly #orphans: string[] = []
  #done = 0
  #total = 0
  #verified = 0
  #trouble: string | undefined

  constructor(source: KeyStore, target: KeyStore, options: MigrationOptions) {
    const { patience = PATIENCE } = options
    this.#source = new PatientStore(source, 'source', patience)
    this.#target = new PatientStore(target, 'target', patience)
    this.#options = options
    this.#bringer = new Bringer(this.#target, options)
  }

  async run(): Promise<MigrationSummary> {
    const [names, there] = await Promise.all([this.#list(this.#source), this.#list(this.#target)])
    this.#total = names.length
    this.#report()
    const copy = this.#copier(names, new Set(there))
    for (const batch of inOrder(names)) await this.#copyAll(batch, copy)
    return {
      actions: this.#actions,
      verified: this.#verified,
      orphans: this.#orphans.sort(),
      failures: this.#failures.sort((a, b) => (a.name < b.name ? -1 : 1)),
      untried: this.#total - this.#done,
      trouble: this.#trouble ?? this.#bringer.trouble,
    }
  }

  async #list(store: PatientStore): Promise<string[]> {
    const { pattern } = this.#options
    const isOver = (): boolean => this.#isOver
    if (pattern === undefined) return store.list('', FIRST_ENTRY_NAME, isOver)
    const { prefix, from } = parseListing(pattern)
    const records = await store.list('-', '-', isOver)
    const keys = await store.list(prefix, from, isOver)
    // Where there is no prefix the server's own entries are among them.
    return [
      ...records.filter((name) => recordEntry(name)?.key.startsWith(prefix)),
      ...keys.filter((name) => !name.startsWith('-')),
    ]
  }

  get #isOver(): boolean {
    const trouble = this.#trouble ?? this.#bringer.trouble
    return trouble !== undefined || this.#options.stop.aborted
  }

  #report(): void {
    this.#options.onProgress?.(this.#done, this.#total)
  }

  /** What copies an entry; a key with its changes. @returns how many entries that were */
  #copier(names: readonly string[], there: ReadonlySet<string>): (name: string) => Promise<number> {
    const keys = new KeyCopier(this.#target, this.#bringer, { ...this.#options, there })
    const records = recordsByKey(names)
    const isKey = new Set(names.filter((name) => kindOf(name) === 'key'))
    for (const [key, own] of records) {
      if (isKey.has(key)) continue
      this.#leave(own)
      this.#done += own.length
    }
    return async (name) => {
      const kind = kindOf(name)
      if (kind !== 'key') {
        await this.#attempt(name, () => this.#copyEntry(name, kind, there.has(name)))
        return 1
      }
      const own = records.get(name) ?? []
      await this.#attempt(name, () => this.#copyKey(name, own, keys))
      return 1 + own.length
    }
  }

  #leave(records: readonly RecordEntry[]): void {
    this.#orphans.push(...records.map(({ name }) => name))
  }

  async #copyAll(names: readonly string[], copy: (name: string) => Promise<number>): Promise<void> {
    let at = 0
    const work = async (): Promise<void> => {
      for (let name = names[at++]; name !== undefined && !this.#isOver; name = names[at++]) {
        const count = await copy(name)
        this.#done += count
        this.#report()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  }

  async #attempt(name: string, copy: () => Promise<void>): Promise<void> {
    try {
      await copy()
    } catch (error) {
      const isExpected =
        error instanceof RefusalError ||
        error instanceof DamagedKeyError ||
        error instanceof KeyStoreError
      if (!isExpected) throw error
      const reason = error instanceof DamagedKeyError ? `damaged: ${error.message}` : error.message
      this.#failures.push({ name, reason })
      // It was asked often enough: the next entry would not do better.
      if (error instanceof KeyStoreError && error.failure === 'unreachable')
        this.#trouble ??= error.message
    }
  }

  async #copyKey(name: string, records: readonly RecordEntry[], keys: KeyCopier): Promise<void> {
    const chain = await readChain(this.#source, name, records)
    if (chain === undefined) {
      // Deleted since it was listed.
      for (const each of [name, ...records.map((record) => record.name)])
        this.#actions.set(each, 'skipped')
      return
    }
    this.#leave(chain.strays)
    try {
      const key = decodeChain(chain)
      const actions = await keys.copy(name, chain)
      if (this.#isProvable([...actions.values()])) {
        await keys.verify(name, chain, key)
        this.#verified += actions.size
      }
      for (const [each, action] of actions) this.#actions.set(each, action)
    } finally {
      wipe(chain)
    }
  }

  async #copyEntry(name: string, kind: EntryKind, wasThere: boolean): Promise<void> {
    if (kind === 'stranger')
      throw new RefusalError('this is no name of a key, so no server can use it; it is not copied')
    const value = await this.#source.read(name)
    if (value === undefined) {
      this.#actions.set(name, 'skipped')
      return
    }
    try {
      if (kind === 'enclave' && decodeEnclaveEntry(value) === undefined)
        throw new RefusalError('damaged: not the entry of an enclave')
      const action = await this.#bringer.bring(name, value, wasThere)
      if (this.#isProvable([action])) await this.#verifyEntry(name, value)
      this.#actions.set(name, action)
    } finally {
      value.fill(0)
    }
  }

  /** A dry run can prove only what is there already. */
  #isProvable(actions: readonly Action[]): boolean {
    const { isVerified, isDryRun } = this.#options
    return isVerified && !(isDryRun && actions.some((action) => action !== 'skipped'))
  }

  async #verifyEntry(name: string, value: Uint8Array): Promise<void> {
    const found = await this.#target.compare(name, value)
    if (found === 'missing') throw new RefusalError('not verified: the target does not have it')
    if (found === 'other') throw new RefusalError('not verified: the values differ')
    this.#verified++
  }
}
