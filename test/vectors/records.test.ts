/** The known answers of records.json (SOURCES.md): keys with change records, made from docs/formats.md in another language. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import * as v from 'valibot'

import { KesError } from '#src/errors.js'
import { DamagedKeyError } from '#src/keys/codec.js'
import { KeyService } from '#src/keys/service.js'
import { rfc3339 } from '#src/time.js'
import { bytes, fromBase64, PATIENT } from '../support/bytes.ts'
import { FakeStore } from '../support/store.ts'

const text = v.string()
// Strict: a field that the test does not look at must not be overlooked.
const schema = v.strictObject({
  origin: text,
  count: v.number(),
  cases: v.array(
    v.strictObject({
      id: text,
      key: text,
      entries: v.record(text, text),
      expect: v.picklist(['enabled', 'disabled', 'pending-deletion', 'absent', 'damaged']),
      version: v.optional(v.number()),
      deny_decrypt: v.optional(v.boolean(), false),
      deletion_date: v.optional(text),
      description: v.optional(text, ''),
      tags: v.optional(v.record(text, text), {}),
      ciphertexts: v.optional(
        v.array(
          v.strictObject({ plaintext: v.nullable(text), context: text, ciphertext: text }),
        ),
        [],
      ),
    }),
  ),
})
const { cases, count } = v.parse(
  schema,
  JSON.parse(readFileSync('test/vectors/records.json', 'utf8')),
)
const EXPIRY = { any: 1, unused: 1, offline: 0, changes: 0 }

for (const vector of cases) {
  test(`key ${vector.id} is ${vector.expect}`, async (t) => {
    const store = new FakeStore()
    for (const [name, entry] of Object.entries(vector.entries)) store.entries.set(name, bytes(entry))
    // It looks at what is in the store only.
    store.delete = () => Promise.resolve()
    const keys = new KeyService(store, EXPIRY)
    t.after(() => keys.close())
    const found = (async () => keys.get(vector.key, PATIENT))()
    if (vector.expect === 'absent') {
      await assert.rejects(found, { code: 'KEY_NOT_FOUND' })
      return
    }
    if (vector.expect === 'damaged') {
      await assert.rejects(found, (error) => {
        assert.ok(error instanceof KesError && error.cause instanceof DamagedKeyError)
        assert.deepEqual([error.status, error.message], [502, 'failed to read key'])
        return true
      })
      return
    }
    const key = await found
    assert.deepEqual(
      {
        state: key.state,
        version: key.version,
        deny_decrypt: key.denyDecrypt,
        deletion_date: key.deletionDate && rfc3339(key.deletionDate),
        description: key.description,
        tags: Object.fromEntries(key.tags),
      },
      {
        state: vector.expect,
        version: vector.version,
        deny_decrypt: vector.deny_decrypt,
        deletion_date: vector.deletion_date,
        description: vector.description,
        tags: vector.tags,
      },
    )
    for (const [index, { plaintext, context, ciphertext }] of vector.ciphertexts.entries()) {
      const open = (): Buffer => key.decrypt(fromBase64(ciphertext), fromBase64(context))
      if (plaintext === null) assert.throws(open, { code: 'DECRYPT' }, `${index}`)
      else assert.deepEqual(open(), fromBase64(plaintext), `${index}`)
    }
  })
}

test('the file holds as many cases as it says, and half of them must fail', () => {
  assert.equal(cases.length, count)
  assert.ok(cases.filter(({ expect }) => expect === 'damaged').length >= count / 2)
})
