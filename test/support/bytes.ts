/** Small things that most tests need. */

import { setMaxListeners } from 'node:events'

import type { Deadline } from '#src/deadline.js'

export function bytes(text: string): Buffer {
  return Buffer.from(text)
}

export function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64')
}

/** A copy with one bit turned over. */
export function flipBit(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}

/** A signal that nobody aborts. */
export const SIGNAL = new AbortController().signal
// Many calls at a time share it.
setMaxListeners(0, SIGNAL)

/** No limit of time. */
export const PATIENT: Deadline = { signal: SIGNAL }

/** How often fast-check tries a property. */
export const RUNS = { numRuns: 200 }
