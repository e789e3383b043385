import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ask, startServer } from '../support/server.ts'

for (const http of ['h1', 'h2'] as const) {
  test(`a data key opens again over ${http}`, async (t) => {
    const { port, user } = await startServer(t)
    assert.equal((await ask(port, user, 'PUT', '/v1/key/create/user-a', { http })).status, 200)
    const made = await ask(port, user, 'PUT', '/v1/key/generate/user-a', {
      http,
      body: '{"context":"AAEC"}',
    })
    const { plaintext, ciphertext } = JSON.parse(made.body)
    const opened = await ask(port, user, 'POST', '/v1/key/decrypt/user-a', {
      http,
      body: JSON.stringify({ ciphertext, context: 'AAEC' }),
    })
    assert.equal(opened.body, `{"plaintext":"${plaintext}"}\n`)
    assert.equal(opened.headers['cache-control'], 'no-store')
  })
}
