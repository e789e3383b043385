import assert from 'node:assert/strict'
import { test } from 'node:test'

import { base64Body } from '#src/api/route.js'

test('an answer in base64 has the same bytes, however large it is', () => {
  for (const length of [0, 1, 32, 12_287, 12_288, 12_289, 12_290, 786_000]) {
    const data = Buffer.alloc(length, 'data')
    const base64 = data.toString('base64')
    assert.equal(base64Body('plaintext', data).toString(), `{"plaintext":"${base64}"}\n`)
    assert.equal(
      base64Body('ciphertext', data, ',"version":2').toString(),
      `{"ciphertext":"${base64}","version":2}\n`,
    )
  }
})

test('a small answer is a text, which leaves with its head; a large one is bytes', () => {
  assert.equal(typeof base64Body('plaintext', Buffer.alloc(32)), 'string')
  assert.ok(Buffer.isBuffer(base64Body('plaintext', Buffer.alloc(100_000))))
})
