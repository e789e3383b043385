/** What is no proper request (rustfs-kms-admin.md, 15, cases 58 and 59), and what every answer has. */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'

import { OPS, PREFIX, sendTo, sign, startRustfs } from '../../support/rustfs.ts'
import { logged } from '../../support/rustfs-service.ts'

test('58: a body beyond 1 MiB is refused, and the refusal can be read', async (t) => {
  const server = await startRustfs(t)
  const fits = JSON.stringify({ Description: 'x' }).padEnd(1_048_576)
  assert.equal((await server.call('POST', '/keys', fits)).status, 200)
  const { status, json } = await server.call('POST', '/keys', `${fits} `)
  assert.deepEqual([status, json['code']], [413, 'PayloadTooLarge'])
  assert.match(String(json['message']), /1048576/)
})

test('58: of whom only the body can prove anything, 64 KiB are read', async (t) => {
  const server = await startRustfs(t)
  const options = { payload: null, service: 'execute-api' }
  assert.equal((await server.call('POST', '/keys', '{}'.padEnd(65_536), options)).status, 200)
  assert.equal((await server.call('POST', '/keys', '{}'.padEnd(65_537), options)).status, 413)
})

test('58: a body that does not come is given up', async (t) => {
  const server = await startRustfs(t)
  const body = '{"Description":"late"}'
  const { headers } = sign({ method: 'POST', target: `${PREFIX}/keys`, body }, OPS, {
    door: server.door,
  })
  const head = [
    `POST ${PREFIX}/keys HTTP/1.1`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${body.length}`,
    '',
    body.slice(0, 5),
  ].join('\r\n')
  const answer = await new Promise<string>((resolve) => {
    let text = ''
    const socket = connect({ port: server.door, host: '127.0.0.1' }, () => socket.write(head))
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('close', () => resolve(text))
    socket.on('error', () => {})
  })
  assert.match(answer, /^HTTP\/1\.1 408 /)
  assert.match(answer, /"code":"RequestTimeout"/)
})

test('58: depth of any kind is 400, and the server goes on', async (t) => {
  const server = await startRustfs(t)
  for (const body of [
    '['.repeat(100_000),
    '{"a":'.repeat(100_000),
    `{"Tags":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    `{"Tags":${'{"a":'.repeat(20)}1${'}'.repeat(20)}}`,
  ]) {
    const { status, json } = await server.call('POST', '/keys', body)
    assert.deepEqual([status, json['code']], [400, 'InvalidRequest'])
    assert.match(String(json['message']), /nested deeper/)
  }
  assert.equal((await server.call('GET', '/keys')).status, 200)
})

test('58: names that mean something to the language are tags like any other', async (t) => {
  const server = await startRustfs(t)
  const tags = '{"__proto__":"a","constructor":"b","toString":"c","hasOwnProperty":"d"}'
  const made = await server.call('POST', '/keys', `{"Tags":${tags}}`)
  assert.equal(made.status, 200)
  const id = String(made.json['key_id'])
  const sorted = JSON.stringify(Object.entries(JSON.parse(tags) as object).sort(byName))
  for (const path of [`/keys/${id}`, '/keys']) {
    const { body } = await server.call('GET', path)
    const answered = /"tags":(\{[^}]*\})/.exec(body)?.[1] ?? ''
    assert.equal(
      JSON.stringify(Object.entries(JSON.parse(answered) as object).sort(byName)),
      sorted,
    )
  }
  const untag = { key_id: id, tag_keys: ['__proto__', 'constructor', 'toString', 'hasOwnProperty'] }
  const { body } = await server.call('POST', '/keys/untag', untag)
  assert.ok(body.includes('"tags":{}'))
  assert.equal(({} as Record<string, unknown>)['a'], undefined)
})

test('58: what is no JSON, or has a field that there is not, is 400 and says so', async (t) => {
  const server = await startRustfs(t)
  for (const [body, message] of [
    ['{', /invalid JSON/],
    ['{"Description":"a",}', /invalid JSON/],
    ['{"Discription":"a"}', /invalid JSON: unknown field "Discription"/],
    ['{"Description":"a","Description":"b"}', /duplicate field "Description"/],
    ['{"Description":1}', /Description is not a string/],
    ['{"Description":"\\ud800"}', /surrogate/],
    ['{} {}', /something follows/],
  ] as const) {
    const { status, json } = await server.call('POST', '/keys', body)
    assert.deepEqual([status, json['code'], json['success']], [400, 'InvalidRequest', false], body)
    assert.match(String(json['message']), message)
  }
  assert.deepEqual((await server.call('GET', '/keys')).json['keys'], [])
})

test('59: unknown paths are 404 and other methods 405, in JSON, to those who sign', async (t) => {
  const server = await startRustfs(t)
  for (const path of ['/nothing', '/keys/a/b', '/backup', '/keys/', ''])
    assert.equal((await server.call('GET', path)).json['code'], 'NotFound', path)
  for (const path of [
    '/',
    '/rustfs',
    '/minio/kms/v1/status',
    '/v1/status',
    '/version',
    '/rustfs/admin/v5/kms/keys',
  ]) {
    const signed = sign({ method: 'GET', target: path }, OPS, { door: server.door })
    assert.equal((await sendTo(server, signed)).status, 404, path)
  }
  for (const [method, path, allow] of [
    ['PUT', '/keys', 'POST, GET'],
    ['GET', '/keys/delete', 'DELETE'],
    ['POST', '/keys/delete', 'DELETE'],
    ['GET', '/generate-data-key', 'POST'],
    ['DELETE', '/keys/a', 'GET'],
  ] as const) {
    const { status, json, headers } = await server.call(method, path)
    assert.deepEqual(
      [status, json['code'], headers['allow']],
      [405, 'MethodNotAllowed', allow],
      path,
    )
    const nobody = await sendTo(server, { method, target: PREFIX + path, headers: {} })
    assert.equal(nobody.status, 401)
  }
})

test('59: version 4 of the API is 426 without a body', async (t) => {
  const server = await startRustfs(t)
  const { status, body } = await server.call('GET', '/rustfs/admin/v4/kms/keys')
  assert.deepEqual([status, body], [426, ''])
})

test('every answer is JSON, is for no cache, and has an id that the error log knows', async (t) => {
  const server = await startRustfs(t)
  for (const [method, path] of [
    ['GET', '/keys'],
    ['GET', '/keys/missing'],
    ['GET', '/nothing'],
    ['POST', '/keys/rotate'],
  ] as const) {
    const { headers, status, json } = await server.call(method, path)
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(headers['cache-control'], 'no-store')
    const id = String(headers['x-amz-request-id'])
    assert.match(id, /^[0-9a-f-]{36}$/)
    if (status >= 400) {
      assert.equal(json['request_id'], id)
      await logged(server, new RegExp(`req\\.id=${id}`))
    }
  }
})

test('Accept: application/xml, which awscurl sends, changes nothing', async (t) => {
  const server = await startRustfs(t)
  const { headers, json } = await server.call('GET', '/keys/missing', undefined, {
    headers: { accept: 'application/xml' },
  })
  assert.deepEqual([headers['content-type'], json['code']], ['application/json', 'NotFound'])
})

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1
}
