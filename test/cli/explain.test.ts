/** `kes policy explain` and `show` against servers that do not tell in which dialect a policy is written. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { ApiKey } from '#src/client/index.js'
import { answer, http2Peer } from '../support/peers.ts'
import { type Finished, kes } from '../support/process.ts'

const WHO = 'a'.repeat(64)

/** Runs a command against a server of which every identity has the policy `p`. */
async function run(t: TestContext, policy: object, ...args: string[]): Promise<Finished> {
  const peer = await http2Peer(t, (stream, { path }) => {
    const origin = { created_at: '2024-01-01T00:00:00Z' }
    const body = path.startsWith('/v1/identity/') ? { policy: 'p' } : policy
    answer(stream, JSON.stringify({ ...body, ...origin }))
  })
  const env = { KES_SERVER: peer.url, KES_API_KEY: ApiKey.generate().reveal() }
  return kes(t, ['policy', ...args, '-k'], { env })
}

const EXPLAIN = ['explain', WHO, 'PUT', '/v1/key/create/a']

test('of an older generation it says that it guesses, where that matters', async (t) => {
  const { code, stdout, stderr } = await run(t, { allow: ['/v1/key/*'] }, ...EXPLAIN)
  assert.equal(stdout, 'allowed: by the rule "/v1/key/*" of policy \'p\'\n')
  assert.match(stderr, /does not tell the dialect of policy 'p'; if it is v0\.18 or v0\.7, it is/)
  assert.equal(code, 0)
  const same = await run(t, { allow: ['/v1/key/create/*'] }, ...EXPLAIN)
  assert.deepEqual([same.code, same.stderr], [0, ''])
  const json = await run(t, { allow: ['/v1/key/*'] }, ...EXPLAIN, '--json')
  assert.equal(JSON.parse(json.stdout).dialect, null)
  const shown = await run(t, { allow: ['/v1/key/*'] }, 'show', 'p')
  assert.match(shown.stdout, /^Dialect +not told by the server$/m)
})

test('of the current generation, which has one language, it is sure', async (t) => {
  const { code, stderr } = await run(t, { allow: { '/v1/key/*': {} } }, ...EXPLAIN)
  assert.deepEqual([code, stderr], [0, ''])
})

test('a dialect that nobody knows is not guessed', async (t) => {
  const policy = { allow: { '/v1/key/*': {} }, dialect: 'v9' }
  const { code, stderr } = await run(t, policy, ...EXPLAIN)
  assert.equal(code, 1)
  assert.match(stderr, /the answer's JSON is not as expected: dialect/)
})
