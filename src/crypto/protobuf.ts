/**
 * The part of proto3 that stored keys need (formats.md, "At rest"): varints and length-delimited fields.
 * Written as Go writes them: fields in order of number, zero values left out.
 */

/** What is not well-formed proto3, or not a message of the expected type. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError'
}

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5

/** A varint field; 64-bit two's complement when negative. */
export function varintField(number: number, value: number): Buffer {
  return value === 0 ? Buffer.alloc(0) : Buffer.concat([varint(number * 8 + VARINT), varint(value)])
}

/** A bytes, string or message field. An empty message is written when `value` is, so pass what exists. */
export function bytesField(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(number * 8 + BYTES), varint(value.length), value])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

/** The fields of one message. Unknown fields are skipped; of a repeated scalar the last counts. */
export class Message {
  readonly #integers = new Map<number, bigint>()
  readonly #bytes = new Map<number, Buffer[]>()

  /** @throws ProtobufError */
  constructor(bytes: Buffer) {
    let at = 0
    const readVarint = (): bigint => {
      let value = 0n
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const byte = bytes[at++]
        if (byte === undefined) break
        value |= BigInt(byte & 0x7f) << shift
        if (byte < 0x80) return BigInt.asUintN(64, value)
      }
      throw new ProtobufError('malformed varint')
    }
    const take = (length: bigint): Buffer => {
      if (length > BigInt(bytes.length - at)) throw new ProtobufError('truncated message')
      at += Number(length)
      return bytes.subarray(at - Number(length), at)
    }
    while (at < bytes.length) {
      const tag = readVarint()
      const number = Number(tag >> 3n)
      if (number < 1 || number > 0x1fffffff) throw new ProtobufError('illegal field number')
      switch (Number(tag & 7n)) {
        case VARINT:
          this.#integers.set(number, readVarint())
          break
        case BYTES:
          this.#add(number, take(readVarint()))
          break
        case FIXED64:
          take(8n)
          break
        case FIXED32:
          take(4n)
          break
        default:
          throw new ProtobufError('unknown wire type')
      }
    }
  }

  /** A signed 64-bit integer, 0 when absent. @throws ProtobufError beyond 2^53. */
  integer(number: number): number {
    const value = Number(BigInt.asIntN(64, this.#integers.get(number) ?? 0n))
    if (!Number.isSafeInteger(value)) throw new ProtobufError('integer out of range')
    return value
  }

  bytes(number: number): Buffer | undefined {
    return this.#bytes.get(number)?.at(-1)
  }

  /** All values of a repeated field, in order. */
  list(number: number): readonly Buffer[] {
    return this.#bytes.get(number) ?? []
  }

  /** @throws ProtobufError */
  message(number: number): Message | undefined {
    const bytes = this.bytes(number)
    return bytes === undefined ? undefined : new Message(bytes)
  }

  #add(number: number, value: Buffer): void {
    const values = this.#bytes.get(number)
    if (values === undefined) this.#bytes.set(number, [value])
    else values.push(value)
  }
}
