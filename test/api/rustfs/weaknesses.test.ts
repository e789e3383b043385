/** What RustFS is weak at, and this server should not be (rustfs-kms-admin.md, 16): what no numbered case has. */

import assert from 'node:assert/strict'
import { scryptSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'

import { Secret } from '#src/crypto/aead.js'
import { parseRaw } from '#src/crypto/ciphertext.js'
import { eventually } from '../../support/process.ts'
import { APP, OPS, PREFIX, type RustfsServer, startRustfs } from '../../support/rustfs.ts'
import { freshService, MASTER_KEY, ok, refused, until } from '../../support/rustfs-service.ts'
import { ask, tempDir } from '../../support/server.ts'
import { vectors } from '../../support/vectors.ts'

const server = await startRustfs({ after })
const asApp = { as: APP }

async function makeKey(name: string, on: RustfsServer = server): Promise<void> {
  await ok(on.call('POST', '/keys', { Tags: { name } }))
}

function generate(key_id: string, fields: object = {}): ReturnType<RustfsServer['call']> {
  return server.call('POST', '/generate-data-key', { key_id, key_spec: 'AES_256', ...fields })
}

/** A call of the KES API by the admin. */
async function kes(path: string, fields: object): Promise<Readonly<Record<string, unknown>>> {
  const body = JSON.stringify(fields)
  const answer = await ask(server.port, server.admin, 'PUT', path, { body })
  assert.equal(answer.status, 200, answer.body)
  return answer.body === '' ? {} : JSON.parse(answer.body)
}

test('W8: what fails is no 200, what the caller can mend no 500, and all of it has one form', async () => {
  for (const name of ['w8', 'w8-off']) await makeKey(name)
  await ok(server.call('POST', '/keys/disable', { key_id: 'w8-off' }))
  const kind = { key_spec: 'AES_256' }
  for (const [status, code, method, path, body] of [
    [409, 'Conflict', 'POST', '/keys', { Tags: { name: 'w8' } }],
    [400, 'InvalidRequest', 'POST', '/keys', { Tags: { name: 'a/b' } }],
    [400, 'InvalidRequest', 'POST', '/keys', '{'],
    [409, 'Conflict', 'POST', '/keys/cancel-deletion', { key_id: 'w8' }],
    [404, 'NotFound', 'POST', '/keys/cancel-deletion', { key_id: 'none' }],
    [404, 'NotFound', 'GET', '/keys/none', undefined],
    [404, 'NotFound', 'DELETE', '/keys/delete', { key_id: 'none' }],
    [409, 'Conflict', 'POST', '/generate-data-key', { key_id: 'w8-off', ...kind }],
    [404, 'NotFound', 'POST', '/generate-data-key', { key_id: 'none', ...kind }],
    [409, 'Conflict', 'POST', '/start', undefined],
    [409, 'Conflict', 'POST', '/configure', { backend_type: 'keystore' }],
    [404, 'NotFound', 'GET', '/nothing', undefined],
    [405, 'MethodNotAllowed', 'PUT', '/keys', undefined],
  ] as const) {
    const what = `${method} ${path} ${JSON.stringify(body)}`
    const { headers, ...answer } = await server.call(method, path, body)
    assert.deepEqual([answer.status, answer.json['code']], [status, code], what)
    assert.equal(headers['content-type'], 'application/json', what)
    assert.deepEqual(
      ['code', 'message', 'request_id', 'success'].filter((name) => !(name in answer.json)),
      [],
      what,
    )
    assert.equal(answer.json['success'], false, what)
  }
})

test('W13: to make keys, to configure the service and to stop it are rights of their own', async () => {
  const make = { Tags: { name: 'w13' } }
  const configure = { backend_type: 'keystore' }
  // Of a service that runs: whoever may ask is refused for that.
  for (const [right, statuses] of [
    ['/v1/key/create/*', [200, 403, 403]],
    ['/v1/kms/configure', [403, 409, 403]],
    ['/v1/kms/start', [403, 403, 409]],
  ] as const) {
    await server.reload({ app: `allow: [ ${right} ]` })
    const answers = [
      await server.call('POST', '/keys', make, asApp),
      await server.call('POST', '/configure', configure, asApp),
      await server.call('POST', '/start', undefined, asApp),
    ]
    assert.deepEqual(
      answers.map(({ status }) => status),
      statuses,
      right,
    )
  }
  assert.equal((await server.call('GET', '/backup')).status, 404)
})

test('W14: a blob with a context is sealed anew under the latest version, without its plaintext being shown', async () => {
  await makeKey('w14')
  const made = await ok(generate('w14', { encryption_context: { b: '2', a: '1' } }))
  await ok(server.call('POST', '/keys/rotate', { key_id: 'w14' }))
  const { json: described } = await server.call('GET', '/keys/w14')
  assert.equal((described['key_metadata'] as { key_state: string }).key_state, 'Enabled')
  const context = Buffer.from('{"a":"1","b":"2"}').toString('base64')
  const old = String(made['ciphertext_blob'])
  const anew = await kes('/v1/key/rewrap/w14', { ciphertext: old, context })
  assert.equal(JSON.stringify(anew).includes(String(made['plaintext_key'])), false)
  const blob = String(anew['ciphertext'])
  assert.notEqual(blob, old)
  for (const each of [old, blob]) {
    const fields = { key_id: 'w14', ciphertext_blob: each }
    const opened = await ok(
      server.call('POST', '/decrypt-data-key', {
        ...fields,
        encryption_context: { a: '1', b: '2' },
      }),
    )
    assert.equal(opened['plaintext_key'], made['plaintext_key'])
    assert.equal((await server.call('POST', '/decrypt-data-key', fields)).status, 400)
  }
  // Sealed anew once more, it is another blob of the same version.
  const again = await kes('/v1/key/rewrap/w14', { ciphertext: blob, context })
  assert.equal(again['version'], anew['version'])
  assert.notEqual(again['ciphertext'], blob)
})

test('W15: a key that was disabled seals nothing more: on this server at once, on others of its keystore when their cache expires', async (t) => {
  const path = join(tempDir(t), 'keys')
  const config = `keystore: { fs: { path: ${path} } }\ncache: { expiry: { any: 200ms, unused: 200ms, changes: 0s } }`
  const [here, there] = [await startRustfs(t, { config }), await startRustfs(t, { config })]
  await makeKey('k', here)
  const statuses = async (): Promise<number[]> => {
    const answers = await Promise.all(
      // Connections of their own, so that each process of a server is asked.
      Array.from({ length: 6 }, () => ask(here.port, here.admin, 'PUT', '/v1/key/generate/k')),
    )
    return [...new Set(answers.map(({ status }) => status))]
  }
  const data = { key_id: 'k', key_spec: 'AES_256' }
  assert.deepEqual(await statuses(), [200])
  await ok(there.call('POST', '/generate-data-key', data))
  await ok(here.call('POST', '/keys/disable', { key_id: 'k' }))
  assert.deepEqual(await statuses(), [409])
  await refused(here.call('POST', '/generate-data-key', data), 409, /disabled/)
  await until('the other one has seen it', async () => {
    const { status } = await there.call('POST', '/generate-data-key', data)
    assert.ok(status === 200 || status === 409, String(status))
    return status === 409
  })
})

test('W18: what the documents and today’s RustFS say differently, both find here', async (t) => {
  await makeKey('w18')
  const { json: described } = await server.call('GET', '/keys/w18')
  assert.equal(described['impact'], null)
  for (const path of ['/status', '/service-status']) {
    const { cluster_config: cluster } = await ok(server.call('GET', path))
    assert.ok(Array.isArray((cluster as { nodes: unknown }).nodes), path)
  }
  for (const KeyUsage of ['ENCRYPT_DECRYPT', 'EncryptDecrypt'])
    await ok(server.call('POST', '/keys', { KeyUsage }))
  const { server: other, local } = await freshService(t)
  await ok(other.call('POST', '/configure', local))
  await refused(other.call('POST', '/clear-cache'), 503, /not running/)
  await ok(other.call('POST', '/start'))
  const { status, body } = await other.call('POST', '/clear-cache')
  assert.deepEqual([status, body], [204, ''])
})

test('W19: reads are audited, refusals too, and nothing that was answered may be kept by a cache', async (t) => {
  const audited = await startRustfs(t, { config: 'log: { audit: on }' })
  await makeKey('k', audited)
  const calls = [
    ['GET', '/status'],
    ['GET', '/service-status'],
    ['GET', '/config'],
    ['POST', '/clear-cache'],
    ['GET', '/keys'],
    ['GET', '/keys/k'],
  ] as const
  for (const [method, path] of calls) {
    const { headers } = await audited.call(method, path)
    assert.equal(headers['cache-control'], 'no-store', path)
    assert.equal((await audited.call(method, path, undefined, asApp)).status, 403)
  }
  const data = { key_id: 'k', key_spec: 'AES_256' }
  const made = await audited.call('POST', '/generate-data-key', data)
  assert.equal(made.headers['cache-control'], 'no-store')
  const events = await eventually('all events', () => {
    const lines = audited.stdout().trim().split('\n')
    return lines.length === 2 + 2 * calls.length && lines.map((line) => JSON.parse(line))
  })
  const seen = events.slice(1, -1).map(({ request, response }) => {
    const { path, identity } = request as { path: string; identity: string }
    return `${path} ${identity} ${response.code === 403 ? 'refused' : 'done'}`
  })
  assert.deepEqual(
    seen,
    calls.flatMap(([, path]) => [
      `${PREFIX}${path} rustfs:${OPS.accessKey} done`,
      `${PREFIX}${path} rustfs:${APP.accessKey} refused`,
    ]),
  )
  assert.equal(audited.stdout().includes(String(made.json['plaintext_key'])), false)
})

test('W20: to guess at a master key costs 128 MiB each time, and no answer claims a certificate', async (t) => {
  const { server: other, local, root } = await freshService(t)
  await ok(other.call('POST', '/configure', local))
  await ok(other.call('POST', '/start'))
  const file = JSON.parse(readFileSync(join(root, 'keys', '.master-key.salt'), 'utf8'))
  const salt = Buffer.from(file.salt, 'base64')
  const cost = { N: 2 ** 17, r: 8, p: 1, maxmem: 2 ** 28 }
  const secret = new Secret('AES256', scryptSync(MASTER_KEY, salt, 32, cost))
  const proof = parseRaw(Buffer.from(file.proof, 'base64')) ?? assert.fail()
  assert.equal(secret.open(proof, salt)?.toString(), 'openkes master key')
  for (const path of ['/status', '/config', '/service-status'])
    assert.doesNotMatch((await other.call('GET', path)).body, /fips/i, path)
})

test('W25: what the Go server has sealed for MinIO opens here, under keys of any name', async () => {
  for (const { id, cipher, key, hmac_key } of vectors.keys) {
    const fields = { key: key.toString('base64'), hmac_key: hmac_key.toString('base64'), cipher }
    await kes(`/v1/key/import/${id}`, fields)
  }
  // MinIO's contexts are JSON, as those of this API are.
  const sealed = vectors.ciphertexts.filter(
    ({ expect, context }) => expect === 'ok' && context.toString().startsWith('{'),
  )
  assert.deepEqual(new Set(sealed.map(({ format }) => format)), new Set(['raw', 'msgp', 'json']))
  for (const { id, key, ciphertext, context, plaintext } of sealed) {
    const opened = await ok(
      server.call('POST', '/decrypt-data-key', {
        key_id: key,
        ciphertext_blob: ciphertext.toString('base64'),
        encryption_context: JSON.parse(context.toString()),
      }),
    )
    assert.equal(opened['plaintext_key'], plaintext?.toString('base64'), id)
  }
})
