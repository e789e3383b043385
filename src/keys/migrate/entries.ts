/**
 * What a keystore's entry is, by its name (formats.md, "Change records"; kes-dialects.md, "Enclaves"), and the order in
 * which entries are copied so that a server on the target never sees a key in a state that it was not in.
 */

import { isName } from '../../names.ts'
import { ENCLAVE_ENTRY } from '../enclave-entry.ts'
import { ENCLAVE_PREFIX } from '../enclave-store.ts'
import { parseRecordName } from '../record-name.ts'

/**
 * `key`: of the server or of an enclave. `enclave`: says that an enclave is there, and who its admin is. `record`:
 * anything else that is the server's, as changes of a key and marks of deletion. `stranger`: not the server's.
 */
export type EntryKind = 'key' | 'enclave' | 'record' | 'stranger'

export function kindOf(name: string): EntryKind {
  if (isName(name.replace(ENCLAVE_PREFIX, ''))) return 'key'
  if (!name.startsWith('-')) return 'stranger'
  return name.startsWith(ENCLAVE_ENTRY) ? 'enclave' : 'record'
}

/** The name of the key that a record is a change of. */
export function changedKey(name: string): string | undefined {
  const record = parseRecordName(name)
  return record && record.prefix + record.key
}

/**
 * Batches, one to be copied after the other. Records come first: a key that is disabled, or an enclave that is being
 * deleted, must not be usable in the target in between. Enclaves come last: one that is there has its keys.
 */
export function inOrder(names: readonly string[]): string[][] {
  const batches: Record<EntryKind, string[]> = { record: [], key: [], stranger: [], enclave: [] }
  for (const name of names) batches[kindOf(name)].push(name)
  return Object.values(batches)
}
