import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as v from 'valibot'

import { keyStoreEntries, keyStoresIn, nearestKeyStore } from '#src/config/keystores.js'
import { defineKeyStore, type KeyStoreKind } from '#src/keystore/keystore.js'
import { memory } from '#src/keystore/memory.js'

const KINDS = ['fs', 'aws.secretsmanager', 'gcp.secretmanager', 'azure.keyvault', 'azure.hsm'].map(
  (name): KeyStoreKind =>
    defineKeyStore({
      ...memory,
      name,
      title: name.toUpperCase(),
      config: v.strictObject({ field: v.string() }),
    }),
)
const schema = v.strictObject(keyStoreEntries(KINDS))
const accepts = (section: unknown): boolean => v.safeParse(schema, section).success
const namesIn = (section: unknown): string[] =>
  keyStoresIn(section, KINDS).map(({ kind }) => kind.name)

test('a kind with a dot in its name stands one level deeper', () => {
  assert.ok(accepts({ fs: { field: 'x' } }))
  assert.ok(accepts({ aws: { secretsmanager: { field: 'x' } } }))
  assert.ok(!accepts({ 'aws.secretsmanager': { field: 'x' } }))
  assert.ok(!accepts({ aws: 'secretsmanager' }))
  assert.ok(!accepts({ aws: { secretsmanager: { other: 'x' } } }))
})

test('two kinds may share their first word', () => {
  assert.ok(accepts({ azure: { keyvault: { field: 'x' } } }))
  assert.ok(accepts({ azure: { hsm: { field: 'x' } } }))
  const { azure } = keyStoreEntries(KINDS)
  assert.equal(azure && v.getDescription(azure), 'AZURE.KEYVAULT; AZURE.HSM.')
})

test('a level may be left empty', () => {
  for (const section of [{ fs: null }, { aws: null }, { aws: { secretsmanager: null } }, {}])
    assert.ok(accepts(section), JSON.stringify(section))
})

test('keystores are found at every level, with what they are told', () => {
  const section = { fs: null, azure: { hsm: { field: 'x' } }, gcp: null, other: {} }
  const found = keyStoresIn(section, KINDS).map(({ kind, settings }) => [kind.name, settings])
  assert.deepEqual(found, [
    ['fs', null],
    ['azure.hsm', { field: 'x' }],
  ])
})

test('what is no section holds no keystore', () => {
  for (const section of [undefined, null, 'fs', ['fs'], { aws: 'secretsmanager' }, { aws: [] }, {}])
    assert.deepEqual(namesIn(section), [], JSON.stringify(section))
  assert.deepEqual(namesIn(Object.create({ fs: {} })), [])
})

test('a misspelt keystore is recognised, also without its first word', () => {
  const guess = (name: string): string | undefined => nearestKeyStore(name, KINDS)
  assert.equal(guess('aws.secretmanager'), 'aws.secretsmanager')
  assert.equal(guess('gcp.secretsmanager'), 'gcp.secretmanager')
  assert.equal(guess('keyvault'), 'azure.keyvault')
  assert.equal(guess('amazon.secretsmanager'), 'aws.secretsmanager')
  assert.equal(guess('f'), 'fs')
  assert.equal(guess('floppy'), undefined)
})
