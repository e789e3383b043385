/** Header blocks of our answers (RFC 7541). Fields are prepared once; what is left per answer is mostly one byte each. */

import { DynamicTable, STATIC_FIELDS, STATIC_NAMES } from './hpack-table.ts'
import { encodeHuffman, huffmanLength } from './huffman.ts'

/** Two size updates. */
export const UPDATE_ROOM = 8

/** A field of an answer, ready to be sent. */
export class PreparedField {
  /** As HPACK's table counts it. */
  readonly size: number
  /** In the static table; 0 = not there. */
  readonly index: number
  /** What is sent where no table has it. */
  readonly literal: Buffer
  /** It comes again, so it is worth a place in the table. */
  readonly isIndexed: boolean

  /** @param name in lower case */
  constructor(name: string, value: string, isIndexed: boolean) {
    this.size = name.length + value.length + 32
    this.index = STATIC_FIELDS.get(`${name} ${value}`) ?? 0
    this.isIndexed = isIndexed
    const target = Buffer.alloc(this.size)
    const nameIndex = STATIC_NAMES.get(name) ?? 0
    let at = isIndexed
      ? writeInteger(target, 0, nameIndex, 6, 0x40)
      : writeInteger(target, 0, nameIndex, 4, 0)
    if (nameIndex === 0) at = writeString(target, at, name)
    this.literal = target.subarray(0, writeString(target, at, value))
  }
}

export class HpackEncoder {
  readonly #table: DynamicTable<PreparedField>
  readonly #tableLimit: number
  /** How many fields had been added when this one was. */
  readonly #added = new Map<PreparedField, number>()
  #count = 0
  /** The smallest size that the peer does not know of yet. */
  #smallest: number | undefined

  /** @param tableLimit bytes of the dynamic table, whatever more the peer allows */
  constructor(tableLimit: number) {
    this.#table = new DynamicTable(tableLimit)
    this.#tableLimit = tableLimit
  }

  /** What the peer's SETTINGS say. */
  allow(size: number): void {
    const limit = Math.min(size, this.#tableLimit)
    if (limit === this.#table.limit) return
    this.#table.resize(limit)
    this.#smallest = Math.min(this.#smallest ?? limit, limit)
  }

  /** To be called first in each block: needs UPDATE_ROOM. @returns where it ended */
  begin(target: Buffer, at: number): number {
    if (this.#smallest === undefined) return at
    const { limit } = this.#table
    if (this.#smallest < limit) at = writeInteger(target, at, this.#smallest, 5, 0x20)
    this.#smallest = undefined
    return writeInteger(target, at, limit, 5, 0x20)
  }

  /** Needs room for the literal. @returns where it ended */
  write(field: PreparedField, target: Buffer, at: number): number {
    if (field.index > 0) return writeInteger(target, at, field.index, 7, 0x80)
    if (field.isIndexed) {
      const added = this.#added.get(field)
      // The newest is at 62. Fields leave in the order in which they came.
      const age = this.#count - (added ?? 0)
      if (added !== undefined && age < this.#table.count) {
        return writeInteger(target, at, 62 + age, 7, 0x80)
      }
      this.#table.add(field)
      this.#added.set(field, ++this.#count)
    }
    return writeBytes(target, at, field.literal)
  }
}

/** A loop: for so few bytes a call out of JavaScript costs more. */
export function writeBytes(target: Buffer, at: number, bytes: Buffer): number {
  for (let i = 0; i < bytes.length; i++) target[at++] = bytes[i] as number
  return at
}

function writeString(target: Buffer, at: number, text: string): number {
  const length = huffmanLength(text)
  if (length <= text.length && length > 0) {
    return encodeHuffman(text, target, writeInteger(target, at, length, 7, 0x80))
  }
  const start = writeInteger(target, at, text.length, 7, 0)
  return start + target.write(text, start, 'latin1')
}

/** @param prefix bits that the first byte has for it @param flags what its other bits are */
export function writeInteger(
  target: Buffer,
  at: number,
  value: number,
  prefix: number,
  flags: number,
): number {
  const mask = (1 << prefix) - 1
  if (value < mask) {
    target[at] = flags | value
    return at + 1
  }
  target[at++] = flags | mask
  let rest = value - mask
  for (; rest >= 0x80; rest >>>= 7) target[at++] = (rest & 0x7f) | 0x80
  target[at++] = rest
  return at
}
