/**
 * Keystore in a local directory: one file per key, named after the key, as the Go server keeps them.
 * Safe against crashes and for several processes on one host; not meant for network file systems.
 */

import { randomUUID } from 'node:crypto'
import { mkdir, opendir, readdir, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'

import * as v from 'valibot'

import { createFile, syncDirectory } from '../durable.ts'
import { KesError } from '../errors.ts'
import { isEntryName, type Listing, type Page, pageOfSorted } from '../names.ts'
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
    try {
      // Whether it may be read; what it holds is nothing that a start waits for.
      await (await opendir(path)).close()
    } catch (error) {
      throw translate(error)
    }
    return new DirectoryStore(path)
  },
})

/** What the names of files begin with that are being written. */
export const DRAFT = '-tmp-'
const DRAFT_MAX_AGE = 3_600_000
/** Milliseconds until old ones are looked for: a start has better things to do, and commands have ended by then. */
export const TIDY_AFTER = 30_000
/** Milliseconds after which no file system gives the same time again. */
const SETTLED = 3000

class DirectoryStore implements KeyStore {
  readonly #directory: string
  readonly #closed = new AbortController()
  #known: { readonly version: string; readonly names: readonly string[] } | undefined

  constructor(directory: string) {
    this.#directory = directory
    const { signal } = this.#closed
    const tidying = setTimeout(() => void removeOldDrafts(directory, signal), TIDY_AFTER).unref()
    signal.addEventListener('abort', () => clearTimeout(tidying))
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
      await createFile(this.#file(name), value, draft)
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
      await syncDirectory(this.#directory)
    } catch (error) {
      throw await this.#missing(error)
    }
  }

  async list(listing: Listing, limit: number): Promise<Page> {
    try {
      return pageOfSorted(await this.#names(), listing, limit)
    } catch (error) {
      throw translate(error)
    }
  }

  /** All of them, sorted; read anew only when the directory has changed: a listing of many keys asks for many pages. */
  async #names(): Promise<readonly string[]> {
    // Also of permissions, and of another directory in its place. Looked at first: what changes meanwhile is seen the next time.
    const { ctimeNs, ino } = await stat(this.#directory, { bigint: true })
    const version = `${ino} ${ctimeNs}`
    if (this.#known?.version === version) return this.#known.names
    const entries = await readdir(this.#directory, { withFileTypes: true })
    const names: string[] = []
    for (const entry of entries) {
      if (isEntryName(entry.name) && !entry.isDirectory() && !entry.name.startsWith(DRAFT)) {
        names.push(entry.name)
      }
    }
    names.sort()
    // A change in the same moment of the file system's clock would not be seen.
    const isSettled = Date.now() - Number(ctimeNs / 1_000_000n) > SETTLED
    this.#known = isSettled ? { version, names } : undefined
    return names
  }

  async close(): Promise<void> {
    this.#closed.abort()
  }

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
}

/**
 * Drafts of processes that crashed. Their age tells, since process ids mean nothing across containers. It looks at all
 * names, a few at a time: those of a hundred thousand keys at once would hold up requests.
 */
async function removeOldDrafts(directory: string, stop: AbortSignal): Promise<void> {
  try {
    for await (const { name } of await opendir(directory)) {
      if (stop.aborted) return
      if (name.startsWith(DRAFT)) await removeIfOld(join(directory, name))
    }
  } catch {
    // Nobody waits for it, and requests tell what is wrong with the directory. The next server tries again.
  }
}

async function removeIfOld(path: string): Promise<void> {
  try {
    if (Date.now() - (await stat(path)).mtimeMs > DRAFT_MAX_AGE) await unlink(path)
  } catch (error) {
    // Another server may be tidying up, too.
    if (!isErrno(error, 'ENOENT')) throw error
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
