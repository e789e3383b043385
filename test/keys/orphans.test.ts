import assert from 'node:assert/strict'
import { test } from 'node:test'

import { findRecords } from '#src/keys/orphans.js'
import { PATIENCE, PatientStore } from '#src/keys/patient.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { entry, makeChanged, recordsOf, ROTATE } from '../support/keys.ts'
import { WatchedStore } from '../support/store.ts'

test('no value is left in memory, whatever is wrong with the records', async () => {
  const store = new WatchedStore()
  await makeChanged(store, 'whole', [ROTATE])
  await makeChanged(store, 'damaged', [ROTATE])
  for (const name of recordsOf('damaged', 1)) store.entries.set(name, bytes('no record'))
  await makeChanged(store, 'replaced', [ROTATE])
  store.entries.set('replaced', entry({ secret: Buffer.alloc(32, 9) }))
  store.given.length = 0
  const found = await findRecords(new PatientStore(store, 'keystore', PATIENCE), SIGNAL)
  assert.deepEqual(
    found.orphans.map(({ name }) => name),
    recordsOf('replaced', 1),
  )
  assert.deepEqual(
    found.broken.map(({ name }) => name),
    ['damaged'],
  )
  assert.equal(found.keys, 2)
  assert.equal(store.given.length, 5)
  for (const value of store.given) assert.ok(value.every((byte) => byte === 0))
})
