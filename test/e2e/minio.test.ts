/** The calls that MinIO makes, over one HTTP/2 connection as its SDK keeps it (performance.md). */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { certificateOf } from '#src/crypto/certificate.js'
import { ApiKey } from '#src/crypto/identity.js'
import { VERSION } from '#src/version.js'
import { serverFiles, startServerProcess } from '../support/process.ts'
import { openSession, type Session } from '../support/session.ts'

const PAIRS = 500
const IN_FLIGHT = 32

/** MinIO with an API key and the policy that its documents recommend. */
async function minio(t: TestContext): Promise<{ minio: Session; admin: Session }> {
  const apiKey = ApiKey.generate()
  const calls = ['create', 'generate', 'decrypt', 'encrypt', 'hmac', 'describe', 'delete', 'list']
  const allow = [...calls.map((call) => `/v1/key/${call}/*`), '/v1/status', '/v1/metrics']
  const files = await serverFiles(t, {
    config: `policy: { minio: { allow: ${JSON.stringify(allow)}, identities: [ ${apiKey.identity} ] } }
keys: [ { name: minio-default } ]`,
  })
  const { port } = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const { privateKey: key, certificate: cert } = await certificateOf(apiKey)
  return {
    minio: await openSession(t, port, { key, cert }),
    admin: await openSession(t, port, files.admin),
  }
}

/** As MinIO has it: the object's bucket and path, as sorted JSON. */
function context(object: number): string {
  return Buffer.from(JSON.stringify({ bucket: `bucket/object-${object}` })).toString('base64')
}

test('what MinIO asks at its start is answered', async (t) => {
  const { minio: client } = await minio(t)
  const version = JSON.parse((await client.ask('GET', '/version')).body)
  assert.equal(version.version, VERSION)
  const status = JSON.parse((await client.ask('GET', '/v1/status')).body)
  assert.equal(status.version, VERSION)
  assert.ok(Number.isInteger(status.keystore_latency) && status.keystore_latency >= 1)
  assert.ok(Number.isInteger(status.uptime) && Number.isInteger(status.mem_heap_used))
  const listed = await client.ask('GET', '/v1/key/list')
  assert.equal(listed.status, 200)
  assert.deepEqual(JSON.parse(listed.body), { names: ['minio-default'] })
  const message = Buffer.from('root credentials').toString('base64')
  const ask = () => client.ask('POST', '/v1/key/hmac/minio-default', JSON.stringify({ message }))
  const [one, other] = [await ask(), await ask()]
  assert.equal(one.status, 200)
  assert.equal(Buffer.from(JSON.parse(one.body).hmac, 'base64').length, 32)
  assert.equal(one.body, other.body)
})

test('hundreds of data keys are made and opened over one connection, with a describe now and then', async (t) => {
  const { minio: client } = await minio(t)
  let next = 0
  const plaintexts = new Set<string>()
  const worker = async (): Promise<void> => {
    for (let object = next++; object < PAIRS; object = next++) {
      const path = '/v1/key/generate/minio-default'
      const made = await client.ask('POST', path, JSON.stringify({ context: context(object) }))
      assert.equal(made.status, 200, made.body)
      const { plaintext, ciphertext } = JSON.parse(made.body)
      plaintexts.add(plaintext)
      const opened = await client.ask(
        'POST',
        '/v1/key/decrypt/minio-default',
        JSON.stringify({ ciphertext, context: context(object) }),
      )
      assert.equal(opened.body, `{"plaintext":"${plaintext}"}\n`)
      if (object % 50 !== 0) continue
      const described = await client.ask('GET', '/v1/key/describe/minio-default')
      assert.equal(JSON.parse(described.body).name, 'minio-default')
      const elsewhere = JSON.stringify({ ciphertext, context: context(object + 1) })
      const refused = await client.ask('POST', '/v1/key/decrypt/minio-default', elsewhere)
      assert.equal(refused.status, 400)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  assert.equal(plaintexts.size, PAIRS)
})

test('MinIO creates a key, finds that it exists, and recognises it when it is gone', async (t) => {
  const { minio: client } = await minio(t)
  const message = (body: string): string => JSON.parse(body).message
  assert.equal((await client.ask('POST', '/v1/key/create/bucket-key')).status, 200)
  const again = await client.ask('POST', '/v1/key/create/bucket-key')
  assert.equal(again.status, 400)
  assert.equal(message(again.body), 'key already exists')

  const made = await client.ask('POST', '/v1/key/generate/bucket-key', '{}')
  const old = JSON.stringify({ ciphertext: JSON.parse(made.body).ciphertext })
  assert.equal((await client.ask('DELETE', '/v1/key/delete/bucket-key')).status, 200)
  for (const [method, call, body] of [
    ['POST', 'decrypt', old],
    ['POST', 'generate', '{}'],
    ['GET', 'describe', undefined],
    ['DELETE', 'delete', undefined],
  ] as const) {
    const gone = await client.ask(method, `/v1/key/${call}/bucket-key`, body)
    assert.equal(gone.status, 404, call)
    assert.equal(message(gone.body), 'key does not exist')
  }

  assert.equal((await client.ask('POST', '/v1/key/create/bucket-key')).status, 200)
  const refused = await client.ask('POST', '/v1/key/decrypt/bucket-key', old)
  assert.equal(refused.status, 400)
  assert.equal(message(refused.body), 'decryption failed: ciphertext is not authentic')
  const fresh = JSON.parse((await client.ask('POST', '/v1/key/generate/bucket-key', '{}')).body)
  const body = JSON.stringify({ ciphertext: fresh.ciphertext })
  const opened = await client.ask('POST', '/v1/key/decrypt/bucket-key', body)
  assert.equal(JSON.parse(opened.body).plaintext, fresh.plaintext)
})

test('a key that another client deleted is gone for MinIO at once', async (t) => {
  const { minio: client, admin } = await minio(t)
  const made = await client.ask('POST', '/v1/key/generate/minio-default', '{}')
  assert.equal(made.status, 200)
  assert.equal((await admin.ask('DELETE', '/v1/key/delete/minio-default')).status, 200)
  assert.equal((await client.ask('POST', '/v1/key/generate/minio-default', '{}')).status, 404)
})
