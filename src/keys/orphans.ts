/**
 * Change records that are not in order (docs/formats.md, "Change records"). Orphans, which no key owns, are what a delete
 * that was cut off leaves. Nothing removes them by itself, since a restore or a migration brings records before their keys.
 */

import { decodeChain, readChain, type RecordEntry, recordsByKey, wipe } from './chain.ts'
import { DamagedKeyError } from './codec.ts'
import type { PatientStore } from './patient.ts'

/** Keys that are looked at at the same time. */
const AT_ONCE = 16

export interface Records {
  /** How many keys have records. */
  readonly keys: number
  /** In the order in which they may be removed: of each key the highest first. */
  readonly orphans: readonly RecordEntry[]
  /** Keys that no server can read, with the reason; sorted by name. */
  readonly broken: readonly { readonly name: string; readonly reason: string }[]
}

/** Reads the keys that have records, and no others. @throws KeyStoreError */
export async function findRecords(store: PatientStore, stop: AbortSignal): Promise<Records> {
  const names = await store.list('-', '-', () => stop.aborted)
  const byKey = [...recordsByKey(names)]
  const orphans: RecordEntry[] = []
  const broken: { name: string; reason: string }[] = []
  let keys = 0
  const look = async ([name, records]: readonly [
    string,
    readonly RecordEntry[],
  ]): Promise<void> => {
    try {
      const chain = await readChain(store, name, records)
      orphans.push(...(chain?.strays ?? records))
      if (chain === undefined) return
      try {
        if (chain.records.length === 0) return
        keys++
        decodeChain(chain)
      } finally {
        wipe(chain)
      }
    } catch (error) {
      if (!(error instanceof DamagedKeyError)) throw error
      broken.push({ name, reason: error.message })
    }
  }
  for (let at = 0; at < byKey.length && !stop.aborted; at += AT_ONCE)
    await Promise.all(byKey.slice(at, at + AT_ONCE).map(look))
  return {
    keys,
    orphans: orphans.sort((a, b) =>
      a.key === b.key ? b.number - a.number : a.key < b.key ? -1 : 1,
    ),
    broken: broken.sort((a, b) => (a.name < b.name ? -1 : 1)),
  }
}
