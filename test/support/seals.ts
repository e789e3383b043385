/** Seals, taken apart, and what two of them must never have in common. */

import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Sealed } from '#src/crypto/aead.js'
import { Key } from '#src/keys/key.js'

/** Bytes of each: chance repeats none of a few million such. */
const PRINT = 8
/** Seals in a turn of the event loop: some find a cipher that was made ahead, some do not. */
const PER_TURN = 16
/** Data key, iv and nonce. */
export const PARTS = 3

const key = new Key({
  cipher: 'AES256',
  secret: Buffer.alloc(32, 7),
  createdAt: { seconds: 0, nanos: 0 },
  createdBy: '',
})

/** The first bytes of the data key, iv and nonce of so many seals. */
export async function fingerprints(count: number): Promise<Buffer> {
  const prints = Buffer.alloc(count * PARTS * PRINT)
  const context = Buffer.alloc(0)
  for (let i = 0; i < count; i++) {
    const at = i * PARTS * PRINT
    const { plaintext, ciphertext } = key.dataKey(context)
    plaintext.copy(prints, at, 0, PRINT)
    ciphertext.copy(prints, at + PRINT, ciphertext.length - 28, ciphertext.length - 28 + PRINT)
    ciphertext.copy(prints, at + 2 * PRINT, ciphertext.length - 12, ciphertext.length - 12 + PRINT)
    if (i % PER_TURN === 0) await nextTurn()
  }
  return prints
}

/** How many occurred before. */
export function repeated(prints: Buffer): number {
  const sorted = new BigUint64Array(prints.length / PRINT)
  for (let i = 0; i < sorted.length; i++) sorted[i] = prints.readBigUInt64LE(i * PRINT)
  sorted.sort()
  return sorted.filter((print, i) => print === sorted[i + 1]).length
}

/** A message with its iv and nonce at the end. */
export function apart(sealed: Buffer): Sealed {
  return {
    body: sealed.subarray(0, -28),
    iv: sealed.subarray(-28, -12),
    nonce: sealed.subarray(-12),
  }
}
