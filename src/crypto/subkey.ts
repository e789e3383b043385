/**
 * HMAC-SHA-256 (RFC 2104) of 16-byte messages under one secret: every message of an AES256 key has a subkey made so. The two
 * states of the hash after the secret are made once (docs/adr/0007); two blocks per message are left, and no native objects.
 * SHA-256 itself is @noble/hashes'.
 */

import { SHA256 } from '@noble/hashes/sha2'

/** Bytes. */
const BLOCK = 64
const MESSAGE = 16
const DIGEST = 32

/** A state of the hash: eight words. */
type State = readonly [number, number, number, number, number, number, number, number]

/** The last block of what is hashed after the secret's: `length` bytes, then a bit, and how many bits there were in all. */
function lastBlock(length: number): DataView {
  const block = new DataView(new ArrayBuffer(BLOCK))
  block.setUint8(length, 0x80)
  block.setUint32(BLOCK - 4, (BLOCK + length) * 8)
  return block
}

const CLEAN: State = [0, 0, 0, 0, 0, 0, 0, 0]
// Shared by all keys: each call fills them anew, and wipes them.
const messageBlock = lastBlock(MESSAGE)
const digestBlock = lastBlock(DIGEST)

export class Subkeys extends SHA256 {
  readonly #inner: State
  readonly #outer: State

  /** @param secret of at most 64 bytes; copied, the caller may wipe them */
  constructor(secret: Uint8Array) {
    super()
    const initial = this.get()
    this.#inner = this.#after(secret, 0x36)
    this.#load(initial)
    this.#outer = this.#after(secret, 0x5c)
    this.#load(CLEAN)
  }

  /** @param iv 16 bytes @param subkey 32 bytes, overwritten */
  derive(iv: Uint8Array, subkey: DataView): void {
    for (let at = 0; at < MESSAGE; at++) messageBlock.setUint8(at, iv[at] as number)
    this.#load(this.#inner)
    this.process(messageBlock, 0)
    this.#store(digestBlock)
    this.#load(this.#outer)
    this.process(digestBlock, 0)
    this.#store(subkey)
    for (let at = 0; at < DIGEST; at += 4) digestBlock.setUint32(at, 0)
    this.#load(CLEAN)
  }

  /** The state after a block of the secret. */
  #after(secret: Uint8Array, pad: number): State {
    const block = new DataView(new ArrayBuffer(BLOCK))
    for (let at = 0; at < BLOCK; at++) block.setUint8(at, (secret[at] ?? 0) ^ pad)
    this.process(block, 0)
    for (let at = 0; at < BLOCK; at++) block.setUint8(at, 0)
    return this.get()
  }

  #load(state: State): void {
    this.set(state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7])
  }

  #store(target: DataView): void {
    target.setUint32(0, this.A)
    target.setUint32(4, this.B)
    target.setUint32(8, this.C)
    target.setUint32(12, this.D)
    target.setUint32(16, this.E)
    target.setUint32(20, this.F)
    target.setUint32(24, this.G)
    target.setUint32(28, this.H)
  }
}
