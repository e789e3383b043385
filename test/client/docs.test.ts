/** The programs of docs/client.md run as they stand there. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { ApiKey } from '#src/client/index.js'
import { startServer } from '../support/server.ts'

const PROGRAMS = readFileSync('docs/client.md', 'utf8')
  .split('\n```ts\n')
  .slice(1)
  .map((rest) => rest.split('\n```\n')[0] ?? '')

/** Runs a program inside this package, so that it finds `openkes/client`. @returns what it printed */
async function run(program: string): Promise<string> {
  const apiKey = ApiKey.generate()
  const ended: (() => unknown)[] = []
  const owner = { after: (end: () => unknown) => ended.unshift(end) }
  const directory = mkdtempSync(join('build', 'docs-'))
  owner.after(() => rmSync(directory, { recursive: true }))
  try {
    const server = await startServer(owner, {
      config: `policy: { all: { allow: [ "*" ], identities: [ ${apiKey.identity} ] } }`,
    })
    writeFileSync(join(directory, 'ca.pem'), server.server.cert)
    writeFileSync(join(directory, 'program.mjs'), program)
    const env = {
      ...process.env,
      KES_SERVER: `localhost:${server.port}`,
      KES_API_KEY: apiKey.reveal(),
      KES_CA: join(directory, 'ca.pem'),
    }
    const file = join(directory, 'program.mjs')
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env, timeout: 30_000 })
    return stdout
  } finally {
    for (const end of ended) await end()
  }
}

const PRINTED = [
  'true\ntrue DECRYPT decryption failed: ciphertext is not authentic\nmy-app-key\n',
  'true /version false 200\n',
  '2 true\n0\n',
]

test('docs/client.md has programs, each with its output here', () => {
  assert.equal(PROGRAMS.length, PRINTED.length)
})

for (const [index, program] of PROGRAMS.entries()) {
  test(`program ${index + 1} of docs/client.md runs and prints what it should`, async () => {
    assert.equal(await run(program), PRINTED[index])
  })
}
