import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { AwsFake } from '../support/aws-fake.ts'
import { serverFiles, startServerProcess } from '../support/process.ts'
import { keyStoreYaml } from '../support/stores.ts'

const CLIENTS = /@aws-sdk|@smithy|@azure|@google-cloud|google-gax|@grpc|protobufjs|\bpg\b|etcd/

/** What of the vendors' clients a server loads until it listens. */
async function loads(t: TestContext, keystore?: string): Promise<string[]> {
  const { config, directory } = await serverFiles(t)
  const file = join(directory, 'loads')
  writeFileSync(file, '')
  if (keystore !== undefined) {
    const text = readFileSync(config, 'utf8').replace(/^keystore: .*\n/m, keystore)
    writeFileSync(config, text)
  }
  const preload = new URL('../support/loads.js', import.meta.url).href
  const server = await startServerProcess(t, ['--config', config], {
    env: { NODE_OPTIONS: `--import=${preload}`, KES_TEST_LOADS: file },
  })
  await server.stop()
  const lines = readFileSync(file, 'utf8').split('\n')
  assert.ok(lines.length > 10)
  return lines.filter((line) => CLIENTS.test(line))
}

test('a server on a directory, or in memory, loads none of the vendors’ clients', async (t) => {
  assert.deepEqual(await loads(t), [])
  assert.deepEqual(await loads(t, 'keystore: { memory: {} }\n'), [])
})

test('a server loads the client of its own keystore only', async (t) => {
  const found = await loads(t, keyStoreYaml((await AwsFake.start(t)).config()))
  assert.ok(found.some((line) => line.includes('@aws-sdk/client-secrets-manager')))
  assert.deepEqual(
    found.filter((line) => /@azure|@google-cloud|@grpc|\bpg\b|client-s3/.test(line)),
    [],
  )
})
