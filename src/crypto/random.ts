/**
 * Random bytes from a small pool: one system call serves many requests. Bytes leave the pool once, and
 * their place is wiped. The pool is dropped after a second, so that a machine resumed from a snapshot
 * does not repeat nonces for longer than that.
 */

import { randomFillSync } from 'node:crypto'

const SIZE = 4096
/** Milliseconds that what is to be used once may be kept for its use. */
export const MAX_AGE = 1000
/** So few bytes a loop copies faster than a call out of JavaScript. */
const LOOP = 64

const pool = Buffer.alloc(SIZE)
let used = SIZE
let filledAt = 0

/** `length` fresh random bytes, owned by the caller. */
export function randomBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  fillRandom(bytes, 0, length)
  return bytes
}

/** Overwrites `target` from `start` to `end` with fresh random bytes. */
export function fillRandom(target: Buffer, start: number, end: number): void {
  const length = end - start
  if (length > SIZE) {
    randomFillSync(target, start, length)
    return
  }
  const now = performance.now()
  if (used + length > SIZE || now - filledAt > MAX_AGE) {
    randomFillSync(pool)
    used = 0
    filledAt = now
  }
  if (length > LOOP) {
    pool.copy(target, start, used, used + length)
    pool.fill(0, used, used + length)
    used += length
    return
  }
  for (let at = start; at < end; at++) {
    target[at] = pool[used] as number
    pool[used++] = 0
  }
}
