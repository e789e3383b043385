/** `--enclave`: commands work in the enclave that is named, and only there. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { kes } from '../support/process.ts'
import { ask, startServer } from '../support/server.ts'

test('a key that is created with --enclave is in the enclave, and nowhere else', async (t) => {
  const server = await startServer(t)
  const { admin, port, directory } = server
  writeFileSync(join(directory, 'admin.key'), admin.key)
  writeFileSync(join(directory, 'admin.cert'), admin.cert)
  const env = {
    KES_SERVER: `https://127.0.0.1:${port}`,
    KES_API_KEY: '',
    KES_CLIENT_KEY: 'admin.key',
    KES_CLIENT_CERT: 'admin.cert',
    KES_CA: 'server.cert',
  }
  const run = (...args: string[]) => kes(t, args, { cwd: directory, env })
  assert.equal((await ask(port, admin, 'PUT', '/v1/enclave/create/tenant')).status, 200)

  assert.equal((await run('key', 'create', 'mine', '-e', 'tenant')).code, 0)
  assert.equal((await run('key', 'ls', '--enclave=tenant')).stdout, 'mine\n')
  assert.equal((await run('key', 'ls')).stdout, '')
})
