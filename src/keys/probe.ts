/** Whether a keystore lets the server keep change records (docs/formats.md): found out once, when it is opened. */

import { within } from '../deadline.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { ABSENT_ENTRY_NAME } from '../names.ts'

/** Milliseconds. */
const PROBE_LIMIT = 5000

/** Whether a keystore keeps change records: one whose rights are narrowed by name may deny theirs. Never rejects. */
export async function keepsRecords(store: KeyStore): Promise<boolean> {
  const signal = AbortSignal.timeout(PROBE_LIMIT)
  const probe = within(store.get(ABSENT_ENTRY_NAME, signal), { signal })
  return probe.then(
    () => true,
    // Without an answer they must be taken to be there: a key could be disabled.
    (error: unknown) => !(error instanceof KeyStoreError && error.failure === 'denied'),
  )
}

/** What an operator has to do where `keepsRecords` is false. */
export const NO_RECORDS =
  'the keystore denies entries whose names begin with "-", so keys cannot be rotated, disabled, described, nor scheduled ' +
  'for deletion: grant the rights to create, read, delete and list them, and restart'
