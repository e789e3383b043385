import assert from 'node:assert/strict'
import { test } from 'node:test'

import { decodeKey } from '#src/keys/codec.js'
import { disprove } from '#src/keys/migrate/proof.js'
import { bytes } from '../../support/bytes.ts'
import { entry, jsonEntry, PARTS } from '../../support/keys.ts'

const key = decodeKey(entry())

test('a key is as good as itself, also in another stored form', () => {
  assert.equal(disprove(key, entry()), undefined)
  assert.equal(
    disprove(key, entry({ createdBy: '', createdAt: { seconds: 0, nanos: 0 } })),
    undefined,
  )
  assert.equal(disprove(decodeKey(jsonEntry()), entry({ hmacKey: undefined })), undefined)
  const chacha = { ...PARTS, cipher: 'ChaCha20' } as const
  assert.equal(disprove(decodeKey(entry(chacha)), entry(chacha)), undefined)
})

test('another secret or cipher is found out', () => {
  for (const parts of [{ secret: Buffer.alloc(32, 9) }, { cipher: 'ChaCha20' }] as const)
    assert.match(disprove(key, entry(parts)) ?? '', /does not open what the source’s has sealed/)
})

test('another HMAC key, and a lost one, are found out', () => {
  assert.match(disprove(key, entry({ hmacKey: Buffer.alloc(32, 9) })) ?? '', /HMACs .* differ/)
  assert.match(disprove(key, entry({ hmacKey: undefined })) ?? '', /target’s key has no HMAC key/)
  assert.match(disprove(decodeKey(jsonEntry()), entry()) ?? '', /source’s key has no HMAC key/)
})

test('a damaged entry is no proof', () => {
  assert.match(disprove(key, bytes('rubbish!')) ?? '', /the target’s entry is damaged: .*base64/)
})
