import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'

import { fingerprints, PARTS, repeated } from '../support/seals.ts'

const child = new URL('../support/seal-child.js', import.meta.url)

test('in a million seals, by two processes and a thread, no data key, iv or nonce comes twice', async () => {
  const [one, two] = [400_000, 300_000]
  const program = promisify(execFile)(process.execPath, [fileURLToPath(child), String(two)], {
    encoding: 'buffer',
    maxBuffer: 64 * 1_048_576,
  })
  const { stdout: thread } = new Worker(child, { argv: [String(two)], stdout: true })
  const own = await fingerprints(one)
  const [{ stdout }, other] = await Promise.all([program, buffer(thread)])
  const prints = Buffer.concat([own, stdout, other])
  assert.equal(prints.length, 1_000_000 * PARTS * 8)
  assert.equal(repeated(prints), 0)
})

test('a nonce that came twice would be found', async () => {
  const prints = await fingerprints(1000)
  prints.copy(prints, 23_976, 8, 16)
  assert.equal(repeated(prints), 1)
})
