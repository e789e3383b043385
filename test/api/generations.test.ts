/** Which generation of the API answers whom (kes-dialects.md), and its streamed listings. */

import assert from 'node:assert/strict'
import { connect } from 'node:http2'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { encodeKey } from '#src/keys/codec.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { type Certificate, certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import {
  ask,
  type Answer,
  people,
  startServer,
  type TestServer,
  IN_PROCESS,
} from '../support/server.ts'
import { FakeStore } from '../support/store.ts'
import { vectors } from '../support/vectors.ts'

const GENERATIONS = ['current', 'v0.18', 'v0.7'] as const
type Generation = (typeof GENERATIONS)[number]
type Fleet = TestServer & { readonly members: Readonly<Record<Generation, Certificate>> }

/** A server with one identity of each generation, who may do everything to keys. */
async function fleet(t: TestContext, config = ''): Promise<Fleet> {
  const members = Object.fromEntries(
    await Promise.all(
      GENERATIONS.map(async (name) => [name, await certificate({ subject: name })] as const),
    ),
  ) as Record<Generation, Certificate>
  const policies = GENERATIONS.map((name) => {
    const allow = name === 'current' ? ['/v1/*'] : ['/v1/*', '/v1/*/*', '/v1/*/*/', '/v1/*/*/*']
    const identities = [members[name].identity]
    return `  "${name}": ${JSON.stringify({ allow, identities, dialect: name })}`
  })
  const server = await startServer(t, { config: `policy:\n${policies.join('\n')}\n${config}` })
  return { ...server, members }
}

const KEYS = 'keys: [ { name: a }, { name: b } ]'

function kind({ status, headers, body }: Answer): string {
  assert.equal(status, 200, body)
  const [first = ''] = body.split('\n')
  return `${String(headers['content-type'])} ${first.replace(/"created_at":"[^"]*"/, '"created_at":T').replace(/,"created_by":"\w*"/, '')}`
}

test('a caller is answered in the generation of their policy', async (t) => {
  const { port, members } = await fleet(t, KEYS)
  const list = async (who: Certificate): Promise<string> =>
    kind(await ask(port, who, 'GET', '/v1/key/list/'))
  assert.equal(await list(members.current), 'application/json {"names":["a","b"]}')
  assert.equal(await list(members['v0.18']), 'application/x-ndjson {"name":"a","created_at":T}')
  assert.equal(await list(members['v0.7']), 'application/x-ndjson {"name":"a"}')
})

for (const [dialect, expected] of Object.entries({
  current: 'application/json {"names":["a","b"]}',
  'v0.18': 'application/x-ndjson {"name":"a","created_at":T}',
  'v0.7': 'application/x-ndjson {"name":"a"}',
})) {
  test(`the admin of a server of the dialect ${dialect} is answered in it`, async (t) => {
    const { port, admin } = await fleet(t, `dialect: ${dialect}\n${KEYS}`)
    assert.equal(kind(await ask(port, admin, 'GET', '/v1/key/list/')), expected)
  })
}

test('a policy without a dialect has the server’s', async (t) => {
  const { user } = await people()
  const policy = { allow: ['/v1/policy/*/*'], identities: [user.identity] }
  const { port } = await startServer(t, {
    config: `dialect: v0.18\npolicy: { user: ${JSON.stringify(policy)} }`,
  })
  const { status, headers } = await ask(port, user, 'GET', '/v1/policy/list/*')
  assert.deepEqual([status, headers['content-type']], [200, 'application/x-ndjson'])
})

test('a policy tells its dialect when that is not the current one, which the Go server knows alone', async (t) => {
  const { port, admin } = await startServer(t, {
    config: 'policy: { a: { dialect: current }, b: { dialect: v0.18 }, c: { dialect: v0.7 } }',
  })
  for (const [name, expected] of [
    ['a', undefined],
    ['b', 'v0.18'],
    ['c', 'v0.7'],
  ]) {
    const { body } = await ask(port, admin, 'GET', `/v1/policy/read/${name}`)
    assert.equal(JSON.parse(body).dialect, expected)
    assert.equal(body.includes('dialect'), expected !== undefined)
  }
})

for (const path of ['/v1/key/list/', '/v1/policy/list/', '/v1/identity/list/']) {
  test(`a caller of the current generation gets ${path} as lines when they ask for them`, async (t) => {
    const { port, members } = await fleet(t, KEYS)
    const headers = { accept: 'application/x-ndjson' }
    const answer = await ask(port, members.current, 'GET', path, { headers })
    assert.deepEqual(
      [answer.status, answer.headers['content-type'], answer.headers['vary']],
      [200, 'application/x-ndjson', 'Accept'],
    )
    for (const line of answer.body.trimEnd().split('\n'))
      assert.equal(typeof JSON.parse(line), 'object')
    const plain = await ask(port, members.current, 'GET', path)
    assert.equal(plain.headers['content-type'], 'application/json')
  })
}

test('asking for lines gives no right', async (t) => {
  const { port, nobody } = await fleet(t, KEYS)
  const headers = { accept: 'application/x-ndjson' }
  assert.equal((await ask(port, nobody, 'GET', '/v1/key/list/', { headers })).status, 403)
})

test('listings of older generations are by patterns, those of the current one by prefixes', async (t) => {
  const { port, members } = await fleet(t, 'keys: [ { name: ab }, { name: ac }, { name: bc } ]')
  const names = async (who: Certificate, pattern: string): Promise<string> => {
    const { body } = await ask(port, who, 'GET', `/v1/key/list/${encodeURIComponent(pattern)}`)
    return [...body.matchAll(/"name":"(\w+)"/g)].map(([, name]) => name).join()
  }
  for (const generation of ['v0.18', 'v0.7'] as const) {
    const who = members[generation]
    assert.equal(await names(who, '*c'), 'ac,bc')
    assert.equal(await names(who, 'a?'), 'ab,ac')
    assert.equal(await names(who, '[b-z]*'), 'bc')
    assert.equal(await names(who, 'ab'), 'ab')
    assert.equal(await names(who, 'a'), '')
    assert.equal(await names(who, '*'), 'ab,ac,bc')
  }
  assert.equal((await ask(port, members.current, 'GET', '/v1/key/list/*c')).status, 400)
  assert.equal(
    (await ask(port, members.current, 'GET', '/v1/key/list/a')).body,
    '{"names":["ab","ac"]}\n',
  )
})

test('a pattern that is none is refused', async (t) => {
  const { port, members } = await fleet(t)
  for (const pattern of ['[', '[]a]', '\\', 'a~b', 'x'.repeat(300)]) {
    const path = `/v1/key/list/${encodeURIComponent(pattern)}`
    const { status, body } = await ask(port, members['v0.18'], 'GET', path)
    assert.equal(status, 400, pattern)
    assert.match(body, /listing pattern/)
  }
})

test('only callers of the oldest generation delete with POST', async (t) => {
  const { port, members } = await fleet(t, 'keys: [ { name: a } ]')
  for (const generation of ['current', 'v0.18'] as const) {
    const { status, headers } = await ask(port, members[generation], 'POST', '/v1/key/delete/a')
    assert.deepEqual([status, headers['allow'], headers['accept']], [405, 'DELETE', 'DELETE'])
  }
  const wrong = await ask(port, members['v0.7'], 'PUT', '/v1/key/delete/a')
  assert.deepEqual([wrong.status, wrong.headers['allow']], [405, 'DELETE, POST'])
  assert.equal((await ask(port, members['v0.7'], 'POST', '/v1/key/delete/a')).status, 200)
})

test('/v1/api lists every route that answers, of all generations', async (t) => {
  const { port, admin } = await fleet(t)
  const routes = JSON.parse((await ask(port, admin, 'GET', '/v1/api')).body) as { path: string }[]
  const paths = routes.map(({ path }) => path)
  for (const path of [
    '/v1/key/bulk/decrypt/',
    '/v1/policy/write/',
    '/v1/policy/assign/',
    '/v1/policy/delete/',
    '/v1/identity/assign/',
    '/v1/identity/delete/',
    '/v1/identity/forget/',
    '/v1/log/audit/trace',
    '/v1/log/error/trace',
  ])
    assert.ok(paths.includes(path), path)
  for (const path of paths)
    assert.notEqual((await ask(port, admin, 'HEAD', path)).status, 404, path)
})

test('each generation describes the caller in its own shape', async (t) => {
  const { port, members } = await fleet(t)
  const describe = async (who: Certificate): Promise<Record<string, unknown>> =>
    JSON.parse((await ask(port, who, 'GET', '/v1/identity/self/describe')).body) as never
  const { policy, policy_name, allow } = await describe(members.current)
  assert.deepEqual([policy, policy_name, allow], ['current', 'current', { '/v1/*': {} }])
  for (const generation of ['v0.18', 'v0.7'] as const) {
    const self = await describe(members[generation])
    assert.equal(self['policy_name'], generation)
    assert.deepEqual(self['policy'], { allow: ['/v1/*', '/v1/*/*', '/v1/*/*/', '/v1/*/*/*'] })
  }
})

/** More than a few pages. */
const MANY = 5000

function storeOfMany(): FakeStore {
  const names = Array.from({ length: MANY }, (_, index) => `key-${String(index).padStart(6, '0')}`)
  return storeOf(names)
}

function storeOf(names: readonly string[]): FakeStore {
  const store = new FakeStore()
  for (const name of names) store.entries.set(name, ENTRY)
  return store
}

const ENTRY = entry()

function entry(): Uint8Array {
  const createdAt = { seconds: 1_600_000_000, nanos: 0 }
  const parts = { cipher: 'AES256', secret: Buffer.alloc(32, 1), createdAt, createdBy: '' } as const
  return encodeKey(parts)
}

for (const http of ['h1', 'h2'] as const) {
  test(
    `a listing of thousands of keys is whole and in order over ${http}`,
    { skip: IN_PROCESS },
    async (t) => {
      const { port, admin } = await startServer(t, {
        config: 'dialect: v0.18',
        store: storeOfMany(),
      })
      const { body } = await ask(port, admin, 'GET', '/v1/key/list/*', { http })
      const names = body
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { name: string }).name)
      assert.equal(names.length, MANY)
      assert.deepEqual(names, names.toSorted())
      assert.equal(new Set(names).size, MANY)
    },
  )
}

test(
  'a key that cannot be read is a line with an error, and the listing goes on',
  { skip: IN_PROCESS },
  async (t) => {
    const store = storeOf(['a', 'b', 'c'])
    store.entries.set('b', Buffer.from('damaged'))
    const { port, admin } = await startServer(t, { config: 'dialect: v0.18', store })
    const { body } = await ask(port, admin, 'GET', '/v1/key/list/')
    const at = '"created_at":"2020-09-13T12:26:40Z"'
    assert.deepEqual(body.split('\n'), [
      `{"name":"a",${at}}`,
      '{"name":"b","error":"failed to read key"}',
      `{"name":"c",${at}}`,
      '',
    ])
  },
)

test('a listing that cannot begin is a 502', { skip: IN_PROCESS }, async (t) => {
  const store = storeOfMany()
  store.list = () => Promise.reject(new KeyStoreError('failed', 'no list'))
  const { port, admin } = await startServer(t, { config: 'dialect: v0.18', store })
  const { status, body } = await ask(port, admin, 'GET', '/v1/key/list/')
  assert.deepEqual([status, body], [502, '{"message":"failed to list keys"\n}'])
})

for (const http of ['h1', 'h2'] as const) {
  test(
    `a listing that fails midway ends with a line that says so over ${http}`,
    { skip: IN_PROCESS },
    async (t) => {
      const store = storeOfMany()
      const list = store.list.bind(store)
      let pages = 0
      store.list = (...args) =>
        ++pages > 2 ? Promise.reject(new KeyStoreError('unreachable', 'gone')) : list(...args)
      const server = await startServer(t, { config: 'dialect: v0.7', store })
      const { status, body } = await ask(server.port, server.admin, 'GET', '/v1/key/list/', {
        http,
      })
      assert.equal(status, 200)
      const lines = body.trimEnd().split('\n')
      assert.equal(lines.length, 2049)
      assert.deepEqual(JSON.parse(lines.at(-1) ?? ''), { error: 'failed to list keys' })
      assert.match(server.stderr(), /failed to list keys: gone/)
    },
  )
}

test(
  'a listing is made no faster than its reader takes it, and ends with them',
  { skip: IN_PROCESS },
  async (t) => {
    const store = storeOfMany()
    const list = store.list.bind(store)
    let pages = 0
    store.list = async (listing, limit) => {
      pages++
      // Without end: the same page again and again.
      const page = await list({ ...listing, from: listing.prefix }, limit)
      return { names: page.names, next: 'key-000001' }
    }
    const { port, admin } = await startServer(t, { config: 'dialect: v0.7', store })
    const session = connect(`https://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      key: admin.key,
      cert: admin.cert,
    })
    t.after(() => session.destroy())
    const stream = session.request({ ':path': '/v1/key/list/' })
    await new Promise((resolve) => stream.once('response', resolve))
    // Nobody reads: what is under way fills the windows, and no more is made.
    const made = await settled(() => pages)
    assert.ok(made < 100, `${made} pages`)
    stream.resume()
    await eventually('it goes on', () => pages > made + 20)
    stream.close()
    session.destroy()
    await settled(() => pages)
  },
)

/** A count that has stopped growing. */
async function settled(count: () => number): Promise<number> {
  for (let before = -1; ; before = count()) {
    await sleep(300)
    if (before === count()) return before
  }
}

for (const generation of GENERATIONS) {
  test(`the oldest ciphertexts open for callers of ${generation}`, async (t) => {
    const { port, members } = await fleet(t)
    const who = members[generation]
    const old = vectors.ciphertexts.filter(
      ({ format, expect }) => format !== 'raw' && expect === 'ok',
    )
    for (const { id, cipher, key: bytes, hmac_key } of vectors.keys) {
      const body = JSON.stringify({
        key: bytes.toString('base64'),
        hmac_key: hmac_key.toString('base64'),
        cipher,
      })
      assert.equal((await ask(port, who, 'POST', `/v1/key/import/${id}`, { body })).status, 200, id)
    }
    for (const { id, key, ciphertext, context, plaintext } of [...old, ...old.map(older)]) {
      const sealed = {
        ciphertext: ciphertext.toString('base64'),
        context: context.toString('base64'),
      }
      const expected = { plaintext: plaintext?.toString('base64') ?? '' }
      const one = { body: JSON.stringify(sealed) }
      const opened = await ask(port, who, 'POST', `/v1/key/decrypt/${key}`, one)
      assert.deepEqual(JSON.parse(opened.body), expected, id)
      const many = { body: JSON.stringify([sealed, sealed]) }
      const both = await ask(port, who, 'POST', `/v1/key/decrypt/${key}`, many)
      assert.deepEqual(JSON.parse(both.body), [expected, expected], id)
    }
  })
}

/** As the first releases named the cipher of their JSON ciphertexts. */
function older<T extends { readonly ciphertext: Buffer }>(vector: T): T {
  const text = vector.ciphertext.toString('latin1')
  const named = text.replace('"aead":"AES-256-GCM-HMAC-SHA-256"', '"aead":"AES-256-GCM"')
  return { ...vector, ciphertext: Buffer.from(named, 'latin1') }
}
