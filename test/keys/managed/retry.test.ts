import assert from 'node:assert/strict'
import { test } from 'node:test'

import { KesError } from '#src/errors.js'
import { BackendError } from '#src/keys/managed/backend-error.js'
import { pauseAfter } from '#src/keys/managed/retry.js'
import { KeyStoreError } from '#src/keystore/keystore.js'

function pauses(error: Error, times: number): (number | undefined)[] {
  return Array.from({ length: times }, (_, failures) => pauseAfter(error, failures))
}

function failed(cause: Error): KesError {
  return new KesError('BACKEND_FAILED', { cause })
}

test('a backend that is out of reach is tried within half a minute, however long it lasts', () => {
  const causes = [
    new KeyStoreError('unreachable', ''),
    new KeyStoreError('failed', ''),
    new Error(),
  ]
  for (const cause of causes) {
    const expected = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
    assert.deepEqual(pauses(failed(cause), 7), expected)
    assert.equal(pauseAfter(failed(cause), 10_000), 30_000)
  }
})

test('credentials that are refused are not sent so often that a Vault locks out their owner', () => {
  const all = pauses(failed(new KeyStoreError('denied', '')), 50) as number[]
  let inARow = 1
  for (const pause of all) {
    // Vault forgets failures after 15 minutes without one.
    inARow = pause > 15 * 60_000 ? 1 : inARow + 1
    assert.ok(inARow < 5)
  }
  assert.ok((all[0] ?? 0) <= 10_000)
})

test('what somebody has to mend first is not tried again', () => {
  assert.equal(pauseAfter(failed(new BackendError('the salt is missing')), 0), undefined)
  assert.equal(pauseAfter(new KesError('BAD_REQUEST'), 0), undefined)
})
