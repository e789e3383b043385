import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memory } from '#src/keystore/memory.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { keyStoreContract } from './contract.ts'

keyStoreContract('memory', async (t) => {
  const store = await memory.open({}, SIGNAL)
  t.after(() => store.close())
  return store
})

test('two stores in memory know nothing of each other', async () => {
  const [one, two] = [await memory.open({}, SIGNAL), await memory.open({}, SIGNAL)]
  await one.create('my-key', bytes('value'), SIGNAL)
  await assert.rejects(two.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
})
