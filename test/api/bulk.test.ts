import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { ask, type Answer, startServer } from '../support/server.ts'

const PATHS = ['/v1/key/bulk/decrypt/user-a', '/v1/key/decrypt/user-a'] as const

interface Vault {
  readonly port: number
  post(path: string, body: unknown): Promise<Answer>
  seal(plaintext: string, context?: string): Promise<{ ciphertext: string; context?: string }>
}

async function vault(t: TestContext, config = ''): Promise<Vault> {
  const { port, admin, user } = await startServer(t, { config })
  const who = config === '' ? user : admin
  const post = (path: string, body: unknown): Promise<Answer> =>
    ask(port, who, 'POST', path, { body: typeof body === 'string' ? body : JSON.stringify(body) })
  await ask(port, admin, 'POST', '/v1/key/create/user-a')
  return {
    port,
    post,
    seal: async (text, context) => {
      const plaintext = base64(text)
      const fields = context === undefined ? {} : { context: base64(context) }
      const { body } = await post('/v1/key/encrypt/user-a', { plaintext, ...fields })
      return { ciphertext: (JSON.parse(body) as { ciphertext: string }).ciphertext, ...fields }
    },
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

// The user's policy does not name the bulk route.
const ADMIN = 'policy: {}'

for (const path of PATHS) {
  test(`ciphertexts sent to ${path} are opened in their order`, async (t) => {
    const { post, seal } = await vault(t, ADMIN)
    const entries = [await seal('one'), await seal('two', 'ctx'), await seal(''), await seal('one')]
    const { status, body } = await post(path, entries)
    assert.deepEqual(
      [status, body],
      [
        200,
        `${JSON.stringify(['one', 'two', '', 'one'].map((text) => ({ plaintext: base64(text) })))}\n`,
      ],
    )
  })

  test(`of ciphertexts sent to ${path} one that is not authentic spoils all`, async (t) => {
    const { post, seal } = await vault(t, ADMIN)
    const good = await seal('one')
    const wrong = await seal('two', 'ctx')
    for (const bad of [{ ciphertext: wrong.ciphertext }, { ciphertext: '' }, {}, null]) {
      const { status, body } = await post(path, [good, bad, good])
      assert.deepEqual(
        [status, body],
        [400, '{"message":"decryption failed: ciphertext is not authentic"\n}'],
      )
    }
  })

  test(`1,000 ciphertexts can be sent to ${path}, and one more is refused before any is looked at`, async (t) => {
    const { post, seal } = await vault(t, ADMIN)
    const entry = await seal('x')
    const most = await post(
      path,
      Array.from({ length: 1000 }, () => entry),
    )
    assert.equal(most.status, 200)
    assert.equal((JSON.parse(most.body) as unknown[]).length, 1000)
    const more = await post(
      path,
      Array.from({ length: 1001 }, () => ({ ciphertext: '!' })),
    )
    assert.deepEqual(
      [more.status, more.body],
      [413, '{"message":"request body is too large: the limit is 1000 ciphertexts"\n}'],
    )
  })

  test(`nothing is opened for a body to ${path} that is malformed anywhere`, async (t) => {
    const { post, seal } = await vault(t, ADMIN)
    const good = await seal('one')
    for (const bad of [
      1,
      'x',
      [],
      { ciphertext: 5 },
      { ciphertext: '!' },
      { ...good, context: {} },
    ]) {
      const { status, body } = await post(path, [good, bad])
      assert.deepEqual(
        [status, body],
        [400, '{"message":"invalid request body"\n}'],
        JSON.stringify(bad),
      )
    }
  })

  test(`no ciphertexts sent to ${path} are opened to none`, async (t) => {
    const { post } = await vault(t, ADMIN)
    const { status, body } = await post(path, [])
    assert.deepEqual([status, body], [200, '[]\n'])
  })
}

test('bulk decryption of something else than a list is refused', async (t) => {
  const { post, seal } = await vault(t, ADMIN)
  for (const body of ['', '{}', 'null', '"x"', '[', JSON.stringify(await seal('x'))])
    assert.equal((await post(PATHS[0], body)).status, 400, body)
})

test('bulk decryption of a key that does not exist is a 404', async (t) => {
  const { post } = await vault(t, ADMIN)
  assert.equal((await post('/v1/key/bulk/decrypt/none', [{ ciphertext: '' }])).status, 404)
})

test('a list sent to decrypt needs the right to decrypt, and no further one', async (t) => {
  const { post, seal } = await vault(t)
  const entry = await seal('x')
  assert.equal((await post(PATHS[1], [entry])).status, 200)
  assert.equal((await post(PATHS[0], [entry])).status, 403)
})

test('who is denied decryption is denied bulk decryption, and the other way round', async (t) => {
  const { port, admin, user } = await startServer(t)
  const write = (rules: object): Promise<Answer> =>
    ask(port, admin, 'POST', '/v1/policy/write/user', { body: JSON.stringify(rules) })
  const bulk = (path: string): Promise<Answer> => ask(port, user, 'POST', path, { body: '[]' })
  const [long, short] = PATHS
  await ask(port, admin, 'POST', '/v1/key/create/user-a')
  await write({ allow: ['/v1/key/*'], deny: ['/v1/key/decrypt/user-a'] })
  assert.deepEqual([(await bulk(long)).status, (await bulk(short)).status], [403, 403])
  await write({ allow: ['/v1/key/*'], deny: ['/v1/key/bulk/decrypt/user-a'] })
  assert.deepEqual([(await bulk(long)).status, (await bulk(short)).status], [403, 403])
  await write({ allow: ['/v1/key/*'] })
  assert.deepEqual([(await bulk(long)).status, (await bulk(short)).status], [200, 200])
})

test('the body of a bulk decryption may have 2 MiB, as /v1/api says', async (t) => {
  const { port, admin } = await startServer(t)
  const routes = JSON.parse((await ask(port, admin, 'GET', '/v1/api')).body) as {
    path: string
    max_body: number
  }[]
  assert.equal(routes.find(({ path }) => path === '/v1/key/bulk/decrypt/')?.max_body, 2_097_152)
  const body = `[${' '.repeat(2_097_152)}]`
  assert.equal((await ask(port, admin, 'POST', PATHS[0], { body })).status, 413)
})
