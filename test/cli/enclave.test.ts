/** `--enclave`: commands work in the enclave that is named, and only there. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { adminEnvironment, kes } from '../support/process.ts'
import { ask, startServer } from '../support/server.ts'

test('a key that is created with --enclave is in the enclave, and nowhere else', async (t) => {
  const server = await startServer(t)
  const env = adminEnvironment(server)
  const run = (...args: string[]) => kes(t, args, { env })
  const made = await ask(server.port, server.admin, 'PUT', '/v1/enclave/create/tenant')
  assert.equal(made.status, 200)

  assert.equal((await run('key', 'create', 'mine', '-e', 'tenant')).code, 0)
  assert.equal((await run('key', 'ls', '--enclave=tenant')).stdout, 'mine\n')
  assert.equal((await run('key', 'ls')).stdout, '')
})
