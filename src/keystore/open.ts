/** Opening a keystore so that nothing is left open when it cannot be used. */

import { within, withinOrDrop } from '../deadline.ts'
import type { KeyStore } from './keystore.ts'

/** The keystore, once it has answered. @throws what opening or `status` throws, or the signal's reason */
export async function openAnswering<T extends KeyStore>(
  open: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const store = await withinOrDrop(open(signal), { signal }, (late) => late.close())
  try {
    await within(store.status(signal), { signal })
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}
