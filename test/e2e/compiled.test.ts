/** What V8 compiled is kept beside the command, and is believed only where it is right (docs/adr/0012). */

import assert from 'node:assert/strict'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { kes, MAIN, serverFiles, startServerProcess } from '../support/process.ts'
import { tempDir } from '../support/server.ts'

/** A copy of the command that may be changed. */
function installed(t: TestContext) {
  const directory = tempDir(t)
  const dist = join(directory, 'dist')
  mkdirSync(dist)
  cpSync(join(dirname(MAIN), '../package.json'), join(directory, 'package.json'))
  for (const name of readdirSync(dirname(MAIN)))
    if (/\.cjs$|^commit\.json$|^main\.js$/.test(name))
      cpSync(join(dirname(MAIN), name), join(dist, name))
  const command = join(dist, 'main.js')
  const script = join(dist, 'kes.cjs')
  const cache = join(dist, 'kes.cache')
  const startAndStop = async (): Promise<void> => {
    const { config } = await serverFiles(t)
    const server = await startServerProcess(t, ['--config', config], { command })
    const { code, signal } = await server.stop()
    assert.deepEqual({ code, signal }, { code: 0, signal: null })
  }
  return { command, script, cache, names: () => readdirSync(dist).sort(), startAndStop }
}

function writtenAt(path: string): bigint {
  return statSync(path, { bigint: true }).mtimeNs
}

test('the first start of a server keeps what was compiled, and the next one uses it', async (t) => {
  const { cache, startAndStop } = installed(t)
  await startAndStop()
  const written = writtenAt(cache)
  await startAndStop()
  // Compiled anew, it would have been kept anew.
  assert.equal(writtenAt(cache), written)
})

test('what was compiled of another source of the same length is not run', async (t) => {
  const { command, script, startAndStop } = installed(t)
  await startAndStop()
  assert.match((await kes(t, ['--help'], { command })).stdout, /Open successor of MinIO KES/)
  const source = readFileSync(script, 'latin1')
  writeFileSync(script, source.replace('Open successor of', 'Able successor of'), 'latin1')
  assert.match((await kes(t, ['--help'], { command })).stdout, /Able successor of MinIO KES/)
})

test('a cache with a wrong byte is not run, but replaced', async (t) => {
  const { cache, command, startAndStop } = installed(t)
  await startAndStop()
  const bytes = readFileSync(cache)
  for (const place of [0, bytes.length >> 1, bytes.length - 1]) {
    const damaged = Buffer.from(bytes)
    damaged.writeUInt8(bytes.readUInt8(place) ^ 1, place)
    writeFileSync(cache, damaged)
    assert.equal((await kes(t, ['--version'], { command })).code, 0)
  }
  for (const length of [0, 31, 32, bytes.length - 1]) {
    writeFileSync(cache, bytes.subarray(0, length))
    assert.equal((await kes(t, ['--version'], { command })).code, 0)
  }
  await startAndStop()
  assert.ok(readFileSync(cache).length > 100_000)
  const written = writtenAt(cache)
  await startAndStop()
  assert.equal(writtenAt(cache), written)
})

test('a cache that others could have written is not run', async (t) => {
  const { cache, command, startAndStop } = installed(t)
  await startAndStop()
  const written = writtenAt(cache)
  chmodSync(cache, 0o666)
  assert.equal((await kes(t, ['--version'], { command })).code, 0)
  await startAndStop()
  assert.notEqual(writtenAt(cache), written)
  assert.equal(statSync(cache).mode & 0o777, 0o644)
})

test('where nothing can be kept, a server runs all the same and leaves nothing behind', async (t) => {
  const { cache, names, startAndStop } = installed(t)
  rmSync(cache, { force: true })
  // Permissions mean nothing to root; a directory in its place stops everybody.
  mkdirSync(join(cache, 'in-the-way'), { recursive: true })
  const before = names()
  await startAndStop()
  assert.deepEqual(names(), before)
})

test('commands that end at once keep nothing', async (t) => {
  const { command, names } = installed(t)
  const before = names()
  assert.equal((await kes(t, ['--version'], { command })).code, 0)
  assert.equal((await kes(t, ['server'], { command })).code, 2)
  assert.deepEqual(names(), before)
})
