/**
 * Copies entries from one keystore to another, byte for byte, so that HMAC keys, metadata and changes come along
 * (kes-cli.md, `kes migrate`). It keeps no state: what was copied is found in the target by whoever runs it again. It
 * never deletes what the source does not have.
 */

import { KeyStoreError, type KeyStore } from '../keystore/keystore.ts'
import { FIRST_ENTRY_NAME, parseListing } from '../names.ts'
import { DamagedKeyError, decodeKey } from './codec.ts'
import { decodeEnclaveEntry } from './enclave-entry.ts'
import type { Key } from './key.ts'
import { changedKey, inOrder, kindOf } from './migrate/entries.ts'
import { PATIENCE, type Patience, PatientStore } from './patient.ts'
import { disprove } from './migrate/proof.ts'

/** Entries that are copied at the same time. */
const AT_ONCE = 16

export interface MigrationOptions {
  /** Keys whose names begin so, with a `*` behind it or not; absent: all that the server has in the keystore. */
  readonly pattern?: string | undefined
  /** An entry that the target has with another value is an error, stays as it is, or is replaced. */
  readonly onConflict: 'fail' | 'keep' | 'overwrite'
  /** Nothing is changed. */
  readonly isDryRun: boolean
  /** Afterwards each key is read from the target and used. */
  readonly isVerified: boolean
  /** No more entries are begun when it aborts; those that are being copied are finished. */
  readonly stop: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
  readonly patience?: Patience
}

export type Action = 'copied' | 'overwritten' | 'skipped'

export interface Failure {
  readonly name: string
  readonly reason: string
}

export interface MigrationSummary {
  /** What was done with each entry that did not fail; in a dry run what would be. */
  readonly actions: ReadonlyMap<string, Action>
  /** Entries of which it was shown that the target has them. */
  readonly verified: number
  /** In the order of their names. */
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

/** Why an entry is not copied that could have been. */
class RefusalError extends Error {
  override readonly name = 'RefusalError'
}

class Migration {
  readonly #source: PatientStore
  readonly #target: PatientStore
  readonly #options: MigrationOptions
  readonly #actions = new Map<string, Action>()
  readonly #failures: Failure[] = []
  /** Keys of which a change could not be copied. */
  readonly #incomplete = new Set<string>()
  /** What the target had at the beginning. */
  #there: ReadonlySet<string> = new Set()
  #total = 0
  #verified = 0
  #trouble: string | undefined
  #firstOverwrite: Promise<void> | undefined

  constructor(source: KeyStore, target: KeyStore, options: MigrationOptions) {
    const { patience = PATIENCE } = options
    this.#source = new PatientStore(source, 'source', patience)
    this.#target = new PatientStore(target, 'target', patience)
    this.#options = options
  }

  async run(): Promise<MigrationSummary> {
    const [names, there] = await Promise.all([this.#list(this.#source), this.#list(this.#target)])
    this.#there = new Set(there)
    this.#total = names.length
    this.#report()
    for (const batch of inOrder(names)) await this.#copyAll(batch)
    return {
      actions: this.#actions,
      verified: this.#verified,
      failures: this.#failures.sort((a, b) => (a.name < b.name ? -1 : 1)),
      untried: this.#total - this.#done,
      trouble: this.#trouble,
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
      ...records.filter((name) => changedKey(name)?.startsWith(prefix)),
      ...keys.filter((name) => !name.startsWith('-')),
    ]
  }

  get #done(): number {
    return this.#actions.size + this.#failures.length
  }

  get #isOver(): boolean {
    return this.#trouble !== undefined || this.#options.stop.aborted
  }

  #report(): void {
    this.#options.onProgress?.(this.#done, this.#total)
  }

  async #copyAll(names: readonly string[]): Promise<void> {
    let at = 0
    const work = async (): Promise<void> => {
      for (let name = names[at++]; name !== undefined && !this.#isOver; name = names[at++]) {
        await this.#attempt(name)
        this.#report()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  }

  async #attempt(name: string): Promise<void> {
    try {
      this.#actions.set(name, await this.#copy(name))
    } catch (error) {
      const isExpected =
        error instanceof RefusalError ||
        error instanceof DamagedKeyError ||
        error instanceof KeyStoreError
      if (!isExpected) throw error
      const reason = error instanceof DamagedKeyError ? `damaged: ${error.message}` : error.message
      this.#failures.push({ name, reason })
      const key = changedKey(name)
      if (key !== undefined) this.#incomplete.add(key)
      // It was asked often enough: the next entry would not do better.
      if (error instanceof KeyStoreError && error.failure === 'unreachable')
        this.#trouble ??= error.message
    }
  }

  async #copy(name: string): Promise<Action> {
    const kind = kindOf(name)
    if (kind === 'stranger')
      throw new RefusalError('this is no name of a key, so no server can use it; it is not copied')
    if (this.#incomplete.has(name))
      throw new RefusalError('a change of this key could not be copied, so the key is not, either')
    const value = await this.#source.read(name)
    // Deleted since it was listed.
    if (value === undefined) return 'skipped'
    try {
      const key = kind === 'key' ? decodeKey(value) : undefined
      if (kind === 'enclave' && decodeEnclaveEntry(value) === undefined)
        throw new RefusalError('damaged: not the entry of an enclave')
      const action = await this.#bring(name, value)
      const { isVerified, isDryRun } = this.#options
      if (isVerified && !(isDryRun && action !== 'skipped')) await this.#verify(name, value, key)
      return action
    } finally {
      value.fill(0)
    }
  }

  async #bring(name: string, value: Uint8Array): Promise<Action> {
    const { onConflict, isDryRun } = this.#options
    const wasThere = this.#there.has(name)
    let theirs = wasThere ? await this.#target.read(name) : undefined
    if (theirs === undefined) {
      if (isDryRun || (await this.#target.make(name, value))) return 'copied'
      theirs = await this.#target.read(name)
    }
    if (theirs === undefined)
      throw new RefusalError('somebody else makes and deletes it in the target: run this again')
    try {
      if (isSame(value, theirs)) return wasThere ? 'skipped' : 'copied'
      if (onConflict === 'fail') throw new RefusalError('the target has it with another value')
      if (onConflict === 'keep') return 'skipped'
      if (!isDryRun) await this.#overwriteInTurn(name, value, theirs)
      return 'overwritten'
    } finally {
      theirs.fill(0)
    }
  }

  /** The first alone: a target that deletes but does not create must not cost more than one value. */
  async #overwriteInTurn(name: string, value: Uint8Array, theirs: Uint8Array): Promise<void> {
    if (this.#firstOverwrite === undefined) {
      const first = this.#overwrite(name, value, theirs)
      this.#firstOverwrite = first.catch(() => {})
      return first
    }
    await this.#firstOverwrite
    if (this.#trouble !== undefined)
      throw new RefusalError('another entry could not be overwritten; this one is as it was')
    await this.#overwrite(name, value, theirs)
  }

  /**
   * Keystores cannot replace: the entry is deleted and made. A crash in between leaves none, and the next run copies
   * it. When it cannot be made, the old value is put back, and no other entry is overwritten.
   */
  async #overwrite(name: string, value: Uint8Array, theirs: Uint8Array): Promise<void> {
    try {
      await this.#target.remove(name)
      if (!(await this.#target.make(name, value))) await this.#expect(name, value)
    } catch (error) {
      if (!(error instanceof KeyStoreError)) throw error
      this.#trouble ??= error.message
      const fate = await this.#target.make(name, theirs).then(
        (isBack) => (isBack ? 'its old value was put back' : 'the target still has a value'),
        () => 'the target may have lost it; the source has it: run this again',
      )
      throw new RefusalError(`it could not be overwritten (${error.message}): ${fate}`)
    }
  }

  /** The answer to a try of ours may have been lost. */
  async #expect(name: string, value: Uint8Array): Promise<void> {
    const found = await this.#target.read(name)
    const isOurs = found !== undefined && isSame(value, found)
    found?.fill(0)
    if (!isOurs)
      throw new RefusalError('somebody else made it anew in the target while it was overwritten')
  }

  /** @param key what `value` is; absent: nothing that can be used */
  async #verify(name: string, value: Uint8Array, key: Key | undefined): Promise<void> {
    const found = await this.#target.read(name)
    if (found === undefined) throw new RefusalError('not verified: the target does not have it')
    const isEqual = isSame(value, found)
    const fault =
      key === undefined ? (isEqual ? undefined : 'the values differ') : disprove(key, found)
    found.fill(0)
    if (fault !== undefined) throw new RefusalError(`not verified: ${fault}`)
    this.#verified++
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
