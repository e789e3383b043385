/** Making, finding and changing keys (rustfs-kms-admin.md, 15, cases 35 to 44 and 50 to 52). */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { type Called, type RustfsServer, startRustfs } from '../../support/rustfs.ts'
import { ask, tempDir } from '../../support/server.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/

type Metadata = Readonly<Record<string, unknown>>

function metadata({ json }: Called): Metadata {
  return json['key_metadata'] as Metadata
}

function ids({ json }: Called): string[] {
  return (json['keys'] as { key_id: string }[]).map(({ key_id: id }) => id)
}

function create(server: RustfsServer, name: string): Promise<Called> {
  return server.call('POST', '/keys', { Tags: { name } })
}

/** A server whose keys are files. */
async function onFiles(t: TestContext): Promise<{ server: RustfsServer; path: string }> {
  const path = join(tempDir(t), 'keys')
  return { server: await startRustfs(t, { config: `keystore: { fs: { path: ${path} } }` }), path }
}

const DOCUMENT = {
  KeyUsage: 'ENCRYPT_DECRYPT',
  Description: 'project-alpha',
  Tags: { owner: 'security', env: 'prod' },
}
const TODAY = {
  key_usage: 'EncryptDecrypt',
  description: 'project-alpha',
  tags: { owner: 'security', env: 'prod' },
}

for (const [number, spelling, body] of [
  [35, 'the document', DOCUMENT],
  [36, 'today’s RustFS', TODAY],
] as const) {
  test(`${number}: a key is made as ${spelling} asks for one, and answered in both ways`, async (t) => {
    const server = await startRustfs(t)
    const made = await server.call('POST', '/keys', body)
    assert.equal(made.status, 200, made.body)
    const id = String(made.json['key_id'])
    assert.match(id, UUID)
    const { creation_date: date, ...rest } = metadata(made)
    assert.match(String(date), DATE)
    assert.deepEqual(rest, {
      key_id: id,
      description: 'project-alpha',
      enabled: true,
      key_usage: 'ENCRYPT_DECRYPT',
      deletion_date: null,
      rotation_enabled: false,
      key_state: 'Enabled',
      origin: 'KMS',
      key_manager: 'CUSTOMER',
      tags: { owner: 'security', env: 'prod' },
    })
    // What was answered is what is stored.
    assert.deepEqual(metadata(await server.call('GET', `/keys/${id}`)), metadata(made))
    assert.deepEqual(
      [made.json['success'], made.json['message']],
      [true, 'key created successfully'],
    )
  })
}

test('37: both spellings of a field at once are 400', async (t) => {
  const server = await startRustfs(t)
  for (const body of [
    { KeyUsage: 'ENCRYPT_DECRYPT', key_usage: 'EncryptDecrypt' },
    { Description: 'a', description: 'a' },
    { Tags: {}, tags: {} },
  ])
    assert.equal((await server.call('POST', '/keys', body)).status, 400, JSON.stringify(body))
  assert.deepEqual(ids(await server.call('GET', '/keys')), [])
})

test('38: no body means a key of the usual kind', async (t) => {
  const server = await startRustfs(t)
  for (const body of [undefined, {}]) {
    const made = await server.call('POST', '/keys', body)
    assert.equal(made.status, 200)
    assert.match(String(made.json['key_id']), UUID)
    assert.deepEqual([metadata(made)['description'], metadata(made)['tags']], [null, {}])
  }
})

test('39: the tag name is the key’s name; the same once more is 409, what is no name 400', async (t) => {
  const { server, path } = await onFiles(t)
  const made = await create(server, 'k1')
  assert.deepEqual([made.status, made.json['key_id']], [200, 'k1'])
  assert.deepEqual(metadata(made)['tags'], { name: 'k1' })
  const again = await create(server, 'k1')
  assert.deepEqual([again.status, again.json['code']], [409, 'Conflict'])
  assert.equal(again.json['message'], 'failed to create key: key already exists')
  const before = readdirSync(join(path, '..'), { recursive: true })
  for (const name of ['../x', 'a/b', '.', '..', '', 'x'.repeat(300), 'a\0b', '-a', 'ä', 'a b']) {
    const { status, json } = await create(server, name)
    assert.deepEqual([status, json['code']], [400, 'InvalidRequest'], name)
  }
  assert.deepEqual(readdirSync(join(path, '..'), { recursive: true }), before)
})

test('40: of 50 that make a key of one name at once, one has made it', async (t) => {
  const { server } = await onFiles(t)
  const made = await Promise.all(Array.from({ length: 50 }, () => create(server, 'one')))
  const statuses = made.map(({ status }) => status).filter((status) => status !== 409)
  assert.deepEqual(statuses, [200])
})

test('41: without keys the listing is the document’s empty one', async (t) => {
  const server = await startRustfs(t)
  const { json } = await server.call('GET', '/keys')
  assert.deepEqual(
    [json['keys'], json['truncated'], json['next_marker'], 'unreadable_key_ids' in json],
    [[], false, null, false],
  )
})

test('41: pages of a listing have each key once, also when keys are deleted between them', async (t) => {
  const server = await startRustfs(t)
  for (const name of ['a', 'a-b', 'aa', 'b', 'c_d']) await create(server, name)
  const pages: string[][] = []
  let marker = ''
  for (;;) {
    const page = await server.call('GET', `/keys?limit=2&marker=${marker}`)
    pages.push(ids(page))
    if (page.json['truncated'] !== true) break
    marker = String(page.json['next_marker'])
  }
  assert.deepEqual(pages, [['a', 'a-b'], ['aa', 'b'], ['c_d']])
  await ask(server.port, server.admin, 'DELETE', '/v1/key/delete/a-b')
  assert.deepEqual(ids(await server.call('GET', '/keys?marker=a-b')), ['aa', 'b', 'c_d'])
})

test('41: a limit is a number; 0 is an empty page, and no page has more than 1,000 keys', async (t) => {
  const keys = Array.from({ length: 1005 }, (_, index) => `{ name: k${index} }`)
  const server = await startRustfs(t, { config: `keys: [ ${keys.join(', ')} ]` })
  const none = await server.call('GET', '/keys?limit=0')
  assert.deepEqual([ids(none), none.json['truncated']], [[], false])
  const many = await server.call('GET', '/keys?limit=5000')
  assert.deepEqual([ids(many).length, many.json['truncated']], [1000, true])
  assert.equal(ids(await server.call('GET', '/keys?marker=')).length, 100)
  for (const limit of ['abc', '-1', '1.5', '', '1e3', ' 1']) {
    const { status, json } = await server.call('GET', `/keys?limit=${encodeURIComponent(limit)}`)
    assert.deepEqual([status, json['code']], [400, 'InvalidRequest'], limit)
  }
  assert.equal((await server.call('GET', '/keys?limit')).status, 400)
})

test('42: a listing can be of one status and one usage, in any spelling', async (t) => {
  const server = await startRustfs(t)
  for (const name of ['a', 'b', 'c']) await create(server, name)
  await server.call('DELETE', '/keys/delete', { key_id: 'b' })
  await server.call('POST', '/keys/disable', { key_id: 'c' })
  const of = async (query: string): Promise<string[]> =>
    ids(await server.call('GET', `/keys?${query}`))
  for (const status of ['pending_deletion', 'PendingDeletion', 'PENDING-DELETION'])
    assert.deepEqual(await of(`status=${status}`), ['b'])
  assert.deepEqual(await of('status=disabled'), ['c'])
  assert.deepEqual(await of('status=active'), ['a'])
  assert.deepEqual(await of('status=Deleted'), [])
  assert.deepEqual(await of('usage=ENCRYPT_DECRYPT'), ['a', 'b', 'c'])
  assert.deepEqual(await of('usage=SignVerify'), [])
  const page = await server.call('GET', '/keys?limit=1&status=disabled')
  assert.deepEqual([ids(page), page.json['truncated'], page.json['next_marker']], [[], true, 'a'])
  assert.equal((await server.call('GET', '/keys?status=bogus')).status, 400)
  assert.equal((await server.call('GET', '/keys?usage=bogus')).status, 400)
})

test('43: a damaged key is named in the listing, and no listing is empty because of one', async (t) => {
  const { server, path } = await onFiles(t)
  for (const name of ['bad', 'good']) await create(server, name)
  writeFileSync(join(path, 'bad'), 'damaged')
  const both = await server.call('GET', '/keys')
  assert.deepEqual([ids(both), both.json['unreadable_key_ids']], [['good'], ['bad']])
  await ask(server.port, server.admin, 'DELETE', '/v1/key/delete/good')
  const one = await server.call('GET', '/keys')
  assert.deepEqual([one.status, one.json['code']], [500, 'InternalError'])
  // W10: damage is not absence.
  const described = await server.call('GET', '/keys/bad')
  assert.deepEqual([described.status, described.json['code']], [500, 'InternalError'])
  assert.equal((await server.call('POST', '/keys/cancel-deletion', { key_id: 'bad' })).status, 500)
})

test('44: a missing key is 404, with the fields of a description', async (t) => {
  const server = await startRustfs(t)
  const { status, json } = await server.call('GET', '/keys/missing')
  const { request_id: id, ...rest } = json
  assert.match(String(id), UUID)
  assert.equal(status, 404)
  assert.deepEqual(rest, {
    code: 'NotFound',
    message: 'failed to describe key: key does not exist',
    success: false,
    key_metadata: null,
    impact: null,
  })
})

test('44: what a key is needed for is said when asked, and never that it is unused', async (t) => {
  const server = await startRustfs(t, {
    rustfs: 'start: { backend_type: keystore, default_key_id: main }',
  })
  for (const name of ['main', 'other']) await create(server, name)
  assert.equal((await server.call('GET', '/keys/main?impact=maybe')).status, 400)
  assert.equal((await server.call('GET', '/keys/main?impact=TRUE')).status, 400)
  assert.equal((await server.call('GET', '/keys/main')).json['impact'], null)
  const impact = async (id: string): Promise<Readonly<Record<string, unknown>>> =>
    (await server.call('GET', `/keys/${id}?impact=true`)).json['impact'] as Metadata
  const { completeness, references } = await impact('main')
  assert.equal(completeness, 'observed-only')
  assert.deepEqual(
    (references as { kind: string; id: string }[]).map(({ kind, id }) => [kind, id]),
    [['service-default-key', 'main']],
  )
  assert.deepEqual((await impact('other'))['references'], [])
})

test('44: a percent-encoded name is decoded once', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'k_1')
  assert.equal((await server.call('GET', '/keys/%6B%5f1')).status, 200)
  assert.equal((await server.call('GET', '/keys/%256B_1')).status, 400)
  assert.equal((await server.call('GET', '/keys/a%2Fb')).status, 400)
  assert.equal((await server.call('GET', '/keys/%zz')).status, 400)
})

test('50: a disabled key seals nothing and opens what it has sealed', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'k')
  const wish = { key_id: 'k', key_spec: 'AES_256' }
  const { json } = await server.call('POST', '/generate-data-key', wish)
  const disabled = await server.call('POST', '/keys/disable', { key_id: 'k' })
  assert.deepEqual([disabled.status, metadata(disabled)['enabled']], [200, false])
  assert.equal(metadata(disabled)['key_state'], 'Disabled')
  const refused = await server.call('POST', '/generate-data-key', wish)
  assert.deepEqual([refused.status, refused.json['code']], [409, 'Conflict'])
  assert.equal(refused.json['message'], 'failed to generate data key: key is disabled')
  const opened = await server.call('POST', '/decrypt-data-key', {
    key_id: 'k',
    ciphertext_blob: json['ciphertext_blob'],
  })
  assert.equal(opened.json['plaintext_key'], json['plaintext_key'])
})

test('50: enabling and disabling say the same twice; a key that is to be deleted is neither', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'k')
  const post = (verb: string): Promise<Called> =>
    server.call('POST', `/keys/${verb}`, { key_id: 'k' })
  for (const verb of ['enable', 'enable', 'disable', 'disable', 'enable'])
    assert.equal((await post(verb)).status, 200, verb)
  await server.call('DELETE', '/keys/delete', { key_id: 'k' })
  for (const verb of ['enable', 'disable', 'rotate']) {
    const { status, json } = await post(verb)
    assert.deepEqual([status, json['code']], [409, 'Conflict'], verb)
  }
})

test('51: after a rotation old blobs open, and new ones are of the new version', async (t) => {
  const server = await startRustfs(t)
  const made = await create(server, 'k')
  const generate = async (): Promise<Readonly<Record<string, unknown>>> =>
    (await server.call('POST', '/generate-data-key', { key_id: 'k', key_spec: 'AES_256' })).json
  const old = await generate()
  const rotated = await server.call('POST', '/keys/rotate', { key_id: 'k' })
  assert.deepEqual(
    [rotated.status, rotated.json['message'], metadata(rotated)['creation_date']],
    [200, 'key rotated successfully', metadata(made)['creation_date']],
  )
  const fresh = await generate()
  for (const { ciphertext_blob: blob, plaintext_key: plaintext } of [old, fresh]) {
    const { json } = await server.call('POST', '/decrypt-data-key', {
      key_id: 'k',
      ciphertext_blob: blob,
    })
    assert.equal(json['plaintext_key'], plaintext)
  }
  const listed = (await server.call('GET', '/keys')).json['keys'] as Metadata[]
  assert.deepEqual([listed[0]?.['version'], typeof listed[0]?.['rotated_at']], [2, 'string'])
  // The first four bytes say that a version follows (docs/formats.md).
  const head = (json: Metadata): string =>
    Buffer.from(String(json['ciphertext_blob']), 'base64').toString('hex', 0, 9)
  assert.equal(head(fresh), 'c14b45530100000002')
  assert.notEqual(head(old), head(fresh))
  await server.call('POST', '/keys/disable', { key_id: 'k' })
  assert.equal((await server.call('POST', '/keys/rotate', { key_id: 'k' })).status, 409)
})

test('52: tags are added, replaced and taken away one by one; a description can be emptied', async (t) => {
  const server = await startRustfs(t)
  const made = await server.call('POST', '/keys', { Description: 'd', Tags: { a: '1', b: '2' } })
  const id = String(made.json['key_id'])
  const change = async (path: string, body: Metadata): Promise<Metadata> => {
    const answer = await server.call('POST', `/keys/${path}`, { key_id: id, ...body })
    assert.equal(answer.status, 200, answer.body)
    return metadata(answer)
  }
  assert.deepEqual((await change('tag', { tags: { b: '3', c: '4' } }))['tags'], {
    a: '1',
    b: '3',
    c: '4',
  })
  assert.deepEqual((await change('untag', { tag_keys: ['a', 'unknown'] }))['tags'], {
    b: '3',
    c: '4',
  })
  assert.equal((await change('update-description', { description: 'e' }))['description'], 'e')
  assert.equal((await change('update-description', { description: '' }))['description'], null)
  assert.deepEqual((await change('tag', { tags: {} }))['tags'], { b: '3', c: '4' })
  assert.deepEqual(metadata(await server.call('GET', `/keys/${id}`))['tags'], { b: '3', c: '4' })
})

test('52: the name is no tag that changes; a missing key is 404, a missing body 400', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'k')
  for (const [path, body] of [
    ['tag', { key_id: 'k', tags: { name: 'x' } }],
    ['untag', { key_id: 'k', tag_keys: ['name'] }],
  ] as const) {
    const { status, json } = await server.call('POST', `/keys/${path}`, body)
    assert.equal(status, 400)
    assert.match(String(json['message']), /Tag 'name' identifies the key/)
  }
  for (const [path, rest] of [
    ['tag', { tags: {} }],
    ['untag', { tag_keys: [] }],
    ['update-description', { description: '' }],
  ] as const) {
    const call = (body: unknown): Promise<Called> => server.call('POST', `/keys/${path}`, body)
    assert.equal((await call({ key_id: 'missing', ...rest })).status, 404, path)
    assert.equal((await call(undefined)).status, 400, path)
    assert.equal((await call({ key_id: 'k' })).status, 400, path)
    assert.equal((await call({ ...rest })).status, 400, path)
  }
})

test('W11: what MinIO’s clients put into the query is the key’s name', async (t) => {
  const server = await startRustfs(t)
  const made = await server.call('POST', '/minio/admin/v3/kms/key/create?key-id=foo')
  assert.deepEqual([made.status, made.json['key_id']], [200, 'foo'])
  for (const path of [
    '/kms/key/status?key-id=foo',
    '/kms/describe-key?keyId=foo',
    '/kms/describe-key?keyId=&key=foo',
  ]) {
    const { status, json } = await server.call('GET', `/minio/admin/v3${path}`)
    assert.deepEqual([status, (json['key_metadata'] as Metadata)['key_id']], [200, 'foo'], path)
  }
  assert.equal((await server.call('GET', '/key/status')).status, 400)
  assert.deepEqual(ids(await server.call('GET', '/list-keys')), ['foo'])
  assert.equal(
    (await server.call('POST', '/create-key', { Tags: { name: 'bar' } })).json['key_id'],
    'bar',
  )
  const both = await server.call('POST', '/key/create?key-id=foo2', { Tags: { name: 'bar2' } })
  assert.equal(both.status, 400)
})

test('W10: a usage that there is not is refused, not stored as another one', async (t) => {
  const server = await startRustfs(t)
  for (const KeyUsage of ['SIGN_VERIFY', 'SignVerify', 'x'])
    assert.equal((await server.call('POST', '/keys', { KeyUsage })).status, 400, KeyUsage)
})

test('W21: descriptions, tags and contexts have limits', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'k')
  const tags = Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`t${index}`, 'x']))
  for (const body of [
    { Description: 'x'.repeat(8193) },
    { Tags: tags },
    { Tags: { ['x'.repeat(129)]: 'x' } },
    { Tags: { a: 'x'.repeat(257) } },
  ])
    assert.equal((await server.call('POST', '/keys', body)).status, 400)
  const generate = { key_id: 'k', key_spec: 'AES_256', encryption_context: { a: 'x'.repeat(8192) } }
  assert.equal((await server.call('POST', '/generate-data-key', generate)).status, 400)
})

test('W22: entries of the server’s own are no keys', async (t) => {
  const { server, path } = await onFiles(t)
  await create(server, 'k')
  await server.call('POST', '/keys/rotate', { key_id: 'k' })
  assert.equal(readdirSync(path).length, 2)
  assert.deepEqual(ids(await server.call('GET', '/keys')), ['k'])
  const record = readdirSync(path).find((name) => name.startsWith('-')) ?? ''
  assert.equal((await server.call('GET', `/keys/${record}`)).status, 400)
  assert.match(readFileSync(join(path, 'k'), 'utf8'), /^[A-Za-z0-9+/]+=*$/)
})

test('keys are those of the KES API, both ways', async (t) => {
  const server = await startRustfs(t)
  await create(server, 'from-rustfs')
  await ask(server.port, server.admin, 'PUT', '/v1/key/create/from-kes')
  assert.deepEqual(ids(await server.call('GET', '/keys')), ['from-kes', 'from-rustfs'])
  const described = await ask(server.port, server.admin, 'GET', '/v1/key/describe/from-rustfs')
  assert.equal(JSON.parse(described.body).created_by, 'rustfs:ops')
  await server.call('POST', '/keys/disable', { key_id: 'from-kes' })
  const refused = await ask(server.port, server.admin, 'PUT', '/v1/key/generate/from-kes')
  assert.equal(refused.status, 409)
})
