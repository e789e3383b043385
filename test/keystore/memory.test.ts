import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memory } from '#src/keystore/memory.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { openStore } from '../support/stores.ts'
import { keyStoreContract } from './contract.ts'

keyStoreContract('memory', (t) => openStore(t, { kind: 'memory', settings: {} }), {
  givesUp: false,
})

test('two stores in memory know nothing of each other', async () => {
  const [one, two] = [await memory.open({}, SIGNAL), await memory.open({}, SIGNAL)]
  await one.create('my-key', bytes('value'), SIGNAL)
  await assert.rejects(two.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
})
