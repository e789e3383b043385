/** Changes on the disk that crash-child.ts is killed in, and what they are made with. */

import { join } from 'node:path'

import { Secret as SealingSecret } from '#src/crypto/aead.js'
import { configurationOf } from '#src/keys/managed/configuration.js'
import { openMasterKey } from '#src/keys/managed/master-key.js'
import { SealedStore } from '#src/keys/managed/sealed-store.js'
import { Secret } from '#src/fields.js'
import { type SavedState, saveState } from '#src/keys/managed/state-file.js'
import { KeyService } from '#src/keys/service.js'
import { fs } from '#src/keystore/fs.js'
import { PATIENT, SIGNAL } from './bytes.ts'

const EXPIRY = { any: 3_600_000, unused: 3_600_000, offline: 0, changes: 0 }
export const MASTER_KEY = new Secret('master key of the tests')

/** Keys as the backend `local` keeps them, without the time that a master key takes. */
export async function localKeys(directory: string): Promise<KeyService> {
  const store = await fs.open({ path: join(directory, 'local') }, SIGNAL)
  return new KeyService(
    new SealedStore(store, new SealingSecret('AES256', Buffer.alloc(32, 9))),
    EXPIRY,
  )
}

/** The server's own. */
export async function ownKeys(directory: string): Promise<KeyService> {
  return new KeyService(await fs.open({ path: join(directory, 'own') }, SIGNAL), EXPIRY)
}

export const statePath = (directory: string): string => join(directory, 'state')

/** @param id of the default key, by which states are told apart */
export function savedState(id: string): SavedState {
  const said = { default_key_id: id }
  const configuration = configurationOf({ backend: 'keystore', said }, new Set(['default_key_id']))
  return { configuration, isRunning: true, startMark: '' }
}

interface Crash<T> {
  readonly prepare: (directory: string) => Promise<T>
  /** Each of its steps is one at which it may end. */
  readonly change: (subject: T) => Promise<unknown>
}

function crash<T>(definition: Crash<T>): Crash<unknown> {
  return definition as Crash<unknown>
}

export const CRASHES = {
  create: crash({
    prepare: localKeys,
    change: (keys) => keys.create('new', '', PATIENT),
  }),
  rotate: crash({
    prepare: localKeys,
    change: (keys) => keys.rotate('old', '', PATIENT),
  }),
  delete: crash({
    prepare: localKeys,
    change: (keys) => keys.delete('old', PATIENT),
  }),
  salt: crash({
    prepare: async (directory) => {
      await fs.open({ path: join(directory, 'salt') }, SIGNAL)
      return join(directory, 'salt')
    },
    change: (directory) => openMasterKey(directory, MASTER_KEY, async () => true),
  }),
  state: crash({
    prepare: async (directory) => ({ keys: await ownKeys(directory), directory }),
    change: ({ keys, directory }) =>
      saveState(statePath(directory), keys, savedState('new'), PATIENT),
  }),
}

export type CrashWork = keyof typeof CRASHES
