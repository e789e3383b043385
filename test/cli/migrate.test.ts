/** `kes migrate` as a process: many keys, crashes, a terminal, and real servers as keystores. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { progressLine } from '#src/cli/migrate/progress.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { PASSWORD, TestEtcd } from '../support/etcd.ts'
import { entry } from '../support/keys.ts'
import { TestPostgres } from '../support/postgres.ts'
import { eventually, type Finished, kes, type KesProcess, start } from '../support/process.ts'
import { freePorts } from '../support/program.ts'
import { tempDir } from '../support/server.ts'
import { keyStoreYaml, openStore, type StoreConfig } from '../support/stores.ts'
import { kesInTerminal } from '../support/terminal.ts'
import { without } from '../support/tools.ts'

interface Places {
  /** Of the command. */
  readonly args: readonly string[]
  readonly old: string
  readonly new: string
}

/** A directory with so many keys, and where they are to go; a directory by default. */
function places(t: TestContext, count: number, target?: StoreConfig): Places {
  const directory = tempDir(t)
  const [from, to] = [join(directory, 'old'), join(directory, 'new')]
  mkdirSync(from)
  for (let index = 0; index < count; index++)
    writeFileSync(join(from, `key-${index}`), entry({ secret: randomBytes(32) }))
  const file = (name: string, config: StoreConfig): string => {
    const path = join(directory, name)
    writeFileSync(path, keyStoreYaml(config))
    return path
  }
  const source = file('old.yml', { kind: 'fs', settings: { path: from } })
  const other = file('new.yml', target ?? { kind: 'fs', settings: { path: to } })
  return { args: ['migrate', '--from', source, '--to', other], old: from, new: to }
}

function keysIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('key-'))
}

function assertCopied(places: Places, names = keysIn(places.old)): void {
  for (const name of names)
    assert.deepEqual(
      readFileSync(join(places.new, name)),
      readFileSync(join(places.old, name)),
      name,
    )
}

async function copiedSome(all: Places, least: number, { exited }: KesProcess): Promise<void> {
  const isThere = (): boolean => existsSync(all.new) && keysIn(all.new).length > least
  await eventually('some keys are copied', isThere, exited)
}

function assertEnded({ code, stderr }: Finished, expected: number, last: RegExp): void {
  assert.equal(code, expected, stderr)
  assert.match(stderr, last)
}

test('10,000 keys, with a kill -9 on the way: a rerun skips what is there and copies the rest', async (t) => {
  const all = places(t, 10_000)
  const first = start(t, all.args, {})
  await copiedSome(all, 500, first)
  first.kill('SIGKILL')
  assert.equal((await first.exited).signal, 'SIGKILL')
  const copied = keysIn(all.new)
  assert.ok(copied.length < 10_000)
  assertCopied(all, copied)

  const second = await kes(t, [...all.args, '--verify'])
  const rest = 10_000 - copied.length
  const last = `\n${rest} copied, ${copied.length} skipped, 0 failed, 10000 verified\n$`
  assertEnded(second, 0, new RegExp(last))
  assert.equal(second.stderr.split('\n').length, 3, 'no progress in a pipe')
  assertCopied(all)
})

test('Ctrl-C finishes what was begun, sums it up and exits with 130; SIGTERM with 143', async (t) => {
  const all = places(t, 3000)
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const before = signal === 'SIGINT' ? 0 : keysIn(all.new).length
    const running = start(t, all.args, {})
    await copiedSome(all, before + 50, running)
    running.kill(signal)
    assert.equal((await running.exited).code, code)
    assert.match(
      running.stderr().toString(),
      /\nStopping: .*\n\d+ copied, \d+ skipped, 0 failed, \d+ not tried\n$/,
    )
    assertCopied(all, keysIn(all.new))
    assert.deepEqual(
      readdirSync(all.new).filter((name) => name.startsWith('-tmp-')),
      [],
    )
  }
})

test('Ctrl-C before the target answers exits with 130', async (t) => {
  const [port] = await freePorts(1)
  const endpoints = [`http://127.0.0.1:${port}`]
  const { args } = places(t, 1, { kind: 'etcd', settings: { endpoints } })
  const running = start(t, args, {})
  await eventually('it is tried again', () => running.stderr().includes('try 1'), running.exited)
  running.kill('SIGINT')
  assert.equal((await running.exited).code, 130)
  assert.match(running.stderr().toString(), /\nStopping: /)
})

test('a target that nobody can reach is an error that names it', async (t) => {
  const [port] = await freePorts(1)
  const endpoints = [`http://127.0.0.1:${port}`]
  const { args } = places(t, 1, { kind: 'etcd', settings: { endpoints } })
  const { code, stderr } = await kes(t, args)
  assert.equal(code, 1)
  assert.match(stderr, /\nError: the target: keystore etcd \(.*\): .*ECONNREFUSED/)
})

const asRoot = process.getuid?.() === 0 && 'root may write everywhere'

test('a directory that must not be written is named', { skip: asRoot }, async (t) => {
  const all = places(t, 2)
  mkdirSync(all.new, { mode: 0o500 })
  t.after(() => chmodSync(all.new, 0o700))
  assertEnded(await kes(t, all.args), 1, /failed: key-0: the target: EACCES: permission denied/)
})

test('no output has a value in it', async (t) => {
  const all = places(t, 3)
  mkdirSync(all.new)
  writeFileSync(join(all.new, 'key-1'), entry())
  writeFileSync(join(all.old, 'broken'), `!${entry().toString()}`)
  const { stdout, stderr } = await kes(t, [...all.args, '--json', '--verify'])
  assert.match(stderr, /\n2 copied, 0 skipped, 2 failed, 2 verified\n/)
  for (const name of readdirSync(all.old)) {
    const value = readFileSync(join(all.old, name), 'latin1')
    for (let at = 0; at + 12 <= value.length; at += 6)
      assert.ok(!(stdout + stderr).includes(value.slice(at, at + 12)), name)
  }
})

describe('the progress bar', () => {
  const half = { done: 2500, total: 10_000, elapsed: 2000 }

  test('shows how much is done, how fast, and what is left', () => {
    const bar = `[${'='.repeat(6)}${' '.repeat(18)}]`
    assert.equal(progressLine(half, 80), `${bar} 2,500/10,000  1,250/s  6 s left`)
  })

  test('knows minutes and hours', () => {
    assert.match(progressLine({ ...half, elapsed: 40_000 }, 80), /63\/s {2}2 min 0 s left$/)
    assert.match(progressLine({ ...half, elapsed: 4_000_000 }, 80), /1\/s {2}3 h 20 min left$/)
  })

  test('has no time at the beginning, and is full at the end', () => {
    assert.match(progressLine({ done: 0, total: 3, elapsed: 0 }, 80), /^\[ {24}\] 0\/3$/)
    assert.match(progressLine({ done: 0, total: 0, elapsed: 5 }, 80), /^\[={24}\] 0\/0$/)
  })

  test('fits into a narrow terminal', () => {
    assert.equal(progressLine(half, 20), '2,500/10,000')
    assert.equal(progressLine(half, 5), '2,500')
  })

  test('is drawn in a terminal, and taken away', { skip: without('script') }, async (t) => {
    const all = places(t, 50)
    const terminal = kesInTerminal(t, all.args, { env: { TERM: 'xterm' } })
    await terminal.see(`[${'='.repeat(24)}] 50/50`)
    await terminal.see('\r\u001b[K50 copied, 0 skipped, 0 failed')
    assert.equal(await terminal.exited, 0)
  })
})

const ENCLAVE = '-enclave-tenant'
const TENANT = `{"name":"tenant","admin":"${'a'.repeat(64)}","created_at":"2024-01-01T00:00:00Z"}`

/** There, and back into another directory; everything is compared with what it was. */
async function roundTrip(t: TestContext, config: StoreConfig): Promise<void> {
  const there = places(t, 40, config)
  writeFileSync(join(there.old, ENCLAVE), TENANT)
  assertEnded(await kes(t, [...there.args, '--verify']), 0, /\n41 copied, .* 41 verified\n$/)
  assertEnded(await kes(t, [...there.args]), 0, /\n0 copied, 41 skipped, 0 failed\n$/)

  const store = await openStore(t, config)
  await store.delete('key-7', SIGNAL)
  await store.create('key-7', entry(), SIGNAL)
  assertEnded(await kes(t, there.args), 1, /failed: key-7: .*another value\n0 copied, 40 skipped/)
  assertEnded(await kes(t, [...there.args, '-f']), 0, /\n0 copied, 1 overwritten, 40 skipped/)

  const back = places(t, 0, config)
  const [from = '', to = ''] = [back.args[2], back.args[4]]
  const args = ['migrate', '--from', to, '--to', from]
  assertEnded(await kes(t, args), 0, /\n41 copied, 0 skipped, 0 failed\n$/)
  assertCopied({ args, old: there.old, new: back.old })
  assert.deepEqual(readFileSync(join(back.old, ENCLAVE)), bytes(TENANT))
}

const noEtcd = without('etcd')
const noPostgres = without('postgres', 'initdb')

test('to etcd and back', { skip: noEtcd }, async (t) => {
  const server = await TestEtcd.start(t)
  await roundTrip(t, server.config())
})

test('a user of etcd who may only read is told so, for every key', { skip: noEtcd }, async (t) => {
  const server = await TestEtcd.start(t)
  await server.demandLogins()
  const reader = { username: 'reader', password: PASSWORD }
  const { args } = places(t, 2, server.config(reader))
  const finished = await kes(t, args)
  assertEnded(finished, 1, /failed: key-0: the target: .*reader/)
  assert.match(finished.stderr, /failed: key-1: .*\n0 copied, 0 skipped, 2 failed\n/)
})

test('to PostgreSQL and back', { skip: noPostgres }, async (t) => {
  const server = await TestPostgres.start(t)
  await roundTrip(t, server.config())
})
