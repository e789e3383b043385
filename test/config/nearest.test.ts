import assert from 'node:assert/strict'
import { test } from 'node:test'

import { nearest } from '#src/config/nearest.js'

const KNOWN = ['key', 'cert', 'password', 'auth', 'ca', 'proxy']

for (const [name, expected] of [
  ['kee', 'key'],
  ['Key', 'key'],
  ['certs', 'cert'],
  ['pasword', 'password'],
  ['passphrase', undefined],
  ['xylophone', undefined],
  ['', undefined],
] as const) {
  test(`who writes '${name}' most likely means ${expected ?? 'none of these'}`, () => {
    assert.equal(nearest(name, KNOWN), expected)
  })
}

test('nothing is near where nothing is known', () => {
  assert.equal(nearest('key', []), undefined)
})
