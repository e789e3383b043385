import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { KeyParts } from '#src/keys/key-version.js'
import { Key } from '#src/keys/key.js'
import { disprove } from '#src/keys/migrate/proof.js'
import { disable, rotate, schedule, UNCHANGED } from '#src/keys/snapshot.js'
import { now } from '#src/time.js'
import { decodeKey, entry, jsonEntry, PARTS } from '../../support/keys.ts'

const key = decodeKey(entry())

function keyOf(parts: Partial<KeyParts>): Key {
  return decodeKey(entry(parts))
}

test('a key is as good as itself, also in another stored form', () => {
  assert.equal(disprove(key, keyOf({})), undefined)
  const elsewhere = keyOf({ createdBy: '', createdAt: { seconds: 0, nanos: 0 } })
  assert.equal(disprove(key, elsewhere), undefined)
  assert.equal(disprove(decodeKey(jsonEntry()), keyOf({ hmacKey: undefined })), undefined)
  assert.equal(disprove(keyOf({ cipher: 'ChaCha20' }), keyOf({ cipher: 'ChaCha20' })), undefined)
})

test('another secret or cipher is found out', () => {
  for (const parts of [{ secret: Buffer.alloc(32, 9) }, { cipher: 'ChaCha20' }] as const)
    assert.match(
      disprove(key, keyOf(parts)) ?? '',
      /^the target’s key does not open what the source’s has sealed$/,
    )
})

test('another HMAC key, and a lost one, are found out', () => {
  assert.match(disprove(key, keyOf({ hmacKey: Buffer.alloc(32, 9) })) ?? '', /HMACs .* differ/)
  assert.match(disprove(key, keyOf({ hmacKey: undefined })) ?? '', /target’s key has no HMAC key/)
  assert.match(disprove(decodeKey(jsonEntry()), keyOf({})) ?? '', /source’s key has no HMAC key/)
})

test('every version is looked at, whatever the state, and those that the source lacks are not', () => {
  const two = rotate('', now())(UNCHANGED, PARTS)
  const three = rotate('', now())(two, PARTS)
  const other = rotate('', now())(two, PARTS)
  const closed = schedule(7, now())(disable(true)(three, PARTS), PARTS)
  const of = (snapshot: typeof two): Key => new Key(PARTS, snapshot)
  assert.equal(disprove(of(closed), of(closed)), undefined)
  assert.equal(disprove(of(two), of(three)), undefined)
  assert.match(disprove(of(three), of(two)) ?? '', /^version 3: the target’s key does not have it$/)
  assert.match(disprove(of(three), of(other)) ?? '', /^version 3: .* does not open/)
})
