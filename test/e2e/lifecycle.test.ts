/** A process that is killed in the middle of a change leaves a key that is whole: as it was, as it was to be, or gone. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type TestContext, test } from 'node:test'

import type { KesError } from '#src/errors.js'
import type { Key } from '#src/keys/key.js'
import { KeyService } from '#src/keys/service.js'
import { fs } from '#src/keystore/fs.js'
import { bytes, PATIENT, SIGNAL } from '../support/bytes.ts'
import type { LIFE_STEPS } from '../support/lifecycle.ts'
import { tempDir } from '../support/server.ts'

type StepName = keyof typeof LIFE_STEPS

const NONE = Buffer.alloc(0)

async function service(t: Pick<TestContext, 'after'>, path: string): Promise<KeyService> {
  const store = await fs.open({ path }, SIGNAL)
  const keys = new KeyService(store, { any: 1, unused: 1, offline: 0, changes: 0 })
  t.after(() => keys.close())
  return keys
}

/** Whether it was killed; false when the step has fewer writes. */
async function die(
  t: TestContext,
  path: string,
  step: StepName,
  nth: number,
  side: string,
): Promise<boolean> {
  const script = fileURLToPath(new URL('../support/lifecycle-child.js', import.meta.url))
  const child = spawn(process.execPath, [script, path, step, String(nth), side], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  assert.ok(code === 0 || signal === 'SIGKILL', `${code} ${signal}`)
  return signal === 'SIGKILL'
}

interface Case {
  readonly step: StepName
  /** Makes the key as it is before. */
  readonly given: (keys: KeyService) => Promise<unknown>
  /** What the key may be afterwards; undefined: it is gone. */
  readonly allowed: (key: Key | undefined) => boolean
}

const create = (keys: KeyService): Promise<Key> => keys.create('a', '', PATIENT)

const CASES: readonly Case[] = [
  {
    step: 'rotate',
    given: async (keys) => {
      await create(keys)
      await keys.rotate('a', '', PATIENT)
    },
    allowed: (key) => key?.version === 2 || key?.version === 3,
  },
  {
    step: 'restore',
    given: async (keys) => {
      await create(keys)
      await keys.disable('a', '', { denyDecrypt: false }, PATIENT)
      await keys.schedule('a', '', 7, PATIENT)
    },
    allowed: (key) => key?.state === 'pending-deletion' || key?.state === 'disabled',
  },
  {
    step: 'delete',
    given: async (keys) => {
      await create(keys)
      for (let i = 0; i < 3; i++) await keys.rotate('a', '', PATIENT)
    },
    allowed: (key) => key === undefined || key.version === 4,
  },
  {
    step: 'create',
    given: async () => {},
    allowed: (key) => key === undefined || (key.description === 'text' && key.tags.size === 1),
  },
  {
    step: 'destroy',
    given: async (keys) => {
      await create(keys)
      await keys.rotate('a', '', PATIENT)
      await keys.schedule('a', '', 7, PATIENT)
    },
    allowed: (key) => key === undefined || key.state === 'pending-deletion',
  },
]

for (const { step, given, allowed } of CASES) {
  test(`after kill -9 at every write of ${step} the key is whole`, async (t) => {
    let deaths = 0
    for (let nth = 1, isKilled = true; isKilled; nth++) {
      for (const side of ['before', 'after']) {
        const path = tempDir(t)
        const keys = await service(t, path)
        await given(keys)
        const sealed = await seal(keys)
        isKilled = await die(t, path, step, nth, side)
        if (!isKilled) break
        deaths++
        const where = `${side} write ${nth}`
        const key = await find(await service(t, path))
        assert.ok(allowed(key), `${where}: ${key?.state} ${key?.version}`)
        if (key === undefined) await assertReusable(t, path, where)
        else if (sealed !== undefined)
          assert.equal(key.decrypt(sealed, NONE).toString(), 'text', where)
      }
    }
    assert.ok(deaths >= 2, `${deaths}`)
  })
}

/** A ciphertext of the key as it is; undefined when there is none, or none can be made. */
async function seal(keys: KeyService): Promise<Buffer | undefined> {
  const key = await find(keys)
  return key?.state === 'enabled' ? key.encrypt(bytes('text'), NONE) : undefined
}

async function find(keys: KeyService): Promise<Key | undefined> {
  try {
    return await keys.get('a', PATIENT)
  } catch (error) {
    assert.equal((error as KesError).code, 'KEY_NOT_FOUND')
    return undefined
  }
}

/** The name can be used again, for a key that has nothing of the one before, if the claim on that is given up. */
async function assertReusable(t: TestContext, path: string, where: string): Promise<void> {
  // One that is being destroyed still has its entry, for whoever ends it.
  if (readdirSync(path).includes('a')) return
  const keys = await service(t, path)
  await create(keys)
  assert.equal((await keys.get('a', PATIENT)).isPlain, true, where)
}
