import assert from 'node:assert/strict'
import { test } from 'node:test'

import { enclavePrefix, EnclaveStore } from '#src/keys/enclave-store.js'
import { inOrder, kindOf } from '#src/keys/migrate/entries.js'
import { bytes } from '../../support/bytes.ts'
import { FakeStore } from '../../support/store.ts'

const OWNER = '0123abcd'

/** The name of the entry that an enclave keeps under a name of its own. */
async function inEnclave(name: string): Promise<string> {
  const store = new FakeStore()
  await new EnclaveStore(store, enclavePrefix('tenant')).create(
    name,
    bytes('x'),
    AbortSignal.abort(),
  )
  return [...store.entries.keys()][0] ?? assert.fail('nothing was made')
}

test('keys are those of the server and of its enclaves', async () => {
  assert.equal(kindOf('my-key'), 'key')
  assert.equal(kindOf(await inEnclave('my-key')), 'key')
})

test('an enclave, a mark of its deletion and a change of a key are told apart', async () => {
  assert.equal(kindOf('-enclave-tenant'), 'enclave')
  assert.equal(kindOf('-deleted-enclave-tenant'), 'mark')
  assert.equal(kindOf('-openkes-state'), 'mark')
  assert.equal(kindOf(`-12-${OWNER}-my-key`), 'record')
  assert.equal(kindOf(await inEnclave(`-12-${OWNER}-my-key`)), 'record')
})

test('what no server could have made is a stranger', () => {
  for (const name of ['_', 'ends-', 'a'.repeat(81)]) assert.equal(kindOf(name), 'stranger', name)
})

test('marks come before keys, and enclaves behind them; changes come with their keys', async () => {
  const inner = await inEnclave('k')
  const names = ['-enclave-a', `-1-${OWNER}-k`, 'k', '-deleted-enclave-b', inner, 'ends-']
  assert.deepEqual(
    inOrder(names.sort()).filter((batch) => batch.length > 0),
    [['-deleted-enclave-b'], [inner, 'k'].sort(), ['ends-'], ['-enclave-a']],
  )
})
