/** A key that is rotated again and again under load: no answer is wrong, none fails. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { serverFiles, startServerProcess } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { openSession, type Session } from '../support/session.ts'

const ROTATIONS = 50
const CLIENTS = 32

interface Sealed {
  readonly ciphertext: string
  readonly plaintext: string
  readonly context: string
}

test('50 rotations under the load of 32 clients of two servers: no wrong answer, and none that fails', async (t) => {
  const keys = tempDir(t)
  const open = async (): Promise<() => Promise<Session>> => {
    const files = await serverFiles(t, { keys })
    const args = ['--config', 'config.yml']
    const { port } = await startServerProcess(t, args, { cwd: files.directory })
    return () => openSession(t, port, files.admin)
  }
  const servers = [await open(), await open()]
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, (_, index) => (servers[index % 2] ?? assert.fail())()),
  )
  const [admin] = clients
  assert.ok(admin)
  const call = async (client: Session, path: string, body: object): Promise<never> => {
    const answer = await client.ask('PUT', `/v1/key/${path}/a`, JSON.stringify(body))
    assert.equal(answer.status, 200, `${path}: ${answer.body}`)
    return (answer.body === '' ? {} : JSON.parse(answer.body)) as never
  }
  await call(admin, 'create', {})

  let isDone = false
  const sealed: Sealed[] = []
  const versions = new Set<number>()
  const work = async (client: Session, number: number): Promise<void> => {
    for (let i = 0; !isDone; i++) {
      const context = Buffer.from(`object ${number} ${i}`).toString('base64')
      const made: Omit<Sealed, 'context'> = await call(client, 'generate', { context })
      sealed.push({ ...made, context })
      // What anybody has sealed, on either server, under whatever version.
      const one = sealed[(i * 7919 + number) % sealed.length] ?? assert.fail()
      const { ciphertext } = one
      const opened: Sealed = await call(client, 'decrypt', { ciphertext, context: one.context })
      assert.equal(opened.plaintext, one.plaintext)
      const moved: { ciphertext: string; version: number } = await call(client, 'rewrap', {
        ciphertext,
        context: one.context,
      })
      versions.add(moved.version)
      sealed.push({ ...one, ciphertext: moved.ciphertext })
    }
  }
  const load = Promise.all(clients.map(work))
  let version = 1
  for (let i = 0; i < ROTATIONS; i++) {
    // By one server and the other in turn.
    const rotated: { version: number } = await call(clients[i % 2] ?? assert.fail(), 'rotate', {})
    assert.equal(rotated.version, ++version)
  }
  isDone = true
  await load
  assert.ok(versions.size > 10, `${versions.size} versions were seen`)
  for (const { ciphertext, context, plaintext } of sealed.slice(-200)) {
    const opened: Sealed = await call(admin, 'decrypt', { ciphertext, context })
    assert.equal(opened.plaintext, plaintext)
  }
})
