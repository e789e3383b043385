/** A request's target (RFC 9112, 3.2): its path, and the path as text. */

import { KesError } from '../errors.ts'

/** A target in absolute form, which a server must take (RFC 9112, 3.2.2), without scheme and authority. */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return path === '' ? '/' : path
}

/**
 * Percent-decoding into text; bytes that are no UTF-8 become U+FFFD, as names they are refused anyway.
 *
 * @throws KesError BAD_REQUEST
 */
export function decodePath(path: string): string {
  if (!path.includes('%')) return path
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) {
    throw new KesError('BAD_REQUEST', { message: 'the path has an incomplete percent-encoding' })
  }
  const bytes = path.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString()
}
