/** The runner of the tests: what counts, what is told, and what a second try means. */

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'

import { type Finished, run } from '../support/process.ts'
import { tempDir } from '../support/server.ts'

const GOOD = `
import { test } from 'node:test'
test('good', () => {})
test('parts', async (t) => { await t.test('part', () => {}) })
test('left out', { skip: 'why' }, () => {})
`
const BAD = `
import { test } from 'node:test'
test('good', () => {})
test('parts', async (t) => { await t.test('bad part', () => { throw new Error('as ever') }) })
`
/** Fails unless it has run before. */
const SHAKY = `
import { existsSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
test('good', () => {})
test('shaky', () => {
  if (existsSync('ran')) return
  writeFileSync('ran', '')
  throw new Error('this time')
})
`
const BROKEN = `throw new Error('no tests here')`

/** @param files by their path below the directory of compiled tests */
async function runner(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  { words = [], retry = '' }: { words?: readonly string[]; retry?: string } = {},
): Promise<Finished> {
  const cwd = tempDir(t)
  for (const [name, text] of Object.entries(files)) {
    const path = join(cwd, 'build/test', name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  writeFileSync(join(cwd, 'package.json'), '{ "type": "module" }')
  const script = resolve('scripts/test.mjs')
  // Of the runner that runs this: another one would take it for its own.
  const env = { KES_TEST_RETRY: retry, NODE_TEST_CONTEXT: undefined }
  return run(t, [process.execPath, script, ...words], { cwd, env })
}

/** The numbers of the summary, which ends the output. */
function counts(stdout: string): Record<string, number> {
  const lines = stdout.trimEnd().split('\n').slice(-8)
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, number] = /^ℹ (\w+) (\d+)$/.exec(line) ?? assert.fail(stdout)
      return [name, Number(number)]
    }),
  )
}

test('tests that pass are counted, those of all files', async (t) => {
  const { code, stdout } = await runner(t, { 'a.test.js': GOOD, 'b/c.test.js': GOOD })
  assert.equal(code, 0, stdout)
  const { duration_ms: took, ...rest } = counts(stdout)
  assert.deepEqual(rest, {
    tests: 8,
    suites: 0,
    pass: 6,
    fail: 0,
    cancelled: 0,
    skipped: 2,
    todo: 0,
  })
  assert.ok(took !== undefined && took > 0)
  assert.match(stdout, /^ℹ slowest: (?:a|b\/c)\.test\.ts \d+ s, /m)
})

test('a test that fails fails the run, and is shown', async (t) => {
  const { code, stdout } = await runner(t, { 'a.test.js': GOOD, 'b.test.js': BAD })
  assert.equal(code, 1)
  assert.match(stdout, /failing tests:[^]+bad part[^]+Error: as ever/)
  const { pass, fail } = counts(stdout)
  assert.deepEqual({ pass, fail }, { pass: 4, fail: 2 })
})

test('a file that cannot run fails the run', async (t) => {
  const { code, stdout } = await runner(t, { 'a.test.js': BROKEN }, { retry: '1' })
  assert.equal(code, 1)
  assert.match(stdout, /no tests here/)
  assert.equal(counts(stdout)['fail'], 1)
})

test('what fails is tried once only', async (t) => {
  const { code, stdout } = await runner(t, { 'a.test.js': SHAKY })
  assert.equal(code, 1)
  assert.doesNotMatch(stdout, /FLAKY/)
  assert.equal(counts(stdout)['fail'], 1)
})

test('with a second try, what passes then is told and counts once', async (t) => {
  const files = { 'a.test.js': GOOD, 'b.test.js': SHAKY }
  const { code, stdout } = await runner(t, files, { retry: '1' })
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^FLAKY: b\.test\.ts: shaky$/m)
  assert.match(stdout, /Error: this time/)
  const { tests, pass, fail } = counts(stdout)
  assert.deepEqual({ tests, pass, fail }, { tests: 6, pass: 5, fail: 0 })
})

test('with a second try, what fails again fails the run, whatever else is shaky', async (t) => {
  const files = { 'a.test.js': SHAKY, 'b.test.js': BAD }
  const { code, stdout } = await runner(t, files, { retry: '1' })
  assert.equal(code, 1)
  assert.match(stdout, /^FLAKY: a\.test\.ts: shaky$/m)
  assert.doesNotMatch(stdout, /FLAKY: b/)
  const { tests, pass, fail } = counts(stdout)
  assert.deepEqual({ tests, pass, fail }, { tests: 5, pass: 3, fail: 2 })
})

test('words choose files, also those that have a command of their own', async (t) => {
  const files = {
    'a.test.js': GOOD,
    'keystore/aws-outages.test.js': GOOD,
    'keystore/fs.test.js': GOOD,
    'soak/soak.test.js': BAD,
  }
  const all = await runner(t, files)
  assert.equal(counts(all.stdout)['tests'], 8)
  assert.match(all.stdout, /^ℹ left out: .*npm run test:keystores/m)
  const keystores = await runner(t, files, { words: ['keystore/'] })
  assert.equal(counts(keystores.stdout)['tests'], 8)
  const one = await runner(t, files, { words: ['aws'] })
  assert.equal(counts(one.stdout)['tests'], 4)
  const none = await runner(t, files, { words: ['azure'] })
  assert.equal(none.code, 1)
  assert.match(none.stderr, /azure/)
})
