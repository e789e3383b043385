/** The backend `local`: a directory of its own, as the keystore fs keeps it, with values sealed under a master key. */

import { lstat, mkdir, realpath } from 'node:fs/promises'

import { fs } from '../../keystore/fs.ts'
import type { KeyStore } from '../../keystore/keystore.ts'
import { FIRST_ENTRY_NAME } from '../../names.ts'
import { BackendError } from './backend-error.ts'
import { openMasterKey } from './master-key.ts'
import { realPlace } from './places.ts'
import { SealedStore } from './sealed-store.ts'
import type { LocalSettings } from './settings.ts'

const OTHERS_MAY_WRITE = 0o022

/**
 * Makes the directory if it is not there; one that is there stays as it is.
 *
 * @throws KeyStoreError
 */
export async function openLocal(
  { keyDir, masterKey }: LocalSettings,
  signal: AbortSignal,
): Promise<KeyStore> {
  const directory = await prepareDirectory(keyDir)
  const store = await fs.open({ path: directory }, signal)
  const isEmpty = async (): Promise<boolean> => {
    const listing = { prefix: '', from: FIRST_ENTRY_NAME }
    return (await store.list(listing, 1, signal)).names.length === 0
  }
  return new SealedStore(store, await openMasterKey(directory, masterKey, isEmpty))
}

async function prepareDirectory(path: string): Promise<string> {
  // What the limits have looked at; a link that somebody puts there now is not followed.
  const place = await realPlace(path).catch(fail)
  await mkdir(place, { recursive: true, mode: 0o700 }).catch(fail)
  const found = await lstat(place)
  if (!found.isDirectory() || (await realpath(place)) !== place)
    throw new BackendError('key_dir is not a directory')
  if ((found.mode & OTHERS_MAY_WRITE) !== 0)
    throw new BackendError(
      'key_dir may be written by other users: take that right away (chmod go-w)',
    )
  return place
}

function fail(error: unknown): never {
  const { code = 'unknown' } = error as NodeJS.ErrnoException
  throw new BackendError(`key_dir cannot be made (${code})`, { cause: error })
}
