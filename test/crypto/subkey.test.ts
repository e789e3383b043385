import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { Subkeys } from '#src/crypto/subkey.js'
import { RUNS } from '../support/bytes.ts'

const secrets = fc.uint8Array({ minLength: 32, maxLength: 32 })
const ivs = fc.array(fc.uint8Array({ minLength: 16, maxLength: 16 }), { minLength: 1 })

test('subkeys are what node:crypto says, whatever came before', () => {
  const other = new Subkeys(Buffer.alloc(32, 1))
  fc.assert(
    fc.property(secrets, ivs, (secret, list) => {
      const subkeys = new Subkeys(secret)
      const subkey = Buffer.alloc(32)
      const view = new DataView(subkey.buffer, subkey.byteOffset, 32)
      for (const iv of list) {
        other.derive(iv, view)
        subkeys.derive(iv, view)
        assert.deepEqual(subkey, createHmac('sha256', secret).update(iv).digest())
      }
    }),
    RUNS,
  )
})

test('what makes subkeys shows neither its secret nor the last subkey', () => {
  const subkeys = new Subkeys(Buffer.alloc(32, 1))
  const subkey = new DataView(new ArrayBuffer(32))
  subkeys.derive(Buffer.alloc(16, 2), subkey)
  const shown: unknown[] = Object.values(subkeys)
  for (let at = 0; at < 32; at += 4) assert.ok(!shown.includes(subkey.getInt32(at)))
})
