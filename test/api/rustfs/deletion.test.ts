/** Deleting keys (rustfs-kms-admin.md, 15, cases 45 to 49). */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { KeyService } from '#src/keys/service.js'
import { fs } from '#src/keystore/fs.js'
import { fromMillis } from '#src/time.js'
import { type Called, type RustfsServer, startRustfs } from '../../support/rustfs.ts'
import { tempDir } from '../../support/server.ts'

const DAY = 86_400_000
const IMMEDIATE = 'RUSTFS_KMS_ALLOW_IMMEDIATE_DELETION'

type Metadata = Readonly<Record<string, unknown>>

function metadata({ json }: Called): Metadata {
  return json['key_metadata'] as Metadata
}

async function withKey(t: TestContext, name = 'k', rustfs?: string): Promise<RustfsServer> {
  const server = await startRustfs(t, rustfs === undefined ? {} : { rustfs })
  await server.call('POST', '/keys', { Tags: { name } })
  return server
}

function remove(server: RustfsServer, fields: Metadata = {}): Promise<Called> {
  return server.call('DELETE', '/keys/delete', { key_id: 'k', ...fields })
}

function restore(server: RustfsServer, id = 'k'): Promise<Called> {
  return server.call('POST', '/keys/cancel-deletion', { key_id: id })
}

test('45: a deletion waits 7 to 30 days, 30 unless asked otherwise', async (t) => {
  const server = await withKey(t)
  for (const days of [6, 31, 0, -1, '7', 7.5, true]) {
    const refused = await remove(server, { pending_window_in_days: days })
    assert.deepEqual([refused.status, refused.json['code']], [400, 'InvalidRequest'], String(days))
    assert.equal(metadata(await server.call('GET', '/keys/k'))['deletion_date'], null)
  }
  for (const [fields, days] of [
    [{ pending_window_in_days: 7 }, 7],
    [{ pending_window_in_days: 30 }, 30],
    [{ pending_window_in_days: null }, 30],
    [{}, 30],
  ] as const) {
    const deleted = await remove(server, fields)
    assert.equal(deleted.status, 200, deleted.body)
    const { enabled, key_state: state, deletion_date: date } = metadata(deleted)
    assert.deepEqual([enabled, state], [false, 'PendingDeletion'])
    assert.ok(Math.abs(Date.parse(String(date)) - Date.now() - days * DAY) < 5000, String(date))
    assert.deepEqual([deleted.json['key_id'], deleted.json['deletion_date']], ['k', date])
    assert.equal((await restore(server)).status, 200)
  }
})

test('45: a window is looked at before the key', async (t) => {
  const server = await withKey(t)
  const wish = { key_id: 'missing', pending_window_in_days: 31 }
  assert.equal((await server.call('DELETE', '/keys/delete', wish)).status, 400)
})

test('W23: in the query a window is a number, too', async (t) => {
  const server = await withKey(t)
  const path = '/keys/delete?keyId=k&pending_window_in_days='
  for (const days of ['x', '', '6', '7.5', '31'])
    assert.equal((await server.call('DELETE', path + days)).status, 400, days)
  const { json } = await server.call('DELETE', `${path}7&force_immediate=false`)
  const date = Date.parse(String(json['deletion_date']))
  assert.ok(Math.abs(date - Date.now() - 7 * DAY) < 5000)
  assert.equal((await server.call('DELETE', '/keys/delete')).status, 400)
})

test('46: a second deletion is 409, that of a missing key 404', async (t) => {
  const server = await withKey(t)
  assert.equal((await remove(server)).status, 200)
  const again = await remove(server)
  assert.deepEqual(
    [again.status, again.json['message']],
    [409, 'failed to delete key: key is pending deletion'],
  )
  assert.equal((await server.call('DELETE', '/keys/delete', { key_id: 'missing' })).status, 404)
})

test('46: the default key can be scheduled, and its answer says what needs it', async (t) => {
  const server = await withKey(t, 'k', 'start: { backend_type: keystore, default_key_id: k }')
  const { status, json } = await remove(server)
  assert.equal(status, 200)
  const { references } = json['impact'] as { references: Metadata[] }
  assert.deepEqual(
    references.map(({ kind, id }) => [kind, id]),
    [['service-default-key', 'k']],
  )
})

test('47: a cancelled deletion brings the state before back', async (t) => {
  const server = await withKey(t)
  await remove(server)
  const restored = await restore(server)
  assert.equal(restored.json['message'], 'key deletion cancelled successfully')
  assert.deepEqual(
    [metadata(restored)['enabled'], metadata(restored)['deletion_date']],
    [true, null],
  )
  // W6: whoever may delete may not enable by that.
  await server.call('POST', '/keys/disable', { key_id: 'k' })
  await remove(server)
  assert.deepEqual([metadata(await restore(server))['key_state']], ['Disabled'])
})

test('47: what is not to be deleted cannot be cancelled, nor what is not there', async (t) => {
  const server = await withKey(t)
  const { status, json } = await restore(server)
  assert.deepEqual([status, json['code']], [409, 'Conflict'])
  assert.equal((await restore(server, 'missing')).status, 404)
})

test('48: at once a key is destroyed only where the operator allows it, by whoever names it twice', async (t) => {
  const path = join(tempDir(t), 'keys')
  const start = (): Promise<RustfsServer> =>
    startRustfs(t, {
      config: `keystore: { fs: { path: ${path} } }`,
      rustfs: 'start: { backend_type: keystore, default_key_id: main }',
    })
  const strict = await start()
  for (const name of ['k', 'main']) await strict.call('POST', '/keys', { Tags: { name } })
  const now = { force_immediate: true, confirm_key_id: 'k' }
  const refused = await remove(strict, now)
  assert.equal(refused.status, 400)
  assert.match(String(refused.json['message']), /RUSTFS_KMS_ALLOW_IMMEDIATE_DELETION=true/)
  await strict.close()
  // A server may be a process of its own, which has the environment from its start.
  process.env[IMMEDIATE] = 'true'
  t.after(() => delete process.env[IMMEDIATE])
  const server = await start()
  for (const confirmed of [undefined, null, 'K', '', 'main']) {
    const { status } = await remove(server, { ...now, confirm_key_id: confirmed })
    assert.equal(status, 400, String(confirmed))
  }
  for (const query of [
    'force_immediate=true',
    'force_immediate=true&confirm_key_id=k',
    'confirm_key_id=k',
  ])
    assert.equal((await server.call('DELETE', `/keys/delete?keyId=k&${query}`)).status, 400, query)
  const main = { key_id: 'main', force_immediate: true, confirm_key_id: 'main' }
  const needed = await server.call('DELETE', '/keys/delete', main)
  assert.deepEqual([needed.status, needed.json['code']], [409, 'Conflict'])
  assert.deepEqual(readdirSync(path).sort(), ['k', 'main'])
  const deleted = await remove(server, now)
  assert.deepEqual([deleted.status, metadata(deleted)['enabled']], [200, false])
  assert.equal((await server.call('GET', '/keys/k')).status, 404)
  assert.deepEqual(readdirSync(path), ['main'])
  assert.equal((await remove(server, now)).status, 404)
})

test('48: a key that is to be deleted later can be destroyed at once', async (t) => {
  process.env[IMMEDIATE] = 'true'
  t.after(() => delete process.env[IMMEDIATE])
  const server = await withKey(t)
  await remove(server)
  assert.equal((await remove(server, { force_immediate: true, confirm_key_id: 'k' })).status, 200)
  assert.equal((await server.call('GET', '/keys/k')).status, 404)
})

test('49: once its date has passed a key is destroyed, and nothing brings it back; the name is free again', async (t) => {
  const path = join(tempDir(t), 'keys')
  const store = await fs.open({ path }, AbortSignal.timeout(1000))
  const config = `keystore: { fs: { path: ${path} } }\ncache: { expiry: { any: 0s } }`
  const server = await startRustfs(t, { config })
  await server.call('POST', '/keys', { Tags: { name: 'k' } })
  const { json } = await remove(server, { pending_window_in_days: 7 })
  const due = Date.parse(String(json['deletion_date']))
  // As the sweep of another server on the same keystore does it.
  const other = new KeyService(store, { any: 0, unused: 0, offline: 0, changes: 0 })
  t.after(() => {
    other.health.close()
    other.cache.close()
  })
  const deadline = { signal: AbortSignal.timeout(5000) }
  assert.equal(await other.destroy('k', fromMillis(due - 1000), deadline), false)
  assert.equal((await server.call('GET', '/keys/k')).status, 200)
  assert.equal(await other.destroy('k', fromMillis(due + 7_200_000), deadline), true)
  assert.equal((await restore(server)).status, 404)
  assert.equal((await server.call('GET', '/keys/k')).status, 404)
  assert.deepEqual((await server.call('GET', '/keys')).json['keys'], [])
  await assert.rejects(other.destroy('k', fromMillis(due + 7_200_000), deadline), {
    code: 'KEY_NOT_FOUND',
  })
  assert.equal((await server.call('POST', '/keys', { Tags: { name: 'k' } })).status, 200)
  assert.equal(metadata(await server.call('GET', '/keys/k'))['deletion_date'], null)
})
