/** What has been answered is true after a crash, and two servers on one directory agree. */

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'

import {
  eventually,
  type ServerProcess,
  serverFiles,
  startServerProcess,
} from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { openSession, type Session } from '../support/session.ts'

const ROUNDS = 6
const IN_FLIGHT = 16

/** All names, page by page. */
async function list(session: Session): Promise<string[]> {
  const names: string[] = []
  for (let from = ''; ;) {
    const { status, body } = await session.ask('GET', `/v1/key/list/${from}`)
    assert.equal(status, 200)
    const page = JSON.parse(body)
    names.push(...page.names)
    if (!page.continue_at) return names
    from = page.continue_at
  }
}

test('after kill -9 in the middle of creates, every answered key is there and every listed key works', async (t) => {
  const files = await serverFiles(t)
  const start = (): Promise<ServerProcess> =>
    startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const answered = new Set<string>()
  const seals = new Map<string, string>()
  for (let round = 0; round < ROUNDS; round++) {
    const process = await start()
    const session = await openSession(t, process.port, files.admin)
    await checkAll(session, answered, seals)
    let next = 0
    const createUntilDead = async (): Promise<void> => {
      for (;;) {
        const name = `k-${round}-${next++}`
        try {
          const { status } = await session.ask('PUT', `/v1/key/create/${name}`)
          assert.equal(status, 200)
        } catch (error) {
          if (session.http2.destroyed || session.http2.closed) return
          throw error
        }
        answered.add(name)
      }
    }
    const before = answered.size
    const creators = Array.from({ length: IN_FLIGHT }, createUntilDead)
    await eventually('creates are answered', () => answered.size > before + 5 * round)
    process.kill('SIGKILL')
    assert.equal((await process.exited).signal, 'SIGKILL')
    session.abandon()
    await Promise.all(creators)
  }
  const last = await openSession(t, (await start()).port, files.admin)
  await checkAll(last, answered, seals)
  assert.ok(answered.size > 0)
})

/** Everything that is listed can seal and open, also what it sealed before the last crash. */
async function checkAll(
  session: Session,
  answered: ReadonlySet<string>,
  seals: Map<string, string>,
): Promise<void> {
  const names = await list(session)
  const listed = new Set(names)
  for (const name of answered) assert.ok(listed.has(name), `${name} was answered and is lost`)
  await Promise.all(
    names.map(async (name) => {
      const before = seals.get(name)
      if (before !== undefined) {
        const { ciphertext, plaintext } = JSON.parse(before)
        const body = JSON.stringify({ ciphertext })
        const opened = await session.ask('PUT', `/v1/key/decrypt/${name}`, body)
        assert.equal(opened.status, 200, `${name}: ${opened.body}`)
        assert.equal(JSON.parse(opened.body).plaintext, plaintext, name)
        return
      }
      const made = await session.ask('PUT', `/v1/key/generate/${name}`, '{}')
      assert.equal(made.status, 200, `${name}: ${made.body}`)
      seals.set(name, made.body)
    }),
  )
}

/** Two servers on one directory, as two admins. */
async function twoServers(t: TestContext, config = ''): Promise<[Session, Session]> {
  const keys = tempDir(t)
  const open = async (): Promise<Session> => {
    const files = await serverFiles(t, { keys, config })
    const args = ['--config', 'config.yml']
    const { port } = await startServerProcess(t, args, { cwd: files.directory })
    return openSession(t, port, files.admin)
  }
  return [await open(), await open()]
}

async function seal(session: Session, name: string): Promise<string> {
  const made = await session.ask('PUT', `/v1/key/generate/${name}`, '{}')
  assert.equal(made.status, 200, made.body)
  return JSON.stringify({ ciphertext: JSON.parse(made.body).ciphertext })
}

test('a key that one server created is usable at once on another on the same directory', async (t) => {
  const [a, b] = await twoServers(t)
  assert.equal((await b.ask('GET', '/v1/key/describe/shared')).status, 404)
  assert.equal((await a.ask('PUT', '/v1/key/create/shared')).status, 200)
  const sealed = await seal(a, 'shared')
  assert.equal((await b.ask('PUT', '/v1/key/decrypt/shared', sealed)).status, 200)
  assert.deepEqual(await list(b), ['shared'])
})

test('of concurrent creates of one name on two servers exactly one wins, and both use its key', async (t) => {
  const [a, b] = await twoServers(t)
  for (let round = 0; round < 20; round++) {
    const name = `contested-${round}`
    const create = (session: Session) => session.ask('PUT', `/v1/key/create/${name}`)
    const answers = await Promise.all([a, b, a, b].map(create))
    const [winner, ...losers] = answers.sort((one, other) => one.status - other.status)
    assert.equal(winner?.status, 200)
    for (const loser of losers) {
      assert.equal(loser.status, 400)
      assert.equal(JSON.parse(loser.body).message, 'key already exists')
    }
    const opened = await b.ask('PUT', `/v1/key/decrypt/${name}`, await seal(a, name))
    assert.equal(opened.status, 200)
  }
})

test('what a deleted key sealed does not open under a new key of its name: at once here, elsewhere after cache.expiry.any', async (t) => {
  const any = 1000
  const [a, b] = await twoServers(t, `cache: { expiry: { any: ${any}ms, unused: ${any}ms } }`)
  assert.equal((await a.ask('PUT', '/v1/key/create/twice')).status, 200)
  const old = await seal(a, 'twice')
  assert.equal((await b.ask('PUT', '/v1/key/decrypt/twice', old)).status, 200)

  assert.equal((await a.ask('DELETE', '/v1/key/delete/twice')).status, 200)
  assert.equal((await a.ask('PUT', '/v1/key/decrypt/twice', old)).status, 404)
  assert.equal((await a.ask('PUT', '/v1/key/create/twice')).status, 200)
  const created = performance.now()
  const refused = await a.ask('PUT', '/v1/key/decrypt/twice', old)
  assert.equal(refused.status, 400)
  assert.equal(JSON.parse(refused.body).message, 'decryption failed: ciphertext is not authentic')
  const fresh = await seal(a, 'twice')

  // Steady use must not keep it alive.
  while (performance.now() - created <= any) {
    await b.ask('PUT', '/v1/key/decrypt/twice', old)
    await sleep(50)
  }
  assert.equal((await b.ask('PUT', '/v1/key/decrypt/twice', old)).status, 400)
  assert.equal((await b.ask('PUT', '/v1/key/decrypt/twice', fresh)).status, 200)
})

test('requests for a key that is deleted and made anew meanwhile never bring the old one back', async (t) => {
  const [a] = await twoServers(t)
  for (let round = 0; round < 15; round++) {
    const name = `again-${round}`
    assert.equal((await a.ask('PUT', `/v1/key/create/${name}`)).status, 200)
    const old = await seal(a, name)
    const decrypt = () => a.ask('PUT', `/v1/key/decrypt/${name}`, old)
    let isDone = false
    const readers = Array.from({ length: 4 }, async () => {
      while (!isDone) await decrypt()
    })
    assert.equal((await a.ask('DELETE', `/v1/key/delete/${name}`)).status, 200)
    assert.equal((await a.ask('PUT', `/v1/key/create/${name}`)).status, 200)
    assert.equal((await decrypt()).status, 400)
    isDone = true
    await Promise.all(readers)
    assert.equal((await decrypt()).status, 400)
  }
})
