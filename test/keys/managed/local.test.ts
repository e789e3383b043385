/** Keys in a directory, sealed under a master key (W3, W10, W16): what cannot be opened is never taken for missing. */

import assert from 'node:assert/strict'
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { type TestContext, test } from 'node:test'

import { Secret as SealingSecret } from '#src/crypto/aead.js'
import { Secret } from '#src/fields.js'
import { openBackend } from '#src/keys/managed/backend.js'
import { SealedStore } from '#src/keys/managed/sealed-store.js'
import type { KmsSettings } from '#src/keys/managed/settings.js'
import type { KeyService } from '#src/keys/service.js'
import { fs } from '#src/keystore/fs.js'
import { memory } from '#src/keystore/memory.js'
import { keyStoreContract } from '../../keystore/contract.ts'
import { bytes, flipBit, PATIENT, SIGNAL } from '../../support/bytes.ts'
import { tempDir } from '../../support/server.ts'

const KEY = Buffer.alloc(32, 5)

keyStoreContract(
  'sealed',
  async (t) => {
    const store = await fs.open({ path: tempDir(t) }, SIGNAL)
    return new SealedStore(store, new SealingSecret('AES256', KEY))
  },
  { givesUp: false },
)

test('a sealed value opens under its own name only, and whole', async () => {
  const inner = await memory.open({}, SIGNAL)
  const store = new SealedStore(inner, new SealingSecret('AES256', KEY))
  await store.create('a', bytes('secret value'), SIGNAL)
  const stored = Buffer.from(await inner.get('a', SIGNAL))
  assert.match(stored.toString(), /^openkes-sealed:v1:[A-Za-z0-9+/]+=*$/)
  assert.equal(stored.includes('secret'), false)
  await inner.create('b', stored, SIGNAL)
  const damaged = { name: 'DamagedKeyError', message: /was not sealed under the master key/ }
  await assert.rejects(store.get('b', SIGNAL), damaged)
  for (const [name, value] of [
    ['plain', bytes('secret value')],
    ['short', bytes('openkes-sealed:v1:AAAA')],
    ['cut', stored.subarray(0, -4)],
    ['flipped', flipBit(stored, 30 * 8)],
  ] as const) {
    await inner.create(name, value, SIGNAL)
    await assert.rejects(store.get(name, SIGNAL), damaged)
  }
  const other = new SealedStore(inner, new SealingSecret('AES256', Buffer.alloc(32, 6)))
  await assert.rejects(other.get('a', SIGNAL), damaged)
  await assert.rejects(store.get('missing', SIGNAL), { code: 'KEY_NOT_FOUND' })
})

function settings(keyDir: string, masterKey = 'a master key'): KmsSettings {
  return {
    defaultKeyId: undefined,
    timeout: 300,
    tries: 1,
    cache: undefined,
    backend: { kind: 'local', keyDir, masterKey: new Secret(masterKey) },
  }
}

async function open(t: TestContext, of: KmsSettings): Promise<KeyService> {
  const { keys } = await openBackend(
    of,
    { ca: '', secretFiles: undefined, log: { write: () => {} } },
    SIGNAL,
  )
  assert.ok(keys)
  t.after(() => keys.close())
  return keys
}

test('a directory: its salt, its files, another master key, a missing salt, damage', async (t) => {
  const directory = join(tempDir(t), 'keys')
  const keys = await open(t, settings(directory))
  await keys.create('a', 'somebody', PATIENT)
  await keys.create('b', '', PATIENT)
  const sealed = (await keys.get('a', PATIENT)).encrypt(bytes('text'), bytes(''))
  await keys.rotate('a', '', PATIENT)
  for (const name of readdirSync(directory))
    assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name)
  assert.equal(inspect(keys, { depth: 20, showHidden: true }).includes('a master key'), false)

  const again = await open(t, settings(directory))
  const key = await again.get('a', PATIENT)
  assert.equal(key.version, 2)
  assert.equal(key.decrypt(sealed, bytes('')).toString(), 'text')

  await assert.rejects(open(t, settings(directory, 'another')), {
    name: 'KeyStoreError',
    message: /master_key is not the one/,
  })

  const salt = join(directory, '.master-key.salt')
  const saved = readFileSync(salt)
  for (const text of ['', '{}', '{"version":2}', saved.toString().slice(0, -9), '[]', 'null']) {
    writeFileSync(salt, text)
    await assert.rejects(open(t, settings(directory)), { message: /is damaged, or of a later/ })
  }
  rmSync(salt)
  await assert.rejects(open(t, settings(directory)), {
    message: /has keys, but its \.master-key\.salt is missing/,
  })
  assert.equal(readdirSync(directory).includes('.master-key.salt'), false)
  writeFileSync(salt, saved)

  // One bad entry is that key's trouble, not everybody's, and no missing key.
  copyFileSync(join(directory, 'a'), join(directory, 'b'))
  const damaged = await open(t, settings(directory))
  await assert.rejects(async () => damaged.get('b', PATIENT), { code: 'KEYSTORE_READ' })
  await damaged.get('a', PATIENT)
  await assert.rejects(async () => damaged.get('c', PATIENT), { code: 'KEY_NOT_FOUND' })
})

test('two that open a new directory at once agree about its salt', async (t) => {
  const directory = join(tempDir(t), 'keys')
  const [one, two] = await Promise.all([open(t, settings(directory)), open(t, settings(directory))])
  await one.create('a', '', PATIENT)
  const sealed = (await one.get('a', PATIENT)).encrypt(bytes('text'), bytes(''))
  assert.equal((await two.get('a', PATIENT)).decrypt(sealed, bytes('')).toString(), 'text')
})

test('what is no directory, or not ours to write, does not start', async (t) => {
  const directory = tempDir(t)
  const file = join(directory, 'file')
  writeFileSync(file, '')
  await assert.rejects(open(t, settings(file)), {
    message: /key_dir cannot be made|not a directory/,
  })
  await assert.rejects(open(t, settings(join(file, 'below'))), {
    message: /key_dir cannot be made/,
  })
})
