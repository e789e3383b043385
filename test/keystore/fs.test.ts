import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'

import { fs, TIDY_AFTER } from '#src/keystore/fs.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { decodeKey } from '../support/keys.ts'
import { eventually } from '../support/process.ts'
import { tempDir } from '../support/server.ts'
import { storeChild } from '../support/stores.ts'
import { keyStoreContract } from './contract.ts'

keyStoreContract('fs', async (t) => (await opened(t)).store, {
  givesUp: false,
  shared: async (t) => ({ kind: 'fs', settings: { path: join(tempDir(t), 'keys') } }),
})

async function opened(t: TestContext): Promise<{ path: string; store: KeyStore }> {
  const path = join(tempDir(t), 'keys')
  return { path, store: await fs.open({ path }, SIGNAL) }
}

test('a missing directory is made, with those above it', async (t) => {
  const path = join(tempDir(t), 'a', 'b', 'c')
  await fs.open({ path }, SIGNAL)
  assert.ok(statSync(path).isDirectory())
})

test('a key is one file with its name that holds exactly the value', async (t) => {
  const { path, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.deepEqual(readdirSync(path), ['my-key'])
  assert.equal(readFileSync(join(path, 'my-key'), 'utf8'), 'value')
})

test('the file of a key is for its owner alone', async (t) => {
  const { path, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(statSync(join(path, 'my-key')).mode & 0o777, 0o600)
})

test('a file that the Go server wrote is a key', async (t) => {
  const { path, store } = await opened(t)
  writeFileSync(join(path, 'my-key'), 'value')
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
})

test('creates that lost leave no draft', async (t) => {
  const { path, store } = await opened(t)
  const creates = Array.from({ length: 8 }, () => store.create('my-key', bytes('v'), SIGNAL))
  await Promise.allSettled(creates)
  assert.deepEqual(readdirSync(path), ['my-key'])
})

/** A directory with drafts and keys of some ages. */
function aged(t: TestContext): { path: string; names: () => string[] } {
  const path = tempDir(t)
  const age = (name: string, minutes: number): void => {
    writeFileSync(join(path, name), 'half a key')
    const then = Date.now() / 1000 - minutes * 60
    utimesSync(join(path, name), then, then)
  }
  age('-tmp-1-old', 61)
  age('-tmp-1-young', 59)
  age('my-key', 10_000)
  age('-1-0a1b2c3d-my-key', 10_000)
  return { path, names: () => readdirSync(path).sort() }
}

test('drafts older than an hour are removed after the start, younger ones stay', async (t) => {
  const { path, names } = aged(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await fs.open({ path }, SIGNAL)
  t.mock.timers.tick(TIDY_AFTER)
  t.mock.timers.reset()
  const left = ['-1-0a1b2c3d-my-key', '-tmp-1-young', 'my-key']
  await eventually('the old draft is gone', () => names().length === left.length || undefined)
  assert.deepEqual(names(), left)
})

test('a keystore that was closed leaves drafts alone', async (t) => {
  const { path, names } = aged(t)
  const before = names()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const store = await fs.open({ path }, SIGNAL)
  await store.close()
  t.mock.timers.tick(TIDY_AFTER)
  t.mock.timers.reset()
  await setTimeout(50)
  assert.deepEqual(names(), before)
})

test('drafts, sub-directories, dot files and strange names are not listed', async (t) => {
  const { path, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  mkdirSync(join(path, 'directory'))
  for (const name of ['-tmp-1-draft', '.hidden', 'a.b', 'my key', 'ä', 'key~'])
    writeFileSync(join(path, name), 'x')
  const { names } = await store.list({ prefix: '', from: '' }, 100, SIGNAL)
  assert.deepEqual(names, ['my-key'])
})

test('a sub-directory is no missing key', async (t) => {
  const { path, store } = await opened(t)
  mkdirSync(join(path, 'my-key'))
  await assert.rejects(store.get('my-key', SIGNAL), { name: 'KeyStoreError', failure: 'failed' })
})

test('a sub-directory cannot be overwritten by a key', async (t) => {
  const { path, store } = await opened(t)
  mkdirSync(join(path, 'my-key'))
  await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('a directory that disappeared is no answer, never a missing key', async (t) => {
  const { path, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  rmSync(path, { recursive: true })
  const unreachable = { name: 'KeyStoreError', failure: 'unreachable' }
  await assert.rejects(store.get('my-key', SIGNAL), unreachable)
  await assert.rejects(store.delete('my-key', SIGNAL), unreachable)
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), unreachable)
  await assert.rejects(store.list({ prefix: '', from: '' }, 10, SIGNAL), unreachable)
  await assert.rejects(store.status(SIGNAL), unreachable)
})

test('a directory that became a file is no answer', async (t) => {
  const { path, store } = await opened(t)
  rmSync(path, { recursive: true })
  writeFileSync(path, '')
  await assert.rejects(store.status(SIGNAL), { name: 'KeyStoreError', failure: 'unreachable' })
  await assert.rejects(store.get('my-key', SIGNAL), { name: 'KeyStoreError' })
})

test('a directory that came back can be used again', async (t) => {
  const { path, store } = await opened(t)
  rmSync(path, { recursive: true })
  mkdirSync(path)
  await store.create('my-key', bytes('value'), SIGNAL)
  await store.status(SIGNAL)
})

test('a path that is a file is an error that says so', async (t) => {
  const path = join(tempDir(t), 'file')
  writeFileSync(path, '')
  await assert.rejects(fs.open({ path }, SIGNAL), {
    name: 'KeyStoreError',
    message: `'${path}' is not a directory`,
  })
})

test('a path below a file is an error that says so', async (t) => {
  const file = join(tempDir(t), 'file')
  writeFileSync(file, '')
  await assert.rejects(fs.open({ path: join(file, 'keys') }, SIGNAL), /is not a directory/)
})

test('a directory that may not be read is a denial', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root may read everything')
  const { path, store } = await opened(t)
  chmodSync(path, 0)
  t.after(() => chmodSync(path, 0o700))
  const denied = { name: 'KeyStoreError', failure: 'denied' }
  await assert.rejects(store.get('my-key', SIGNAL), denied)
  await assert.rejects(store.list({ prefix: '', from: '' }, 10, SIGNAL), denied)
  await assert.rejects(fs.open({ path }, SIGNAL), denied)
})

test('a name that leads out of the directory is a bug, not a file', async (t) => {
  const { path, store } = await opened(t)
  writeFileSync(join(path, '..', 'outside'), 'secret')
  for (const name of ['../outside', '..', '.', '', 'a/b', 'a\\b', 'a\0'])
    await assert.rejects(store.get(name, SIGNAL), /^Error: bug:/)
})

test('a process that is killed while it makes keys leaves no half key', async (t) => {
  const { path, store } = await opened(t)
  let found = 0
  for (let round = 0; round < 5; round++) {
    const victim = await storeChild(t, 'loop', { kind: 'fs', settings: { path } })
    await setTimeout(10 + round * 17)
    victim.kill('SIGKILL')
    await once(victim, 'exit')
    const { names } = await store.list({ prefix: '', from: '' }, 100_000, SIGNAL)
    assert.ok(names.length > found)
    found = names.length
    for (const name of names) decodeKey(await store.get(name, SIGNAL))
  }
})

test('a listing shows what others do in the directory, however long nothing had changed', async (t) => {
  const { path, store } = await opened(t)
  const list = async () => (await store.list({ prefix: '', from: '' }, 10, SIGNAL)).names
  writeFileSync(join(path, 'b'), '')
  assert.deepEqual(await list(), ['b'])
  // By now its names are remembered.
  await setTimeout(3500)
  assert.deepEqual(await list(), ['b'])
  assert.deepEqual(await list(), ['b'])
  writeFileSync(join(path, 'a'), '')
  assert.deepEqual(await list(), ['a', 'b'])
  rmSync(join(path, 'b'))
  assert.deepEqual(await list(), ['a'])
  await setTimeout(3500)
  assert.deepEqual(await list(), ['a'])
  rmSync(path, { recursive: true })
  await assert.rejects(list(), { failure: 'unreachable' })
  mkdirSync(path)
  assert.deepEqual(await list(), [])
})
