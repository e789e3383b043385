/** For assert.rejects and assert.throws: trouble with a keystore, of this kind, said like this. */

import assert from 'node:assert/strict'

import { KeyStoreError, type KeyStoreFailure } from '#src/keystore/keystore.js'

export function failure(kind: KeyStoreFailure, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof KeyStoreError, String(error))
    assert.match(error.message, message)
    assert.equal(error.failure, kind, error.message)
    return true
  }
}
