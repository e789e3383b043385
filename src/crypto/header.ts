/**
 * What stands before a ciphertext of a later version of a key (docs/formats.md, "Ciphertexts of later versions"):
 * magic, format and the version's number. Version 1 writes none, so that the Go server can open what it sealed.
 */

/** No msgpack value and no UTF-8 begins with 0xc1. */
const MAGIC = Buffer.from([0xc1, 0x4b, 0x45, 0x53])
const FORMAT = 1
const SIZE = MAGIC.length + 1 + 4

/** The header of a version's ciphertexts; part of their associated data. */
export function versionHeader(version: number): Buffer {
  const header = Buffer.alloc(SIZE)
  MAGIC.copy(header)
  header[MAGIC.length] = FORMAT
  header.writeUInt32BE(version, MAGIC.length + 1)
  return header
}

/**
 * Takes the header off. Undefined when there is none; what has one may be a raw ciphertext of version 1 all the same,
 * which begins with any bytes.
 */
export function splitHeader(
  bytes: Buffer,
): { readonly version: number; readonly rest: Buffer } | undefined {
  if (bytes[0] !== MAGIC[0] || bytes.length < SIZE) return undefined
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined
  if (bytes[MAGIC.length] !== FORMAT) return undefined
  return { version: bytes.readUInt32BE(MAGIC.length + 1), rest: bytes.subarray(SIZE) }
}

/** Which version a ciphertext says it is of; 1 without a header. */
export function versionOf(bytes: Buffer): number {
  return splitHeader(bytes)?.version ?? 1
}
