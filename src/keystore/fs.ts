/**
 * Keystore in a local directory: one file per key, named after the key, as the Go server keeps them.
 * Safe against crashes and for several processes on one host; not meant for network file systems.
 */

import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'

import * as v from 'valibot'

import { KesError } from '../errors.ts'
import { isEntryName, type Listing, type Page, pageOf } from '../names.ts'
import { defineKeyStore, type KeyStore, KeyStoreError } from './keystore.ts'

export const fs = defineKeyStore({
  name: 'fs',
  title: 'Local directory, one file per key',
  config: v.strictObject({
    path: v.pipe(
      v.string(),
      v.nonEmpty('a directory is needed'),
      v.description('Directory that holds the key files; created if missing.'),
    ),
  }),
  describe: ({ path }) => path,
  async open({ path }) {
    try {
      // Files are for the owner alone, whatever the directory allows; 0755 is what the Go server makes.
      await mkdir(path, { recursive: true, mode: 0o755 })
    } catch (error) {
      if (isErrno(error, 'EEXIST') || isErrno(error, 'ENOTDIR')) {
        throw new KeyStoreError('failed', `'${path}' is not a directory`, { cause: error })
      }
      throw translate(error)
    }
    await removeOldDrafts(path)
    return new DirectoryStore(path)
  },
})

const DRAFT = '-tmp-'
const DRAFT_MAX_AGE = 3_600_000

class DirectoryStore implements KeyStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async status(): Promise<void> {
    try {
      if (!(await stat(this.#directory)).isDirectory()) {
        throw new KeyStoreError('unreachable', `'${this.#directory}' is not a directory`)
      }
    } catch (error) {
      throw translate(error)
    }
  }

  async create(name: string, value: Uint8Array): Promise<void> {
    const draft = join(this.#directory, `${DRAFT}${process.pid}-${randomUUID()}`)
    try {
      await writeDraft(draft, value)
      try {
        // link() refuses an existing target, so a reader never sees half a key.
        await link(draft, this.#file(name))
      } finally {
        await unlink(draft)
      }
      await this.#syncDirectory()
    } catch (error) {
      throw isErrno(error, 'EEXIST')
        ? new KesError('KEY_EXISTS', { cause: error })
        : translate(error)
    }
  }

  async get(name: string): Promise<Uint8Array> {
    try {
      return await readFile(this.#file(name))
    } catch (error) {
      throw await this.#missing(error)
    }
  }

  async delete(name: string): Promise<void> {
    try {
      await unlink(this.#file(name))
      await this.#syncDirectory()
    } catch (error) {
      throw await this.#missing(error)
    }
  }

  async list(listing: Listing, limit: number): Promise<Page> {
    try {
      const entries = await readdir(this.#directory, { withFileTypes: true })
      const names: string[] = []
      for (const entry of entries) {
        if (isEntryName(entry.name) && !entry.isDirectory() && !entry.name.startsWith(DRAFT)) {
          names.push(entry.name)
        }
      }
      return pageOf(names, listing, limit)
    } catch (error) {
      throw translate(error)
    }
  }

  async close(): Promise<void> {}

  /** A file that is not there is a missing key only while the directory is there. */
  async #missing(error: unknown): Promise<Error> {
    if (!isErrno(error, 'ENOENT')) return translate(error)
    await this.status()
    return new KesError('KEY_NOT_FOUND', { cause: error })
  }

  #file(name: string): string {
    if (!isEntryName(name)) throw new Error('bug: a key name that is no file name')
    return join(this.#directory, name)
  }

  /** Makes a new or removed name survive a power failure. */
  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#directory, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }
}

async function writeDraft(path: string, value: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(value)
    await file.sync()
  } catch (error) {
    // A full disk must not keep half a draft.
    await unlink(path)
    throw error
  } finally {
    await file.close()
  }
}

/** A draft of a process that crashed. Its age tells, since process ids mean nothing across containers. */
async function removeOldDrafts(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(DRAFT)) continue
    const path = join(directory, name)
    try {
      if (Date.now() - (await stat(path)).mtimeMs > DRAFT_MAX_AGE) await unlink(path)
    } catch (error) {
      // Another server may be tidying up, too.
      if (!isErrno(error, 'ENOENT')) throw translate(error)
    }
  }
}

function translate(error: unknown): Error {
  if (error instanceof KeyStoreError || error instanceof KesError || !isErrno(error))
    return error as Error
  const failure =
    error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS'
      ? 'denied'
      : error.code === 'ENOENT' || error.code === 'EIO' || error.code === 'ESTALE'
        ? 'unreachable'
        : 'failed'
  return new KeyStoreError(failure, error.message, { cause: error })
}

function isErrno(error: unknown, code?: string): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && (code === undefined || error.code === code)
}
