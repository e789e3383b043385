/**
 * A key with its change records as they lie in a keystore, for commands that look at whole keystores: by the names of
 * entries, in enclaves or not, whatever state the key is in.
 */

import { DamagedKeyError, decodeEntry } from './codec.ts'
import { keyOf } from './entries.ts'
import type { Key } from './key.ts'
import type { PatientStore } from './patient.ts'
import { hashOf, lastOf } from './record.ts'
import { parseRecordName } from './record-name.ts'
import { UNCHANGED } from './snapshot.ts'

/** What the name of a record's entry says. */
export interface RecordEntry {
  readonly name: string
  /** Name of the entry of the key that it is a change of. */
  readonly key: string
  readonly number: number
  /** The first hex digits of that entry's SHA-256. */
  readonly owner: string
}

/** Undefined for a name that is no record's. */
export function recordEntry(name: string): RecordEntry | undefined {
  const parts = parseRecordName(name)
  if (parts === undefined) return undefined
  const { prefix, key, number, owner } = parts
  return { name, key: prefix + key, number, owner }
}

/** Records by the names of their keys, in the order of their numbers. */
export function recordsByKey(names: Iterable<string>): Map<string, RecordEntry[]> {
  const records = new Map<string, RecordEntry[]>()
  for (const name of names) {
    const record = recordEntry(name)
    if (record === undefined) continue
    const others = records.get(record.key)
    if (others === undefined) records.set(record.key, [record])
    else others.push(record)
  }
  for (const list of records.values()) list.sort((a, b) => a.number - b.number)
  return records
}

/** The bytes of a key's entry and of its records 1, 2, 3, …: secrets, to be wiped. */
export interface Chain {
  readonly entry: Uint8Array
  readonly records: readonly Uint8Array[]
  /** Names of the records. */
  readonly names: readonly string[]
  /** Records of other keys that had the name. */
  readonly strays: readonly RecordEntry[]
}

/**
 * Undefined when there is no such key.
 *
 * @param records those that a listing has found, in order @throws KeyStoreError; DamagedKeyError when one is missing
 */
export async function readChain(
  store: PatientStore,
  name: string,
  records: readonly RecordEntry[],
): Promise<Chain | undefined> {
  const entry = await store.read(name)
  if (entry === undefined) return undefined
  const owner = hashOf(entry).toString('hex')
  const own = records.filter((record) => owner.startsWith(record.owner))
  const gap = own.findIndex(({ number }, index) => number !== index + 1)
  const found = gap < 0 ? await Promise.all(own.map((record) => store.read(record.name))) : []
  const present = found.filter((record) => record !== undefined)
  if (gap >= 0 || present.length < found.length) {
    wipe({ entry, records: present })
    const missing = gap < 0 ? found.indexOf(undefined) : gap
    throw new DamagedKeyError(`change record ${missing + 1} is missing`)
  }
  return {
    entry,
    records: present,
    names: own.map((record) => record.name),
    strays: records.filter((record) => !own.includes(record)),
  }
}

/** What the entries say. @throws DamagedKeyError */
export function decodeChain({ entry, records }: Pick<Chain, 'entry' | 'records'>): Key {
  const first = decodeEntry(entry)
  const owner = hashOf(entry)
  const snapshot = records.length === 0 ? UNCHANGED : lastOf(records, owner).snapshot
  const stored = { first, snapshot, owner, records: records.length }
  return keyOf({ ...stored, head: undefined, changedAt: undefined })
}

export function wipe({ entry, records }: Pick<Chain, 'entry' | 'records'>): void {
  for (const bytes of [entry, ...records]) bytes.fill(0)
}
