/** Files that are there whole or not at all, also after a crash or a power failure. For the owner alone: mode 0600. */

import { link, open, readFile, rename, rm, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/** @param draft path in the same directory, of no file. @throws EEXIST when there is such a file, which stays as it is */
export async function createFile(path: string, bytes: Uint8Array, draft: string): Promise<void> {
  await write(draft, bytes)
  try {
    // link() refuses an existing target, so a reader never sees half a file.
    await link(draft, path)
  } finally {
    await unlink(draft)
  }
  await syncDirectory(dirname(path))
}

/** @param draft path in the same directory; what a crash has left there is removed */
export async function replaceFile(path: string, bytes: Uint8Array, draft: string): Promise<void> {
  await rm(draft, { force: true })
  await write(draft, bytes)
  await rename(draft, path)
  await syncDirectory(dirname(path))
}

/** Undefined when there is no such file. @throws the errors of readFile(2) */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Makes a new or removed name survive a power failure. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } catch (error) {
    // A full disk must not keep half a draft.
    await unlink(path)
    throw error
  } finally {
    await file.close()
  }
}
