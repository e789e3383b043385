/** Who may do what (rustfs-kms-admin.md, 15, cases 12 to 17): policies of KES decide, over paths of KES. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { APP, type Called, startRustfs } from '../../support/rustfs.ts'
import { logged } from '../../support/rustfs-service.ts'
import { ask } from '../../support/server.ts'

const asApp = { as: APP }

const NAMING: readonly [
  method: string,
  path: (id: string) => string,
  body: (id: string) => unknown,
][] = [
  ['POST', () => '/keys', (id) => ({ Tags: { name: id } })],
  ['GET', (id) => `/keys/${id}`, () => undefined],
  ['GET', (id) => `/describe-key?keyId=${id}`, () => undefined],
  ['GET', (id) => `/key/status?key-id=${id}`, () => undefined],
  ['DELETE', () => '/keys/delete', (id) => ({ key_id: id })],
  ['DELETE', (id) => `/keys/delete?keyId=${id}`, () => undefined],
  ['POST', () => '/keys/cancel-deletion', (id) => ({ key_id: id })],
  ['POST', () => '/keys/enable', (id) => ({ key_id: id })],
  ['POST', () => '/keys/disable', (id) => ({ key_id: id })],
  ['POST', () => '/keys/rotate', (id) => ({ key_id: id })],
  ['POST', () => '/keys/update-description', (id) => ({ key_id: id, description: 'x' })],
  ['POST', () => '/keys/tag', (id) => ({ key_id: id, tags: { a: 'b' } })],
  ['POST', () => '/keys/untag', (id) => ({ key_id: id, tag_keys: ['a'] })],
  ['POST', () => '/generate-data-key', (id) => ({ key_id: id, key_spec: 'AES_256' })],
  ['POST', () => '/decrypt-data-key', (id) => ({ key_id: id, ciphertext_blob: 'AAAA' })],
]

const OTHERS: readonly [method: string, path: string, body?: unknown][] = [
  ['GET', '/keys'],
  ['GET', '/list-keys'],
  ['POST', '/configure', {}],
  ['POST', '/reconfigure', {}],
  ['POST', '/start'],
  ['POST', '/stop'],
  ['GET', '/status'],
  ['POST', '/status'],
  ['GET', '/service-status'],
  ['GET', '/config'],
  ['POST', '/clear-cache'],
]

/** But for what is new in each answer. */
function refusal({ status, json }: Called) {
  const { request_id: _, ...rest } = json
  return { status, ...rest }
}

test('12: whose policy allows nothing is 403 on every route, with one body for existing and missing keys', async (t) => {
  const server = await startRustfs(t)
  await server.call('POST', '/keys', { Tags: { name: 'there' } })
  for (const [method, path, body] of NAMING) {
    const there = await server.call(method, path('there'), body('there'), asApp)
    const missing = await server.call(method, path('missing'), body('missing'), asApp)
    const { status, code, message, success } = refusal(there) as Record<string, unknown>
    assert.deepEqual(
      [status, code, message, success],
      [403, 'AccessDenied', 'unauthorised', false],
      `${method} ${path('there')}`,
    )
    assert.deepEqual(refusal(there), refusal(missing))
  }
  for (const [method, path, body] of OTHERS) {
    const { status, json } = await server.call(method, path, body, asApp)
    assert.deepEqual([status, json['message']], [403, 'unauthorised'], `${method} ${path}`)
  }
})

test('12: whoever has no right on an operation does not learn what is wrong with his request', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ "/v1/key/describe/*" ]' })
  for (const body of ['{', '{"key_id":1}', '{"key_id":"a","key_id":"b"}', '', '{"unknown":1}']) {
    const { status } = await server.call('POST', '/generate-data-key', body, asApp)
    assert.equal(status, 403, body)
  }
  const some = await startRustfs(t, { app: 'allow: [ "/v1/key/generate/a" ]' })
  for (const body of ['{', '{"key_id":1}', '{"key_id":"a","key_id":"b"}', '', '{"unknown":1}']) {
    const { status } = await some.call('POST', '/generate-data-key', body, asApp)
    assert.equal(status, 400, body)
  }
})

test('13: a right on one key is none on another', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ /v1/key/describe/a ]' })
  for (const name of ['a', 'b']) await server.call('POST', '/keys', { Tags: { name } })
  assert.equal((await server.call('GET', '/keys/a', undefined, asApp)).status, 200)
  assert.equal((await server.call('GET', '/keys/b', undefined, asApp)).status, 403)
  assert.equal((await server.call('GET', '/keys/%61', undefined, asApp)).status, 200)
  assert.equal((await server.call('GET', '/describe-key?keyId=a', undefined, asApp)).status, 200)
  assert.equal((await server.call('GET', '/describe-key?keyId=b', undefined, asApp)).status, 403)
})

test('14: a denial wins, also for a key that does not exist', async (t) => {
  const server = await startRustfs(t, {
    app: 'allow: [ "/v1/key/*" ], deny: [ /v1/key/generate/b ]',
  })
  await server.call('POST', '/keys', { Tags: { name: 'a' } })
  const generate = async (id: string): Promise<number> =>
    (await server.call('POST', '/generate-data-key', { key_id: id, key_spec: 'AES_256' }, asApp))
      .status
  assert.deepEqual([await generate('a'), await generate('b'), await generate('c')], [200, 403, 404])
})

test('15: a body that names two keys in one field is 400, and nothing is done', async (t) => {
  const server = await startRustfs(t)
  for (const name of ['a', 'b']) await server.call('POST', '/keys', { Tags: { name } })
  const { status } = await server.call('POST', '/keys/disable', '{"key_id":"a","key_id":"b"}')
  assert.equal(status, 400)
  for (const name of ['a', 'b']) {
    const { json } = await server.call('GET', `/keys/${name}`)
    assert.equal((json['key_metadata'] as { enabled: boolean }).enabled, true)
  }
})

test('16: the key of the body is the one that counts, not that of the query', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ /v1/key/delete/a ]' })
  for (const name of ['a', 'b']) await server.call('POST', '/keys', { Tags: { name } })
  const path = '/keys/delete?keyId=a'
  assert.equal((await server.call('DELETE', path, { key_id: 'b' }, asApp)).status, 403)
  assert.equal((await server.call('DELETE', path, { key_id: 'b' })).status, 400)
  assert.equal((await server.call('DELETE', path, { key_id: 'a' }, asApp)).status, 200)
})

test('17: /minio/admin/v3 is another spelling of /rustfs/admin/v3, and nothing else is', async (t) => {
  const server = await startRustfs(t)
  const status = async (path: string): Promise<number> => (await server.call('GET', path)).status
  assert.equal(await status('/minio/admin/v3/kms/keys'), 200)
  assert.equal(await status('/minio/adminx/v3/kms/keys'), 404)
  assert.equal(await status('/minio/admin/v2/kms/keys'), 404)
  assert.equal(await status('/rustfs/admin/v3/kms/keys/'), 404)
  assert.equal(await status('/rustfs/admin/v3/KMS/keys'), 404)
  assert.equal(await status('/rustfs/admin/v3//kms/keys'), 404)
  assert.equal(await status('/rustfs/admin/v3/./kms/keys'), 404)
})

test('administrative operations are open to rules that spell them out only', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ "/v1/*" ]' })
  await server.call('POST', '/keys', { Tags: { name: 'a' } })
  const post = async (path: string, body: unknown): Promise<number> =>
    (await server.call('POST', path, body, asApp)).status
  for (const verb of ['enable', 'disable', 'rotate', 'cancel-deletion'])
    assert.equal(await post(`/keys/${verb}`, { key_id: 'a' }), 403, verb)
  assert.equal(await post('/keys/tag', { key_id: 'a', tags: {} }), 403)
  assert.equal(await post('/stop', undefined), 403)
  assert.equal((await server.call('GET', '/keys/a', undefined, asApp)).status, 200)
  await server.reload({ app: 'allow: [ "/v1/key/rotate/*" ]' })
  assert.equal(await post('/keys/rotate', { key_id: 'a' }), 200)
  assert.equal((await server.call('GET', '/keys/a', undefined, asApp)).status, 403)
})

test('a change of a policy over the KES API counts here from the next request on', async (t) => {
  const server = await startRustfs(t)
  const list = async (): Promise<number> =>
    (await server.call('GET', '/keys', undefined, asApp)).status
  assert.equal(await list(), 403)
  const written = await ask(server.port, server.admin, 'PUT', '/v1/policy/write/app', {
    body: '{"allow":["/v1/key/list/*"]}',
  })
  assert.equal(written.status, 200)
  assert.equal(await list(), 200)
})

test('a new key’s name is drawn before it is asked whether the caller may create it', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ "/v1/key/create/my-*" ]' })
  assert.equal((await server.call('POST', '/keys', undefined, asApp)).status, 403)
  const named = { Tags: { name: 'my-key' } }
  assert.equal((await server.call('POST', '/keys', named, asApp)).status, 200)
})

test('the log of a refusal has no more of a name than can be read', async (t) => {
  const server = await startRustfs(t, { app: 'allow: [ "/v1/key/create/my-*" ]' })
  const named = { Tags: { name: 'x'.repeat(500_000) } }
  assert.equal((await server.call('POST', '/keys', named, asApp)).status, 403)
  await logged(server, /policy 'app' does not allow \/v1\/key\/create\/xxx/)
  const log = server.stderr()
  assert.ok(log.length < 4096, `${log.length} characters`)
})
