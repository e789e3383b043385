/**
 * Base64 between bytes and bytes, for megabytes of it. Node converts only to and from strings, and one large string
 * costs more than many of a size that the young heap takes; `decodeBase64` (json.ts) is the plain way.
 */

/** Bytes that are converted at a time; a multiple of 3, so that only the last piece is padded. */
const PIECE = 49_152
const ENCODED_PIECE = (PIECE / 3) * 4
const [EQUALS, MINUS, UNDERSCORE] = [0x3d, 0x2d, 0x5f]

/**
 * Reads padded standard base64 without line breaks from `start` to `end`, which is not empty. The bytes take the place of what
 * they are read from: a second megabyte would cost as much as its decoding.
 *
 * @returns a view; undefined for everything else, which stays as it was
 */
export function decodeInPlace(source: Buffer, start: number, end: number): Buffer | undefined {
  if ((end - start) % 4 !== 0) return undefined
  const text = source.subarray(start, end)
  // Node takes base64url's characters, too. What else is no base64 it leaves out, so that too little is written then.
  if (text.includes(MINUS) || text.includes(UNDERSCORE)) return undefined
  const padding = source[end - 1] !== EQUALS ? 0 : source[end - 2] !== EQUALS ? 1 : 2
  let at = start
  for (let from = start; from < end; from += ENCODED_PIECE) {
    const to = Math.min(from + ENCODED_PIECE, end)
    const piece = source.toString('latin1', from, to)
    const length = ((to - from) / 4) * 3 - (to < end ? 0 : padding)
    if (source.write(piece, at, 'base64') !== length) {
      source.write(piece, from, 'latin1')
      encodeInPlace(source, start, at)
      return undefined
    }
    at += length
  }
  return source.subarray(start, at)
}

/** What `decodeInPlace` has overwritten, but for the last four characters where they were padded. */
export function encodeInPlace(source: Buffer, start: number, end: number): void {
  source.write(source.toString('base64', start, end), start, 'latin1')
}

/** How long the base64 of so many bytes is. */
export function base64Length(length: number): number {
  return Math.ceil(length / 3) * 4
}

/** Padded standard base64 of all parts together. @returns where it ended */
export function writeBase64(target: Buffer, at: number, parts: Iterable<Buffer>): number {
  let rest: Buffer = Buffer.alloc(0)
  for (const part of parts) {
    const bytes = rest.length === 0 ? part : Buffer.concat([rest, part])
    const whole = bytes.length - (bytes.length % 3)
    for (let from = 0; from < whole; from += PIECE) {
      const piece = bytes.toString('base64', from, Math.min(from + PIECE, whole))
      at += target.write(piece, at, 'latin1')
    }
    rest = bytes.subarray(whole)
  }
  return at + target.write(rest.toString('base64'), at, 'latin1')
}
