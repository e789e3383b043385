/** Opening a keystore so that nothing is left open when it cannot be used. */

import { within } from '../deadline.ts'
import type { KeyStore } from './keystore.ts'

/** The keystore, once it has answered. @throws what opening or `status` throws, or the signal's reason */
export async function openAnswering<T extends KeyStore>(
  open: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const opening = open(signal)
  let store: T
  try {
    store = await within(opening, { signal })
  } catch (error) {
    // One that opens too late is not left open; one that does not open has been reported.
    opening.then(
      (late) => late.close(),
      () => {},
    )
    throw error
  }
  try {
    await within(store.status(signal), { signal })
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}
