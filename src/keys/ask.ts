/** Asking the keystore: its trouble becomes an answer, and is noticed. */

import { type Deadline, within } from '../deadline.ts'
import { type ErrorCode, KesError } from '../errors.ts'
import { KeyStoreError } from '../keystore/keystore.ts'
import type { KeyStoreHealth } from './health.ts'

/** Waits for the keystore. @throws KesError its own, the deadline's reason, or `code` with the trouble as cause */
export async function ask<T>(
  work: Promise<T>,
  code: ErrorCode,
  deadline: Deadline,
  health: KeyStoreHealth,
): Promise<T> {
  try {
    return await within(work, deadline)
  } catch (error) {
    if (error instanceof KesError) throw error
    const isTimeout = error instanceof Error && error.name === 'TimeoutError'
    const cause = isTimeout ? new KeyStoreError('unreachable', 'no answer in time') : error
    if (cause instanceof KeyStoreError && cause.failure === 'unreachable') health.reportDown()
    throw new KesError(code, { cause })
  }
}
