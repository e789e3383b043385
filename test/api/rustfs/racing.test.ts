/** Changes of the service that race, under load: no wrong answer, only clean refusals. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type { Called, RustfsServer } from '../../support/rustfs.ts'
import { freshService, MASTER_KEY, ok } from '../../support/rustfs-service.ts'

const CLIENTS = 4

/** Clients that generate and open data keys until `work` is done. @returns how often each status came */
async function underLoad(
  server: RustfsServer,
  key_id: string,
  work: () => Promise<void>,
): Promise<Map<number, number>> {
  let isDone = false
  const statuses = new Map<number, number>()
  const note = ({ status, json, body }: Called): boolean => {
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status === 200) return true
    // Nothing runs just now: that, and nothing else, may be the answer.
    assert.equal(status, 503, body)
    assert.equal(json['message'], 'kms service is not running')
    return false
  }
  const client = async (index: number): Promise<void> => {
    const encryption_context = { client: String(index) }
    while (!isDone) {
      const body = { key_id, key_spec: 'AES_256', encryption_context }
      const made = await server.call('POST', '/generate-data-key', body)
      if (!note(made)) continue
      const { ciphertext_blob, plaintext_key } = made.json
      const sealed = { key_id, ciphertext_blob, encryption_context }
      const opened = await server.call('POST', '/decrypt-data-key', sealed)
      if (note(opened)) assert.equal(opened.json['plaintext_key'], plaintext_key)
    }
  }
  const clients = Array.from({ length: CLIENTS }, (_, index) => client(index))
  const ended = work().finally(() => (isDone = true))
  await Promise.all([ended, ...clients])
  return statuses
}

/** A request of each kind, again and again, all at once. */
async function race(server: RustfsServer, body: object, count: number): Promise<void> {
  const requests = [
    ['/configure', body, [200, 409]],
    ['/start', {}, [200, 409]],
    ['/reconfigure', { default_key_id: 'main' }, [200, 409]],
    ['/start', { force: true }, [200, 409]],
    ['/stop', undefined, [200]],
  ] as const
  const all = Array.from({ length: count }, async (_, index) => {
    const [path, sent, expected] = requests[index % requests.length] ?? requests[0]
    const { status, body: text, json } = await server.call('POST', path, sent)
    assert.ok((expected as readonly number[]).includes(status), `${path}: ${status} ${text}`)
    assert.equal(json['success'], status === 200)
    assert.ok(['Running', 'Configured'].includes(String(json['status'])), text)
  })
  await Promise.all(all)
}

/** @param rounds how many changes race in each */
async function raced(
  t: TestContext,
  server: RustfsServer,
  body: object,
  rounds: readonly number[],
): Promise<void> {
  await ok(server.call('POST', '/configure', body))
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/keys', { tags: { name: 'main' } }))
  const statuses = await underLoad(server, 'main', async () => {
    for (const count of rounds) await race(server, body, count)
  })
  t.diagnostic(`statuses: ${JSON.stringify([...statuses])}`)
  const { status } = await ok(server.call('GET', '/status'))
  if (status !== 'Running') await ok(server.call('POST', '/start'))
  await ok(server.call('GET', '/keys/main'))
}

test('configure, start, stop and reconfigure race on the server’s keystore: one after the other', async (t) => {
  const { server } = await freshService(t)
  await raced(t, server, { backend_type: 'keystore' }, [50, 50, 50, 50, 50, 50])
})

test('configure, start, stop and reconfigure race on a directory of its own: one after the other', async (t) => {
  const { server, local } = await freshService(t)
  // A start takes some tenths of a second there: fewer of them do.
  await raced(t, server, local, [10])
})

test('a swap costs no request: those that run end on the old backend, new ones go to the new', async (t) => {
  const { server, root } = await freshService(t)
  const key_dir = join(root, 'keys')
  await ok(
    server.call('POST', '/configure', { backend_type: 'local', key_dir, master_key: MASTER_KEY }),
  )
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/keys', { tags: { name: 'main' } }))
  const statuses = await underLoad(server, 'main', async () => {
    for (let ttl = 60; ttl < 62; ttl++) {
      await ok(server.call('POST', '/reconfigure', { cache_ttl_seconds: ttl }))
      await ok(server.call('POST', '/start', { force: true }))
    }
  })
  assert.deepEqual([...statuses.keys()], [200])
  assert.ok((statuses.get(200) ?? 0) > 0)
})
