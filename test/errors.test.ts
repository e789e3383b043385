import assert from 'node:assert/strict'
import { test } from 'node:test'

import { KesError, unless } from '#src/errors.js'

test('an error has the status and the message of its code', () => {
  const error = new KesError('KEY_NOT_FOUND')
  assert.deepEqual([error.status, error.message], [404, 'key does not exist'])
})

test('an error may have a message of its own', () => {
  assert.equal(new KesError('BAD_NAME', { message: 'no name' }).message, 'no name')
})

test('whatever is thrown is an internal error with that as its cause', () => {
  for (const thrown of [new Error('bug: x'), 'text', undefined, null]) {
    const error = KesError.from(thrown)
    assert.deepEqual([error.status, error.message], [500, 'internal server error'])
    assert.equal(error.cause, thrown)
  }
})

test('a KesError stays what it is', () => {
  const error = new KesError('DECRYPT')
  assert.equal(KesError.from(error), error)
})

test('of the errors of a piece of work, one may mean that there is nothing', async () => {
  const absent = new KesError('KEY_NOT_FOUND')
  assert.equal(await unless('KEY_NOT_FOUND', Promise.resolve(1)), 1)
  assert.equal(await unless('KEY_NOT_FOUND', Promise.reject(absent)), undefined)
  for (const other of [new KesError('KEY_EXISTS'), new Error('bug: x')])
    await assert.rejects(unless('KEY_NOT_FOUND', Promise.reject(other)), other)
})
