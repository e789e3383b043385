/** Paths that somebody else may choose, but only below a directory that the operator has chosen. */

import { realpath } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'

/** Where a path leads when every symbolic link in it is followed; what is not there yet stays as it is. */
export async function realPlace(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    const parent = dirname(path)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
    return join(await realPlace(parent), basename(path))
  }
}

/** Whether a real path lies below another one; nothing lies below itself. */
export function isBelow(path: string, root: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep)
}
