/**
 * Random bytes from a small pool: one system call serves many requests. Bytes leave the pool once, and
 * their place is wiped. The pool is dropped after a second, so that a machine resumed from a snapshot
 * does not repeat nonces for longer than that.
 */

import { randomFillSync } from 'node:crypto'

const SIZE = 4096
const MAX_AGE = 1000

const pool = Buffer.alloc(SIZE)
let used = SIZE
let filledAt = 0

/** `length` fresh random bytes, owned by the caller. */
export function randomBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  if (length > SIZE) return randomFillSync(bytes)
  const now = performance.now()
  if (used + length > SIZE || now - filledAt > MAX_AGE) {
    randomFillSync(pool)
    used = 0
    filledAt = now
  }
  pool.copy(bytes, 0, used, used + length)
  pool.fill(0, used, used + length)
  used += length
  return bytes
}
