/** Who is let in (rustfs-kms-admin.md, 15, cases 1 to 11). */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { amzDate } from '#src/crypto/sigv4.js'
import {
  APP,
  OPS,
  PREFIX,
  type RustfsServer,
  sendTo,
  sign,
  type SignOptions,
  startRustfs,
} from '../../support/rustfs.ts'
import { logged } from '../../support/rustfs-service.ts'

const ROUTES: readonly [method: string, path: string][] = [
  ['POST', '/configure'],
  ['POST', '/start'],
  ['GET', '/status'],
  ['GET', '/config'],
  ['POST', '/clear-cache'],
  ['POST', '/keys'],
  ['GET', '/keys'],
  ['GET', '/keys/a'],
  ['DELETE', '/keys/delete'],
  ['POST', '/generate-data-key'],
  ['GET', '/nothing'],
]

const PRIVATE = { address: '0.0.0.0:0' }

const create = (name: string) => ({ Tags: { name } })

async function exists(server: RustfsServer, name: string): Promise<boolean> {
  return (await server.call('GET', `/keys/${name}`)).status === 200
}

test('1: without a signature every route is 401, and says how to sign', async (t) => {
  const server = await startRustfs(t)
  for (const [method, path] of [...ROUTES, ['GET', '/../../../../elsewhere'] as const]) {
    const answer = await sendTo(server, { method, target: PREFIX + path, headers: {} })
    assert.deepEqual(
      [answer.status, answer.json['code'], answer.json['message'], answer.json['success']],
      [401, 'AccessDenied', 'authentication required', false],
      path,
    )
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(answer.headers['www-authenticate'], 'AWS4-HMAC-SHA256')
  }
})

test('2, 3: an unknown access key and a wrong secret are 401 in the same words, without what was signed', async (t) => {
  const server = await startRustfs(t)
  const unknown = await server.call('GET', '/keys', undefined, {
    as: { accessKey: 'nobody', secret: OPS.secret },
  })
  const wrong = await server.call('GET', '/keys', undefined, {
    as: { accessKey: OPS.accessKey, secret: APP.secret },
  })
  assert.deepEqual([unknown.status, wrong.status], [401, 401])
  assert.equal(unknown.json['message'], wrong.json['message'])
  assert.doesNotMatch(unknown.body + wrong.body, /[0-9a-f]{64}|aws4_request|AWS4-HMAC-SHA256/)
})

test('4: 20 minutes of age are 401, 14 are fine, and so they are ahead', async (t) => {
  const server = await startRustfs(t)
  const at = async (minutes: number): Promise<number> =>
    (await server.call('GET', '/keys', undefined, { at: Date.now() + minutes * 60_000 })).status
  assert.deepEqual([await at(-20), await at(-14), await at(14), await at(20)], [401, 200, 200, 401])
})

test('5: s3, sts and execute-api and any region may be signed for, ec2 not', async (t) => {
  const server = await startRustfs(t)
  const status = async (options: SignOptions): Promise<number> =>
    (await server.call('GET', '/keys', undefined, options)).status
  for (const service of ['s3', 'sts', 'execute-api']) assert.equal(await status({ service }), 200)
  assert.equal(await status({ service: 'ec2' }), 401)
  assert.equal(await status({ region: 'eu-west-9' }), 200)
})

test('6: with service s3 the digest of the body must be named, with the others not', async (t) => {
  const server = await startRustfs(t)
  const without = await server.call('POST', '/keys', create('k'), { payload: null })
  assert.deepEqual([without.status, without.json['code']], [400, 'InvalidRequest'])
  const other = { payload: null, service: 'execute-api' }
  assert.equal((await server.call('POST', '/keys', create('k'), other)).status, 200)
})

test('7: a body that is not the signed one changes nothing, on any route', async (t) => {
  const server = await startRustfs(t)
  const target = `${PREFIX}/keys`
  for (const service of ['s3', 'execute-api']) {
    const payload = service === 's3' ? {} : { payload: null }
    const signed = sign({ method: 'POST', target, body: JSON.stringify(create('good')) }, OPS, {
      door: server.door,
      service,
      ...payload,
    })
    const { status } = await sendTo(server, { ...signed, body: JSON.stringify(create('evil')) })
    assert.ok(status === 400 || status === 401, String(status))
  }
  assert.equal(await exists(server, 'evil'), false)
  // Also where nobody wants a body.
  const read = sign({ method: 'GET', target }, OPS, { door: server.door })
  assert.equal((await sendTo(server, { ...read, body: 'x' })).status, 400)
})

test('8: an unsigned body is taken over TLS, and logged; over plain HTTP it is refused', async (t) => {
  const [plain, secured] = [await startRustfs(t), await startRustfs(t, PRIVATE)]
  const options = { payload: 'UNSIGNED-PAYLOAD' }
  assert.equal((await plain.call('POST', '/keys', create('k'), options)).status, 400)
  assert.equal(await exists(plain, 'k'), false)
  assert.equal((await secured.call('POST', '/keys', create('k'), options)).status, 200)
  await logged(secured, /body is not signed.*rustfs:ops/)
})

test('9: a query with spaces, pluses, other scripts and a name twice is signed and verified', async (t) => {
  const server = await startRustfs(t)
  for (const query of [
    'status=Active&marker=',
    'x=a%20b&y=c+d&z=%2B',
    'x=%C3%A4&x=%E6%97%A5%E6%9C%AC&x=a',
    'limit=1&limit=2',
    'x&y=&z',
    "x=~'()*!-._",
  ]) {
    const { status, body } = await server.call('GET', `/keys?${query}`)
    assert.equal(status, 200, `${query}: ${body}`)
  }
})

test('10: a scope of another day than the date is refused', async (t) => {
  const server = await startRustfs(t)
  const yesterday = amzDate(Date.now() - 86_400_000).slice(0, 8)
  assert.equal((await server.call('GET', '/keys', undefined, { date: yesterday })).status, 401)
})

test('11: over plain HTTP a signature is of no use again after 3 s; equal requests within a second are', async (t) => {
  const server = await startRustfs(t)
  const request = { method: 'GET', target: `${PREFIX}/keys` }
  const fresh = sign(request, OPS, { door: server.door })
  const statuses = [await sendTo(server, fresh), await sendTo(server, fresh)].map((a) => a.status)
  assert.deepEqual(statuses, [200, 200])
  const old = sign(request, OPS, { door: server.door, at: Date.now() - 60_000 })
  assert.equal((await sendTo(server, old)).status, 200)
  const again = await sendTo(server, old)
  assert.deepEqual([again.status, again.json['code']], [401, 'AccessDenied'])
  await sleep(4100)
  assert.equal((await sendTo(server, fresh)).status, 401)
})

test('11: over TLS a signature may come again', async (t) => {
  const server = await startRustfs(t, PRIVATE)
  const old = sign({ method: 'GET', target: `${PREFIX}/keys` }, OPS, {
    door: server.door,
    at: Date.now() - 60_000,
  })
  const statuses = [await sendTo(server, old), await sendTo(server, old)].map((a) => a.status)
  assert.deepEqual(statuses, [200, 200])
})

test('W9: a replay is refused also after a reload', async (t) => {
  const server = await startRustfs(t)
  const old = sign({ method: 'GET', target: `${PREFIX}/keys` }, OPS, {
    door: server.door,
    at: Date.now() - 60_000,
  })
  assert.equal((await sendTo(server, old)).status, 200)
  await server.reload({})
  assert.equal((await sendTo(server, old)).status, 401)
})

test('W9: presigned addresses and signatures of version 2 are refused', async (t) => {
  const server = await startRustfs(t)
  const credential = encodeURIComponent(
    `ops/${amzDate(Date.now()).slice(0, 8)}/us-east-1/s3/aws4_request`,
  )
  const presigned = `${PREFIX}/keys?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Signature=${'0'.repeat(64)}`
  for (const [target, headers] of [
    [presigned, {}],
    [`${PREFIX}/keys?AWSAccessKeyId=ops&Signature=x&Expires=9999999999`, {}],
    [`${PREFIX}/keys`, { authorization: 'AWS ops:c2lnbmF0dXJl' }],
    [`${PREFIX}/keys`, { authorization: 'Basic b3BzOm9wcw==' }],
  ] as const) {
    assert.equal((await sendTo(server, { method: 'GET', target, headers })).status, 401, target)
  }
})
