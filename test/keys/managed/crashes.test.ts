/** Case 60: kill -9 before every step on the disk leaves the old state or the new one, and nothing torn. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { KesError } from '#src/errors.js'
import { openMasterKey } from '#src/keys/managed/master-key.js'
import { loadState, saveState } from '#src/keys/managed/state-file.js'
import type { Key } from '#src/keys/key.js'
import type { KeyService } from '#src/keys/service.js'
import { bytes, PATIENT } from '../../support/bytes.ts'
import {
  type CrashWork,
  localKeys,
  MASTER_KEY,
  ownKeys,
  savedState,
  statePath,
} from '../../support/crashes.ts'
import { tempDir } from '../../support/server.ts'

const CHILD = fileURLToPath(new URL('../../support/crash-child.js', import.meta.url))
const MAX_STEPS = 40
const NO_CONTEXT = bytes('')

/**
 * Does it with a child that is killed before its first step, its second, and so on, until one comes to its end.
 *
 * @param check what must hold afterwards. @param isDone the child came to its end
 */
async function everyStep(
  t: TestContext,
  work: CrashWork,
  prepare: (directory: string) => Promise<void>,
  check: (directory: string, isDone: boolean) => Promise<void>,
): Promise<void> {
  for (let step = 1; step <= MAX_STEPS; step++) {
    const directory = tempDir(t)
    await prepare(directory)
    const child = spawn(process.execPath, [CHILD, work, directory, String(step)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    t.after(() => child.kill('SIGKILL'))
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    const isDone = code === 0
    assert.ok(isDone || signal === 'SIGKILL', `${work}, step ${step}: ${code} ${signal}`)
    await check(directory, isDone)
    if (!isDone) continue
    t.diagnostic(`${work}: ${step - 1} steps`)
    assert.ok(step > 4, 'it was killed in between')
    return
  }
  assert.fail('it does not end')
}

/** What the key `old` sealed, by the directory it is in. */
const sealed = new Map<string, Buffer>()

async function withOldKey(directory: string): Promise<void> {
  const keys = await localKeys(directory)
  const { key } = await made(keys, 'old')
  sealed.set(directory, key.encrypt(bytes('text'), NO_CONTEXT))
  await keys.close()
}

async function made(keys: KeyService, name: string): Promise<{ key: Key }> {
  await keys.create(name, '', PATIENT)
  return { key: await keys.get(name, PATIENT) }
}

/** The key, or undefined when there is none; anything else is trouble. */
async function found(keys: KeyService, name: string): Promise<Key | undefined> {
  try {
    return await keys.get(name, PATIENT)
  } catch (error) {
    if (error instanceof KesError && error.code === 'KEY_NOT_FOUND') return undefined
    throw error
  }
}

function opens(key: Key | undefined, directory: string): boolean {
  const text = key?.decrypt(sealed.get(directory) ?? Buffer.alloc(0), NO_CONTEXT)
  return text?.toString() === 'text'
}

test('60: a key that is being created is there and whole, or not there', async (t) => {
  await everyStep(t, 'create', withOldKey, async (directory, isDone) => {
    const keys = await localKeys(directory)
    t.after(() => keys.close())
    assert.ok(opens(await found(keys, 'old'), directory))
    const key = await found(keys, 'new')
    if (isDone) assert.ok(key)
    if (key !== undefined) key.decrypt(key.dataKey(NO_CONTEXT).ciphertext, NO_CONTEXT)
    // Whatever was left behind is in nobody's way.
    else await keys.create('new', '', PATIENT)
    const { names } = await keys.list({ prefix: '', from: '' }, PATIENT)
    assert.deepEqual(names, ['new', 'old'])
  })
})

test('60: a key that is being rotated has one version or two, and opens what it sealed', async (t) => {
  await everyStep(t, 'rotate', withOldKey, async (directory, isDone) => {
    const keys = await localKeys(directory)
    t.after(() => keys.close())
    const key = await found(keys, 'old')
    assert.ok(opens(key, directory))
    assert.ok(key?.version === 2 || (!isDone && key?.version === 1), String(key?.version))
    const { version } = await keys.rotate('old', '', PATIENT)
    assert.equal(version, (key?.version ?? 0) + 1)
  })
})

test('60: a key that is being deleted is there and whole, or gone', async (t) => {
  const rotated = async (directory: string): Promise<void> => {
    await withOldKey(directory)
    const keys = await localKeys(directory)
    await keys.rotate('old', '', PATIENT)
    await keys.close()
  }
  await everyStep(t, 'delete', rotated, async (directory, isDone) => {
    const keys = await localKeys(directory)
    t.after(() => keys.close())
    const key = await found(keys, 'old')
    if (isDone) assert.equal(key, undefined)
    if (key !== undefined) assert.ok(opens(key, directory))
    else assert.equal((await made(keys, 'old')).key.version, 1)
  })
})

test('60: a salt that is being made is there and whole, or made anew', async (t) => {
  const nothing = async (): Promise<void> => {}
  await everyStep(t, 'salt', nothing, async (directory, isDone) => {
    const path = join(directory, 'salt')
    const isThere = existsSync(join(path, '.master-key.salt'))
    if (isDone) assert.ok(isThere)
    // One that is there must be whole: as with keys, it is not made anew.
    await openMasterKey(path, MASTER_KEY, async () => !isThere)
  })
})

test('60: a state that is being saved is the old one or the new one', async (t) => {
  const saved = async (directory: string): Promise<void> => {
    const keys = await ownKeys(directory)
    await saveState(statePath(directory), keys, savedState('old'), PATIENT)
    await keys.close()
  }
  await everyStep(t, 'state', saved, async (directory, isDone) => {
    const keys = await ownKeys(directory)
    t.after(() => keys.close())
    const state = await loadState(statePath(directory), keys, PATIENT)
    const id = state?.configuration.settings.defaultKeyId
    assert.ok(id === 'new' || (!isDone && id === 'old'), id)
    await saveState(statePath(directory), keys, savedState('next'), PATIENT)
  })
})

test('60: a first state that is being saved is there or not', async (t) => {
  const nothing = async (): Promise<void> => {}
  await everyStep(t, 'state', nothing, async (directory, isDone) => {
    const keys = await ownKeys(directory)
    t.after(() => keys.close())
    const state = await loadState(statePath(directory), keys, PATIENT)
    if (isDone || state !== undefined)
      assert.equal(state?.configuration.settings.defaultKeyId, 'new')
    await saveState(statePath(directory), keys, savedState('next'), PATIENT)
  })
})
