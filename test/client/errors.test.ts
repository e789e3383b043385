/** From a server's answer to an error. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { errorOfAnswer } from '#src/client/errors.js'
import * as client from '#src/client/index.js'
import { codeOf } from '#src/errors.js'

const URL = 'https://kes:7373'

function of(status: number, body: string, retryAfter?: string): client.KesClientError {
  return errorOfAnswer(URL, status, body, retryAfter)
}

test('an error is recognised by its status and exact message, as the Go SDK does', () => {
  const cases: [number, string, Function, client.ClientErrorCode][] = [
    [404, 'key does not exist', client.KeyNotFoundError, 'KEY_NOT_FOUND'],
    [400, 'key already exists', client.KeyExistsError, 'KEY_EXISTS'],
    [404, 'policy does not exist', client.PolicyNotFoundError, 'POLICY_NOT_FOUND'],
    [404, 'identity does not exist', client.IdentityNotFoundError, 'IDENTITY_NOT_FOUND'],
    [400, 'decryption failed: ciphertext is not authentic', client.DecryptError, 'DECRYPT'],
    [403, 'not authorized: insufficient permissions', client.NotAllowedError, 'NOT_ALLOWED'],
    [409, 'key does not support HMAC', client.RefusedError, 'NO_HMAC'],
    [404, 'key version does not exist', client.VersionNotFoundError, 'VERSION_NOT_FOUND'],
    [409, 'key is disabled', client.KeyDisabledError, 'KEY_DISABLED'],
    [409, 'key is pending deletion', client.KeyPendingError, 'KEY_PENDING'],
    [409, 'key is not pending deletion', client.KeyNotPendingError, 'KEY_NOT_PENDING'],
    [409, 'key was changed concurrently', client.ConflictError, 'CONFLICT'],
    [409, 'too many changes', client.RefusedError, 'TOO_MANY_CHANGES'],
    [501, 'operation not supported by the keystore', client.ServerError, 'UNSUPPORTED'],
    [502, 'failed to change key', client.ServerError, 'KEYSTORE_CHANGE'],
    [
      400,
      "key name 'a b' is empty, too long or contains invalid characters",
      client.RefusedError,
      'BAD_NAME',
    ],
    [
      400,
      "listing pattern 'a*b' is empty, too long or is invalid",
      client.RefusedError,
      'BAD_NAME',
    ],
    [400, 'invalid request body', client.RefusedError, 'BAD_BODY'],
    [400, 'invalid import key request body', client.RefusedError, 'BAD_BODY'],
    [405, "received method 'GET' expected 'PUT'", client.UnknownApiError, 'BAD_METHOD'],
    [406, "algorithm 'x' is not supported", client.RefusedError, 'BAD_CIPHER'],
    [406, "invalid key size for 'AES256'", client.RefusedError, 'BAD_CIPHER'],
    [
      413,
      'request body is too large: the limit is 1048576 bytes',
      client.RefusedError,
      'TOO_LARGE',
    ],
    [502, 'failed to read key', client.ServerError, 'KEYSTORE_READ'],
    [504, 'key store is not reachable', client.ServerError, 'KEYSTORE_UNREACHABLE'],
    [500, 'internal server error', client.ServerError, 'INTERNAL'],
  ]
  for (const [status, message, Class, code] of cases) {
    const error = of(status, `${JSON.stringify({ message }).slice(0, -1)}\n}`)
    assert.equal(error.constructor, Class, message)
    assert.deepEqual(
      [error.name, error.code, error.status, error.endpoint, error.message],
      [Class.name, code, status, URL, message],
    )
  }
})

test('the right words with another status, or other words, are only a refusal or a failure', () => {
  const cases: [number, string, Function, client.ClientErrorCode][] = [
    [400, 'key does not exist', client.RefusedError, 'REFUSED'],
    [404, 'key already exists', client.RefusedError, 'REFUSED'],
    [404, 'Key does not exist', client.RefusedError, 'REFUSED'],
    [403, 'forbidden', client.RefusedError, 'REFUSED'],
    [400, 'decryption failed', client.RefusedError, 'REFUSED'],
    [409, 'key is tired', client.RefusedError, 'REFUSED'],
    [503, 'change committed but not replicated', client.ServerError, 'FAILED'],
    [500, 'failed to read key', client.ServerError, 'FAILED'],
    [429, 'slow down', client.ServerError, 'FAILED'],
  ]
  for (const [status, message, Class, code] of cases) {
    const error = of(status, JSON.stringify({ message }))
    assert.deepEqual([error.constructor, error.code, error.message], [Class, code, message])
  }
})

test('an answer that is no JSON object is an error with its text, cut', () => {
  assert.equal(of(404, '404 page not found\n').code, 'NO_ROUTE')
  assert.equal(of(404, '404 page not found\n').constructor, client.UnknownApiError)
  assert.equal(of(502, '<html>Bad Gateway</html>').message, '<html>Bad Gateway</html>')
  assert.equal(of(502, '').message, 'HTTP status 502')
  assert.equal(of(400, '   \n').message, 'HTTP status 400')
  assert.equal(of(500, 'x'.repeat(100_000)).message.length, 1024)
  for (const body of [
    '[]',
    'null',
    '"key does not exist"',
    '12',
    '{',
    '{"message":12}',
    '{"message":{"a":1}}',
    '{"message":null}',
  ]) {
    assert.equal(of(404, body).constructor, client.RefusedError, body)
    assert.equal(of(404, body).message, body)
  }
  assert.equal(of(500, '{"error":"words of v0.18"}').message, 'words of v0.18')
})

test('403 carries whatever the server tells, and nothing it does not', () => {
  const message = 'not authorized: insufficient permissions'
  const ours = of(
    403,
    JSON.stringify({ message, identity: 'ab', policy: 'p', api: '/v1/x', hint: 'add' }),
  )
  assert.ok(ours instanceof client.NotAllowedError)
  assert.deepEqual([ours.identity, ours.policy, ours.api, ours.hint], ['ab', 'p', '/v1/x', 'add'])
  const without = of(403, JSON.stringify({ message, policy: null }))
  assert.ok(without instanceof client.NotAllowedError && without.policy === null)
  const go = of(403, JSON.stringify({ message }))
  assert.ok(go instanceof client.NotAllowedError)
  assert.deepEqual(
    [go.identity, go.policy, go.api, go.hint],
    Array.from({ length: 4 }, () => undefined),
  )
  const odd = of(403, JSON.stringify({ message, identity: 1, policy: {}, api: [], hint: false }))
  assert.ok(odd instanceof client.NotAllowedError)
  assert.deepEqual(
    [odd.identity, odd.policy, odd.api, odd.hint],
    Array.from({ length: 4 }, () => undefined),
  )
})

test('Retry-After is read as seconds or as a date', () => {
  const wait = (value?: string) => {
    const error = of(503, '', value)
    assert.ok(error instanceof client.ServerError)
    return error.retryAfter
  }
  assert.equal(wait(), undefined)
  assert.equal(wait('0'), 0)
  assert.equal(wait('120'), 120_000)
  const inTenSeconds = wait(new Date(Date.now() + 10_000).toUTCString()) ?? 0
  assert.ok(inTenSeconds > 8000 && inTenSeconds <= 10_000)
  assert.equal(wait('Thu, 01 Jan 1970 00:00:00 GMT'), 0)
  for (const bad of ['', '-1', 'soon', '1.5.5']) assert.equal(wait(bad), undefined, bad)
})

test('every error of the client is a KesClientError', () => {
  const classes = Object.entries(client).filter(([name]) => name.endsWith('Error'))
  assert.ok(classes.length > 10)
  for (const [, Class] of classes) {
    assert.ok(
      Class === client.KesClientError ||
        (Class as { prototype: unknown }).prototype instanceof client.KesClientError,
    )
  }
})

test('the code of an answer is undefined for what no server of ours says', () => {
  assert.equal(codeOf(404, 'key does not exist'), 'KEY_NOT_FOUND')
  assert.equal(codeOf(404, 'key does not exist '), undefined)
  assert.equal(codeOf(200, 'key does not exist'), undefined)
  assert.equal(codeOf(404, ''), undefined)
})
