/**
 * Base64 between bytes and bytes, for megabytes of it. Node converts only to and from strings, and one large string in
 * V8's heap costs more than many of a size that the young heap takes; `decodeBase64` (json.ts) is the plain way.
 */

/** Bytes that are converted at a time; a multiple of 3, so that only the last piece is padded. */
const PIECE = 49_152
const ENCODED_PIECE = (PIECE / 3) * 4
/** Characters from which on Node keeps a string outside of V8's heap, and reads it there (EXTERN_APEX in its sources): no pieces then. */
const OUTSIDE = 0xfbee9
const [EQUALS, MINUS, UNDERSCORE] = [0x3d, 0x2d, 0x5f]

/** Padded standard base64 without line breaks, from `start` to `end`, which is not empty; undefined for everything else. */
export function readBase64(source: Buffer, start: number, end: number): Buffer | undefined {
  const length = end - start
  if (length % 4 !== 0) return undefined
  const padding = source[end - 1] !== EQUALS ? 0 : source[end - 2] !== EQUALS ? 1 : 2
  const bytes = Buffer.allocUnsafe((length / 4) * 3 - padding)
  const step = length < OUTSIDE ? ENCODED_PIECE : length
  let at = 0
  for (let from = start; from < end; from += step) {
    const piece = source.toString('latin1', from, Math.min(from + step, end))
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
