/** Header blocks of a client, back into fields (RFC 7541). What is too large is decoded, but not kept. */

import { type Field, http2Field } from './field.ts'
import { DynamicTable, STATIC_SIZE, staticAt } from './hpack-table.ts'
import { decodeHuffman } from './huffman.ts'

/** No integer of a block of ours is larger. */
const INTEGER_LIMIT = 2 ** 24

export class HpackDecoder {
  readonly #table: DynamicTable<Field>
  readonly #tableLimit: number
  readonly #listLimit: number
  #data: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0
  #listSize = 0

  /**
   * @param tableLimit bytes of the dynamic table, as our SETTINGS say
   * @param listLimit bytes of fields that are kept of one block, as RFC 9113, 6.5.2 counts them
   */
  constructor(tableLimit: number, listLimit: number) {
    this.#table = new DynamicTable(tableLimit)
    this.#tableLimit = tableLimit
    this.#listLimit = listLimit
  }

  /** The last block had more fields than may be: what came of it is not whole. */
  get isTooLarge(): boolean {
    return this.#listSize > this.#listLimit
  }

  /** Undefined when it is no header block: the connection cannot go on then. */
  decode(data: Buffer, start: number, end: number): Field[] | undefined {
    this.#data = data
    this.#at = start
    this.#end = end
    this.#listSize = 0
    const fields: Field[] = []
    let isFirst = true
    while (this.#at < end) {
      const byte = data[this.#at] as number
      let field: Field | undefined
      if (byte >= 0x80) {
        field = this.#fieldAt(byte < 0xff ? (this.#at++, byte & 0x7f) : this.#integer(7))
      } else if (byte >= 0x40) {
        field = this.#literal(6)
        if (field !== undefined) this.#table.add(field)
      } else if (byte >= 0x20) {
        // Only before the first field (RFC 7541, 4.2).
        if (!isFirst || !this.#resize(this.#integer(5))) return undefined
        continue
      } else field = this.#literal(4)
      if (field === undefined) return undefined
      isFirst = false
      this.#listSize += field.size
      if (this.#listSize <= this.#listLimit) fields.push(field)
    }
    return fields
  }

  #fieldAt(index: number): Field | undefined {
    return index <= STATIC_SIZE ? staticAt(index) : this.#table.at(index - STATIC_SIZE - 1)
  }

  #literal(prefix: number): Field | undefined {
    const index = this.#integer(prefix)
    if (index < 0) return undefined
    const name = index === 0 ? this.#string() : this.#fieldAt(index)?.name
    if (name === undefined) return undefined
    const value = this.#string()
    return value === undefined ? undefined : http2Field(name, value)
  }

  #resize(size: number): boolean {
    if (size < 0 || size > this.#tableLimit) return false
    this.#table.resize(size)
    return true
  }

  #string(): string | undefined {
    if (this.#at >= this.#end) return undefined
    const isHuffman = (this.#data[this.#at] as number) >= 0x80
    const length = this.#integer(7)
    const start = this.#at
    if (length < 0 || length > this.#end - start) return undefined
    this.#at = start + length
    return isHuffman
      ? decodeHuffman(this.#data, start, this.#at)
      : this.#data.toString('latin1', start, this.#at)
  }

  /** -1 when it has no end, or is too large. @param prefix bits of the first byte */
  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1
    let value = (this.#data[this.#at++] as number) & mask
    if (value < mask) return value
    for (let shift = 0; this.#at < this.#end && shift <= 21; shift += 7) {
      const byte = this.#data[this.#at++] as number
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value <= INTEGER_LIMIT ? value : -1
    }
    return -1
  }
}
