/**
 * Base64 between bytes and bytes, for megabytes of it. Node converts only to and from strings, and one large string
 * costs more than many of a size that the young heap takes; `decodeBase64` (json.ts) is the plain way.
 */

/** Bytes that are encoded at a time; a multiple of 3, so that only the last piece is padded. */
const PIECE = 24_576
const ENCODED_PIECE = (PIECE / 3) * 4
const [EQUALS, MINUS, UNDERSCORE] = [0x3d, 0x2d, 0x5f]

/** Padded standard base64 without line breaks, from `start` to `end`, which is not empty; undefined for everything else. */
export function readBase64(source: Buffer, start: number, end: number): Buffer | undefined {
  const length = end - start
  if (length % 4 !== 0) return undefined
  const padding = source[end - 1] !== EQUALS ? 0 : source[end - 2] !== EQUALS ? 1 : 2
  const bytes = Buffer.allocUnsafe((length / 4) * 3 - padding)
  let at = 0
  for (let from = start; from < end; from += ENCODED_PIECE) {
    const piece = source.toString('latin1', from, Math.min(from + ENCODED_PIECE, end))
    at += bytes.write(piece, at, 'base64')
  }
  // Node leaves out what is no base64, so that too little is written then; but it takes base64url's characters, too.
  if (at !== bytes.length) return undefined
  const text = source.subarray(start, end)
  return text.includes(MINUS) || text.includes(UNDERSCORE) ? undefined : bytes
}

/** How long the base64 of so many bytes is. */
export function base64Length(length: number): number {
  return Math.ceil(length / 3) * 4
}

/** Padded standard base64. @returns where it ended */
export function writeBase64(target: Buffer, at: number, bytes: Buffer): number {
  for (let from = 0; from < bytes.length; from += PIECE) {
    at += target.write(bytes.toString('base64', from, from + PIECE), at, 'latin1')
  }
  return at
}
