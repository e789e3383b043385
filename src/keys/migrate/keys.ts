/**
 * Copies keys with their change records (docs/formats.md, "Change records"): first the records, then the key's own entry, so
 * that the target never shows a key in a state that it has left. Records of another key of the name are none of its.
 */

import { KeyStoreError } from '../../keystore/keystore.ts'
import {
  type Chain,
  decodeChain,
  readChain,
  type RecordEntry,
  recordEntry,
  recordsByKey,
  wipe,
} from '../chain.ts'
import { DamagedKeyError } from '../codec.ts'
import type { Key } from '../key.ts'
import { type Found, isSame, type PatientStore } from '../patient.ts'
import { hashOf, lastOf } from '../record.ts'
import {
  type Action,
  type Bringer,
  type BringOptions,
  OTHER_VALUE,
  RACE,
  RefusalError,
} from './bringer.ts'
import { disprove } from './proof.ts'

type Actions = Map<string, Action>

/** What the target has of a key. */
interface Comparison {
  readonly entry: Found
  /** Of each of our records, in order. */
  readonly records: readonly Found[]
  /** Names of records behind those of ours that do not follow them; the highest first. */
  readonly strays: readonly string[]
}

export interface KeyCopierOptions extends BringOptions {
  /** What the target had at the beginning. */
  readonly there: ReadonlySet<string>
}

/** All methods throw KeyStoreError, RefusalError, and DamagedKeyError for a key of the source. */
export class KeyCopier {
  readonly #target: PatientStore
  readonly #bringer: Bringer
  readonly #options: KeyCopierOptions
  /** Records that the target has, by the names of their keys. */
  readonly #records: Map<string, RecordEntry[]>

  constructor(target: PatientStore, bringer: Bringer, options: KeyCopierOptions) {
    this.#target = target
    this.#bringer = bringer
    this.#options = options
    this.#records = recordsByKey(options.there)
  }

  /** @returns what was done with the key's entry and with each of its records */
  async copy(name: string, chain: Chain): Promise<Actions> {
    let theirs = this.#options.there.has(name) ? await this.#target.read(name) : undefined
    try {
      const actions = await this.#bring(name, chain, theirs)
      if (actions !== undefined) return actions
      // Somebody has made it since the target was listed: a try of ours, whose answer was lost, or another.
      theirs = await this.#target.read(name)
      const again = theirs && (await this.#bring(name, chain, theirs))
      if (theirs === undefined || again === undefined) throw new RefusalError(RACE)
      if (isSame(chain.entry, theirs)) again.set(name, 'copied')
      return again
    } finally {
      theirs?.fill(0)
    }
  }

  /** @param key what `chain` is. @throws RefusalError when the target's is not as good */
  async verify(name: string, chain: Chain, key: Key): Promise<void> {
    let theirs: Chain | undefined
    let fault: string | undefined
    try {
      theirs = await readChain(this.#target, name, this.#records.get(name) ?? [])
      if (theirs === undefined) fault = 'the target does not have it'
      else fault = disprove(key, decodeChain(theirs)) ?? differing(chain, theirs)
    } catch (error) {
      if (!(error instanceof DamagedKeyError)) throw error
      fault = `the target’s key is damaged: ${error.message}`
    } finally {
      if (theirs !== undefined) wipe(theirs)
    }
    if (fault !== undefined) throw new RefusalError(`not verified: ${fault}`)
  }

  /** Undefined when the key turns out to be there although it was not read. */
  async #bring(
    name: string,
    chain: Chain,
    theirs: Uint8Array | undefined,
  ): Promise<Actions | undefined> {
    const { onConflict, isDryRun } = this.#options
    const found = await this.#compare(name, chain, theirs)
    const different = found.records.indexOf('other')
    const fault =
      found.entry === 'other'
        ? OTHER_VALUE
        : different >= 0
          ? `the target has change record ${different + 1} of it with another value`
          : found.strays.length > 0
            ? `the target has changes of it that do not follow the source’s: ${found.strays.join(', ')}`
            : undefined
    if (fault === undefined) {
      if (!isDryRun && !(await this.#complete(name, chain, found))) return undefined
      return actionsOf(name, chain, found)
    }
    if (onConflict === 'fail') throw new RefusalError(fault)
    if (onConflict === 'keep') {
      // Without its key there is nothing that could be kept, and with ours it would be broken.
      if (found.entry === 'missing') throw new RefusalError(`${fault}, but not the key`)
      return new Map([name, ...chain.names].map((each) => [each, 'skipped']))
    }
    if (!isDryRun) await this.#bringer.inTurn(() => this.#replace(name, chain, found, theirs))
    const actions = actionsOf(name, chain, found)
    return actions.set(name, found.entry === 'missing' ? 'copied' : 'overwritten')
  }

  async #compare(
    name: string,
    { entry, records, names }: Chain,
    theirs: Uint8Array | undefined,
  ): Promise<Comparison> {
    const owner = hashOf(entry)
    const hex = owner.toString('hex')
    const own = (this.#records.get(name) ?? []).filter((record) => hex.startsWith(record.owner))
    const listed = new Set(own.map((record) => record.name))
    const compared = await Promise.all(
      records.map(async (record, index): Promise<Found> => {
        const recordName = names[index] ?? ''
        return listed.has(recordName) ? this.#target.compare(recordName, record) : 'missing'
      }),
    )
    const later = own.filter(({ number }) => number > records.length)
    const follows = later.length === 0 || (await this.#follow(records, later, owner))
    return {
      entry: theirs === undefined ? 'missing' : isSame(entry, theirs) ? 'same' : 'other',
      records: compared,
      strays: follows ? [] : later.map((record) => record.name).toReversed(),
    }
  }

  /** Whether the target has gone on from where the source is. */
  async #follow(
    records: readonly Uint8Array[],
    later: readonly RecordEntry[],
    owner: Buffer,
  ): Promise<boolean> {
    const found = await Promise.all(later.map(({ name }) => this.#target.read(name)))
    const present = found.filter((record) => record !== undefined)
    try {
      if (present.length > 0) lastOf([...records, ...present], owner)
      return true
    } catch (error) {
      if (error instanceof DamagedKeyError) return false
      throw error
    } finally {
      for (const record of present) record.fill(0)
    }
  }

  /** Makes what is missing. @returns false when the key is there already */
  async #complete(name: string, chain: Chain, { entry, records }: Comparison): Promise<boolean> {
    await this.#makeRecords(chain, (index) => records[index] === 'missing')
    return entry !== 'missing' || this.#target.make(name, chain.entry)
  }

  /** In their order: a target that is cut off in between has a chain without gaps. */
  async #makeRecords(chain: Chain, isWanted: (index: number) => boolean): Promise<void> {
    for (const [index, value] of chain.records.entries()) {
      const name = chain.names[index]
      if (name === undefined || !isWanted(index)) continue
      if (!(await this.#target.make(name, value))) await this.#expect(name, value)
      this.#note(name)
    }
  }

  async #expect(name: string, value: Uint8Array): Promise<void> {
    if ((await this.#target.compare(name, value)) !== 'same')
      throw new RefusalError('somebody else changes it in the target: run this again')
  }

  /** What the target has of the key and its changes becomes what the source has. */
  async #replace(
    name: string,
    chain: Chain,
    found: Comparison,
    theirs: Uint8Array | undefined,
  ): Promise<void> {
    const { entry, records, strays } = found
    const different = chain.names.filter((_, index) => records[index] === 'other')
    try {
      // The key goes first, and comes last: nobody may see it in a state that it has left.
      if (entry === 'same') await this.#target.remove(name)
      await this.#removeRecords([...strays, ...different.toReversed()])
      await this.#makeRecords(chain, (index) => records[index] !== 'same')
      if (entry !== 'other') await this.#bringer.makeAnew(name, chain.entry)
    } catch (error) {
      if (!(error instanceof KeyStoreError) || entry !== 'same') throw error
      throw this.#bringer.lost(error)
    }
    if (entry !== 'other' || theirs === undefined) return
    const owner = hashOf(theirs).toString('hex')
    await this.#bringer.replace(name, chain.entry, theirs)
    // No key owns them any more.
    const old = (this.#records.get(name) ?? []).filter((record) => owner.startsWith(record.owner))
    await this.#removeRecords(old.map((record) => record.name).toReversed())
  }

  async #removeRecords(names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.#target.remove(name)
      this.#forget(name)
    }
  }

  #note(name: string): void {
    this.#forget(name)
    const record = recordEntry(name)
    if (record === undefined) return
    const others = this.#records.get(record.key) ?? []
    this.#records.set(
      record.key,
      [...others, record].sort((a, b) => a.number - b.number),
    )
  }

  #forget(name: string): void {
    const key = recordEntry(name)?.key ?? ''
    const others = this.#records.get(key)?.filter((record) => record.name !== name)
    if (others !== undefined) this.#records.set(key, others)
  }
}

function actionsOf(name: string, { names }: Chain, { entry, records }: Comparison): Actions {
  const actions: Actions = new Map(
    names.map((record, index) => [record, ACTIONS[records[index] ?? 'missing']]),
  )
  return actions.set(name, ACTIONS[entry])
}

const ACTIONS: Readonly<Record<Found, Action>> = {
  missing: 'copied',
  same: 'skipped',
  other: 'overwritten',
}

/** States, descriptions and tags are in the records only. */
function differing(ours: Chain, theirs: Chain): string | undefined {
  const index = ours.records.findIndex((record, at) => {
    const other = theirs.records[at]
    return other === undefined || !isSame(record, other)
  })
  return index < 0 ? undefined : `the target’s change record ${index + 1} is another one`
}
