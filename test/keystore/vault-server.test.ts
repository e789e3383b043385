/** A whole server on a Vault that has trouble. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ChaosProxy } from '../support/chaos-proxy.ts'
import { ask, startServer } from '../support/server.ts'
import { keyStoreYaml } from '../support/stores.ts'
import { FakeVault } from './fakes/vault.ts'

/** Within which the server is to tell the truth. */
const SOON = 2000

test('ready and status tell within 2 s that Vault is gone, sealed or back; cached keys go on', async (t) => {
  const vault = await FakeVault.start(t)
  const proxy = await ChaosProxy.start(t, { port: vault.service.port })
  const config = vault.config({ endpoint: `https://127.0.0.1:${proxy.port}` })
  const { port, admin } = await startServer(t, {
    config: `${keyStoreYaml(config)}cache: { expiry: { any: 1s, unused: 1s, offline: 1m } }`,
  })
  const call = async (method: string, path: string, body?: string): Promise<number> =>
    (await ask(port, admin, method, path, body === undefined ? {} : { body })).status
  const encrypt = (name: string): Promise<number> =>
    call('PUT', `/v1/key/encrypt/${name}`, '{"plaintext":"aGVsbG8="}')
  /** What the server says to those who ask from then on. */
  const soon = async (ready: number, isDown: true | undefined): Promise<void> => {
    await sleep(SOON)
    const answers = await Promise.all([
      call('GET', '/v1/ready'),
      ask(port, admin, 'GET', '/v1/status'),
    ])
    const status = JSON.parse(answers[1].body) as { keystore_unreachable?: boolean }
    assert.deepEqual([answers[0], status.keystore_unreachable], [ready, isDown])
  }

  assert.equal(await call('PUT', '/v1/key/create/cached'), 200)
  const troubles: readonly (readonly [begin: () => unknown, end: () => unknown])[] = [
    [() => proxy.become('refuse'), () => proxy.become('pass')],
    [() => proxy.become('hang'), () => proxy.become('pass')],
    [() => (vault.isSealed = true), () => (vault.isSealed = false)],
  ]
  for (const [index, [begin, end]] of troubles.entries()) {
    // What expired while Vault was there is cached no more.
    assert.equal(await encrypt('cached'), 200)
    await begin()
    await soon(504, true)
    assert.equal(await encrypt('cached'), 200)
    await end()
    assert.equal(await call('PUT', `/v1/key/create/new-${index}`), 200)
    await soon(200, undefined)
    assert.equal(await encrypt(`new-${index}`), 200)
  }
})
