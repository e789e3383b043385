/**
 * The Huffman code of HPACK (RFC 7541, 5.2 and appendix B). Strings have one character per byte (latin1).
 * Decoding walks a table by half bytes: no code is shorter than five bits, so half a byte ends at most one.
 */

import { HEADER_BLOCK_LIMIT } from './limits.ts'

/** Bits of the code of each byte, in base 36. The code is canonical, so the lengths say it all. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq'
const END_OF_STRING = 256
const END_LENGTH = 30

const lengths = new Uint8Array(257)
const codes = new Uint32Array(257)
for (let byte = 0; byte < 256; byte++) lengths[byte] = parseInt(LENGTHS.charAt(byte), 36)
lengths[END_OF_STRING] = END_LENGTH
assignCodes()

/** An entry of the table: the next state, the byte that ends here, and whether one does. */
const EMITS = 0x20000
const FAILS = 0x40000
interface Table {
  readonly transitions: Uint32Array
  readonly accepting: Uint8Array
}
/** Takes milliseconds to build, which a start does not wait for. */
let table: Table | undefined

/** What a block decodes to at most: no code is shorter than 5 bits. */
const scratch = Buffer.allocUnsafeSlow(Math.ceil((HEADER_BLOCK_LIMIT * 8) / 5))

/** Undefined when it is no Huffman code, or padded otherwise than with up to seven ones. */
export function decodeHuffman(data: Buffer, start: number, end: number): string | undefined {
  table ??= buildTable()
  const { transitions, accepting } = table
  let [state, length] = [0, 0]
  for (let at = start; at < end; at++) {
    const byte = data[at] as number
    for (let shift = 4; shift >= 0; shift -= 4) {
      const entry = transitions[(state << 4) | ((byte >> shift) & 15)] as number
      if (entry >= EMITS) {
        if (entry >= FAILS) return undefined
        scratch[length++] = entry & 0xff
      }
      state = (entry >> 8) & 0x1ff
    }
  }
  return accepting[state] === 1 ? scratch.toString('latin1', 0, length) : undefined
}

/** Bytes that `encodeHuffman` writes. */
export function huffmanLength(text: string): number {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += lengths[text.charCodeAt(i) & 0xff] as number
  return (bits + 7) >> 3
}

/** @returns where it ended */
export function encodeHuffman(text: string, target: Buffer, start: number): number {
  let [at, bits, pending] = [start, 0, 0]
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i) & 0xff
    let code = codes[byte] as number
    let length = lengths[byte] as number
    // At most 7 bits are pending; a code has up to 30, which one shift could not hold.
    if (length > 16) {
      pending = (pending << (length - 16)) | (code >>> 16)
      bits += length - 16
      while (bits >= 8) target[at++] = pending >>> (bits -= 8)
      pending &= (1 << bits) - 1
      code &= 0xffff
      length = 16
    }
    pending = (pending << length) | code
    bits += length
    while (bits >= 8) target[at++] = pending >>> (bits -= 8)
    pending &= (1 << bits) - 1
  }
  if (bits > 0) target[at++] = ((pending << (8 - bits)) | (0xff >> bits)) & 0xff
  return at
}

/** Codes of the same length follow each other; a longer one begins where they end. */
function assignCodes(): void {
  const counts = new Uint32Array(END_LENGTH + 1)
  for (const length of lengths) counts[length] = (counts[length] as number) + 1
  const next = new Uint32Array(END_LENGTH + 1)
  for (let length = 1; length <= END_LENGTH; length++)
    next[length] = ((next[length - 1] as number) + (counts[length - 1] as number)) << 1
  for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
    const length = lengths[symbol] as number
    codes[symbol] = next[length] as number
    next[length] = (next[length] as number) + 1
  }
}

/** States are the inner nodes of the code's tree. A string may end where up to seven ones lead from the root. */
function buildTable(): Table {
  // Of each node its two children: inner nodes as they are, leaves as -1 - symbol.
  const children: [number, number][] = [[0, 0]]
  for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
    let node = 0
    for (let bit = (lengths[symbol] as number) - 1; bit >= 0; bit--) {
      const pair = children[node] as [number, number]
      const side = ((codes[symbol] as number) >>> bit) & 1
      if (bit === 0) pair[side] = -1 - symbol
      else if (pair[side] === 0) pair[side] = children.push([0, 0]) - 1
      node = pair[side] as number
    }
  }
  const transitions = new Uint32Array(children.length << 4)
  for (let state = 0; state < children.length; state++) {
    for (let nibble = 0; nibble < 16; nibble++)
      transitions[(state << 4) | nibble] = walk(state, nibble)
  }
  const accepting = new Uint8Array(children.length)
  for (let ones = 0, node = 0; ones < 8; ones++) {
    accepting[node] = 1
    node = (children[node] as [number, number])[1]
  }
  return { transitions, accepting }

  function walk(state: number, nibble: number): number {
    let [node, emitted] = [state, 0]
    for (let bit = 3; bit >= 0; bit--) {
      node = (children[node] as [number, number])[(nibble >> bit) & 1] as number
      if (node >= 0) continue
      const symbol = -1 - node
      if (symbol === END_OF_STRING) return FAILS | EMITS
      emitted = EMITS | symbol
      node = 0
    }
    return (node << 8) | emitted
  }
}
