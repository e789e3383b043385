/** The package as users get it: packed, installed globally without install scripts, used in an empty directory. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { promisify } from 'node:util'

import { VERSION } from '#src/version.js'
import { kes, startServerProcess } from '../support/process.ts'
import { tempDir } from '../support/server.ts'

const run = promisify(execFile)

/** npm's words for a registry that cannot be reached. */
const NO_REGISTRY = /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|ERR_SOCKET/

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

async function pack(...args: readonly string[]): Promise<Packed> {
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', ...args])
  const [packed] = JSON.parse(stdout) as Packed[]
  assert.ok(packed !== undefined)
  return packed
}

test('the package has what is needed, and nothing else', async () => {
  const paths = (await pack('--dry-run')).files.map(({ path }) => path)
  for (const path of [
    'dist/main.js',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/client/index.js',
    'dist/THIRD-PARTY-LICENSES.txt',
    'dist/commit.json',
    'docs/config.md',
    'man/kes.1',
    'kes.schema.json',
    'LICENSE',
    'README.md',
  ]) {
    assert.ok(paths.includes(path), path)
  }
  const known = /^(?:dist\/|docs\/|man\/kes\.1$|kes\.schema\.json$|package\.json$|[A-Z]+(?:\.md)?$)/
  assert.deepEqual(
    paths.filter((path) => !known.test(path)),
    [],
  )
  // The command is in the bundle.
  assert.deepEqual(
    paths.filter((path) => path.startsWith('dist/cli/')),
    [],
  )
})

/** @returns the installed command; undefined where npm cannot reach its registry, and the test may skip */
async function install(t: TestContext): Promise<string | undefined> {
  const directory = tempDir(t)
  const { filename } = await pack('--pack-destination', directory)
  const prefix = join(directory, 'global')
  const flags = [
    '--ignore-scripts',
    '--omit=optional',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
  ]
  try {
    await run('npm', [
      'install',
      '--global',
      '--prefix',
      prefix,
      ...flags,
      join(directory, filename),
    ])
  } catch (error) {
    const { stderr } = error as { stderr: string }
    const mustRun = (process.env['KES_TEST_REQUIRE'] ?? '') !== ''
    if (mustRun || !NO_REGISTRY.test(stderr)) throw error
    t.skip('npm cannot reach its registry, so the package cannot be installed')
    return undefined
  }
  return join(prefix, 'bin', 'kes')
}

test('the installed package runs: version, init, a server, a key', async (t) => {
  const command = await install(t)
  if (command === undefined) return
  const cwd = tempDir(t)
  const ours = { command, cwd }

  const version = await kes(t, ['--version'], ours)
  assert.equal(version.stderr, '')
  assert.match(version.stdout, new RegExp(`^kes ${VERSION.replaceAll('.', '\\.')}`))

  const made = await kes(t, ['init', '--yes', '--json'], ours)
  assert.equal(made.code, 0, made.stderr)
  const { config, api_key: apiKey, cert } = JSON.parse(made.stdout)
  assert.equal((await kes(t, ['config', 'check', config], ours)).code, 0)

  const server = await startServerProcess(t, ['--config', config, '--addr', '127.0.0.1:0'], ours)
  const env = {
    KES_SERVER: `https://127.0.0.1:${server.port}`,
    KES_API_KEY: apiKey,
    KES_CA: cert,
  }
  const ask = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await kes(t, args, { ...ours, env })
    assert.equal(code, 0, stderr)
    return stdout
  }
  assert.equal(await ask('key', 'create', 'my-key'), '')
  assert.equal(await ask('key', 'ls'), 'my-key\n')
  const { plaintext, ciphertext } = JSON.parse(await ask('key', 'dek', 'my-key'))
  assert.deepEqual(JSON.parse(await ask('key', 'decrypt', 'my-key', ciphertext)), { plaintext })
  assert.equal((await server.stop()).code, 0)

  const manual = join(command, '..', '..', 'share', 'man', 'man1', 'kes.1')
  assert.match(readFileSync(manual, 'utf8'), /^\.TH KES 1/m)
})
