/**
 * What a keystore's entry is, by its name (docs/formats.md; kes-dialects.md, "Enclaves"), and the order in which entries
 * are copied so that a server on the target never sees an enclave in a state that it was not in.
 */

import { isName } from '../../names.ts'
import { recordEntry } from '../chain.ts'
import { ENCLAVE_ENTRY } from '../enclave-entry.ts'
import { ENCLAVE_PREFIX } from '../enclave-store.ts'

/**
 * `key`: of the server or of an enclave. `record`: a change of a key. `enclave`: says that an enclave is there, and who its
 * admin is. `mark`: anything else that is the server's, as marks of deletion. `stranger`: not the server's.
 */
export type EntryKind = 'key' | 'record' | 'enclave' | 'mark' | 'stranger'

export function kindOf(name: string): EntryKind {
  if (isName(name.replace(ENCLAVE_PREFIX, ''))) return 'key'
  if (!name.startsWith('-')) return 'stranger'
  if (name.startsWith(ENCLAVE_ENTRY)) return 'enclave'
  return recordEntry(name) === undefined ? 'mark' : 'record'
}

/**
 * Batches, one to be copied after the other, without change records: each key brings its own. An enclave that is being
 * deleted must not be usable in the target in between, so marks come first; enclaves come last: one that is there has
 * its keys.
 */
export function inOrder(names: readonly string[]): string[][] {
  const batches: Record<Exclude<EntryKind, 'record'>, string[]> = {
    mark: [],
    key: [],
    stranger: [],
    enclave: [],
  }
  for (const name of names) {
    const kind = kindOf(name)
    if (kind !== 'record') batches[kind].push(name)
  }
  return Object.values(batches)
}
