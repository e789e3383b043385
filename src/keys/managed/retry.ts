/** When a backend that could not start from the config file or the state file is tried again. */

import { isCode } from '../../errors.ts'
import { KeyStoreError } from '../../keystore/keystore.ts'
import { BackendError } from './backend-error.ts'

/** Milliseconds. */
const SHORTEST = 1000
const LONGEST = 30_000
/**
 * After credentials were refused: they may be granted in a moment, by whoever sets it all up at this time. But a Vault locks out
 * whose login fails five times, each within 15 minutes of the one before, and with him everybody who has the same role.
 */
const REFUSED = [10_000, 60_000]
const LONG_REFUSED = 20 * 60_000

/** @param failures how often it has failed before this time. @returns milliseconds; undefined: it needs somebody to mend it first */
export function pauseAfter(error: Error, failures: number): number | undefined {
  const { cause } = error
  if (!isCode(error, 'BACKEND_FAILED') || cause instanceof BackendError) return undefined
  if (cause instanceof KeyStoreError && cause.failure === 'denied')
    return REFUSED[failures] ?? LONG_REFUSED
  return Math.min(SHORTEST * 2 ** failures, LONGEST)
}
