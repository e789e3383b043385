/** What is configured over the API survives a restart (case 34), sealed (W5); what the config file starts; reloads. */

import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { FakeVault } from '../../keystore/fakes/vault.ts'
import { type RustfsServer, startRustfs } from '../../support/rustfs.ts'
import { logged, MASTER_KEY, ok, refused, until } from '../../support/rustfs-service.ts'
import { ask, tempDir } from '../../support/server.ts'

interface Place {
  readonly directory: string
  readonly state: string
  readonly local: Readonly<Record<string, unknown>>
  /** A server on the same keystore and state file as those before it. */
  open(rustfs?: string, keystore?: string): Promise<RustfsServer>
}

function place(t: TestContext): Place {
  const directory = tempDir(t)
  const state = join(directory, 'state.json')
  const key_dir = join(directory, 'root/keys')
  return {
    directory,
    state,
    local: { backend_type: 'local', key_dir, master_key: MASTER_KEY },
    open: (rustfs = 'start:', keystore = join(directory, 'keystore')) =>
      startRustfs(t, {
        config: `keystore: { fs: { path: ${keystore} } }`,
        rustfs: `${rustfs}\nkey_root: ${join(directory, 'root')}\nstate: ${state}`,
      }),
  }
}

async function statusOf(server: RustfsServer): Promise<unknown> {
  return (await ok(server.call('GET', '/status')))['status']
}

test('34: what was running runs again after a restart, and its keys open what they sealed', async (t) => {
  const { local, state, open } = place(t)
  const first = await open()
  await ok(first.call('POST', '/configure', { ...local, default_key_id: 'main' }))
  assert.equal(statSync(state).mode & 0o777, 0o600)
  await ok(first.call('POST', '/start'))
  const { key_id } = await ok(first.call('POST', '/keys', {}))
  const sealed = await ok(first.call('POST', '/generate-data-key', { key_id, key_spec: 'AES_256' }))
  const before = await ok(first.call('GET', '/status'))
  await first.close()

  const second = await open()
  await until('it runs', async () => (await statusOf(second)) === 'Running')
  const after = await ok(second.call('GET', '/status'))
  for (const field of ['status', 'config_summary', 'cluster_config', 'default_key_id'])
    assert.deepEqual(after[field], before[field])
  const { ciphertext_blob, plaintext_key } = sealed
  const opened = await ok(second.call('POST', '/decrypt-data-key', { key_id, ciphertext_blob }))
  assert.equal(opened['plaintext_key'], plaintext_key)
  await refused(second.call('POST', '/reconfigure', { master_key: 'x' }), 409, /master key/)
})

test('what was stopped, or never started, is configured after a restart', async (t) => {
  const { local, open } = place(t)
  let server = await open()
  await ok(server.call('POST', '/configure', local))
  await server.close()
  server = await open()
  assert.equal(await statusOf(server), 'Configured')
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/stop'))
  await server.close()
  server = await open()
  assert.equal(await statusOf(server), 'Configured')
})

test('W5: the state file has no secret in it, and no file else has', async (t) => {
  const { local, open, directory } = place(t)
  const server = await open()
  await ok(server.call('POST', '/configure', local))
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/keys', {}))
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
  const contents = files
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
  assert.ok(contents.length >= 4)
  for (const text of contents) {
    assert.equal(text.includes(MASTER_KEY), false)
    assert.equal(text.includes(Buffer.from(MASTER_KEY).toString('base64').slice(0, -4)), false)
    assert.equal(text.includes('key_dir'), false)
  }
})

test('a state file that cannot be opened is a warning, and the service is not configured', async (t) => {
  const { local, state, open, directory } = place(t)
  const server = await open()
  await ok(server.call('POST', '/configure', local))
  await server.close()
  const good = readFileSync(state, 'latin1')
  const flipped = good.replace(/.(?==*$)/, (last) => (last === 'A' ? 'B' : 'A'))
  const changed = good.slice(0, 60) + (good[60] === 'A' ? 'B' : 'A') + good.slice(61)
  for (const text of [changed, flipped.slice(0, -8), '', '{}', 'openkes-state:v1:', `${good}x`]) {
    writeFileSync(state, text)
    const other = await open()
    assert.equal(await statusOf(other), 'NotConfigured', text)
    await logged(other, /level=WARN msg="rustfs\.state cannot be read, what it has is not in use/)
    assert.equal(readFileSync(state, 'latin1'), text)
    await other.close()
  }
  writeFileSync(state, good)
  const elsewhere = await open('start:', join(directory, 'another'))
  assert.equal(await statusOf(elsewhere), 'NotConfigured')
  await logged(elsewhere, /rustfs\.state cannot be read/)
  await ok(elsewhere.call('POST', '/configure', { backend_type: 'keystore' }))
  await ok(elsewhere.call('POST', '/start'))
})

test('the key of the state file is no key for anybody', async (t) => {
  const { local, open, directory } = place(t)
  const server = await open('start: { backend_type: keystore }')
  await ok(server.call('POST', '/stop'))
  assert.ok(existsSync(join(directory, 'keystore/-openkes-state')))
  await ok(server.call('POST', '/start'))
  assert.deepEqual((await ok(server.call('GET', '/keys')))['keys'], [])
  const listed = await ask(server.port, server.admin, 'GET', '/v1/key/list/*')
  assert.doesNotMatch(listed.body, /state/)
  for (const path of ['/v1/key/describe/-openkes-state', '/v1/key/delete/-openkes-state'])
    assert.equal(
      (await ask(server.port, server.admin, path.includes('delete') ? 'DELETE' : 'GET', path))
        .status,
      400,
    )
  await refused(server.call('POST', '/configure', local), 409, /already running/)
})

test('a state that cannot be saved changes nothing', async (t) => {
  const { local, directory } = place(t)
  const server = await startRustfs(t, {
    rustfs: `start:\nkey_root: ${join(directory, 'root')}\nstate: ${join(directory, 'no/such/state')}`,
  })
  await refused(
    server.call('POST', '/configure', local),
    500,
    /cannot be saved, nothing has changed/,
  )
  assert.equal(await statusOf(server), 'NotConfigured')
})

test('a stop that cannot be saved stops nevertheless, and says what comes of it', async (t) => {
  const { local, directory } = place(t)
  const states = join(directory, 'states')
  mkdirSync(states)
  const server = await startRustfs(t, {
    rustfs: `start:\nkey_root: ${join(directory, 'root')}\nstate: ${join(states, 'state')}`,
  })
  await ok(server.call('POST', '/configure', local))
  await ok(server.call('POST', '/start'))
  renameSync(states, `${states}-away`)
  const stopped = await ok(server.call('POST', '/stop'))
  assert.deepEqual([stopped['success'], stopped['status']], [true, 'Configured'])
  assert.match(String(stopped['message']), /cannot be saved: it runs again after a restart/)
  await logged(server, /level=ERROR msg="rustfs.state still says that the service runs: /)
  await refused(server.call('GET', '/keys'), 503, /not running/)
  renameSync(`${states}-away`, states)
  const again = await ok(server.call('POST', '/stop'))
  assert.equal(again['message'], 'KMS service stopped successfully')
})

test('what was configured over the API wins over rustfs.start, until that is changed', async (t) => {
  const { open, state } = place(t)
  const start = (id: string) => `start: { backend_type: keystore, default_key_id: ${id} }`
  const keyId = async (server: RustfsServer) =>
    (await ok(server.call('GET', '/config')))['default_key_id']
  let server = await open(start('one'))
  assert.deepEqual([await statusOf(server), await keyId(server)], ['Running', 'one'])
  assert.equal(existsSync(state), false)
  await ok(server.call('POST', '/reconfigure', { default_key_id: 'api' }))
  await server.close()
  server = await open(start('one'))
  assert.deepEqual([await statusOf(server), await keyId(server)], ['Running', 'api'])
  await ok(server.call('POST', '/stop'))
  await server.close()
  server = await open(start('one'))
  assert.deepEqual([await statusOf(server), await keyId(server)], ['Configured', 'api'])
  await server.close()
  server = await open(start('two'))
  assert.deepEqual([await statusOf(server), await keyId(server)], ['Running', 'two'])
  await logged(server, /rustfs\.start has changed and is in use, instead of rustfs\.state/)
})

test('rustfs.start may name what the API may not', async (t) => {
  const directory = tempDir(t)
  const vault = await FakeVault.start(t, { engine: 'secret', prefix: 'rustfs/kms/keys' })
  vault.grant('hvs.of-the-file')
  const key = Buffer.alloc(32, 7).toString('base64')
  const starts = [
    `{ backend_type: local, key_dir: ${join(directory, 'anywhere')}, master_key: ${MASTER_KEY} }`,
    `{ backend_type: vault, address: "${vault.service.url}", auth_method: { token: hvs.of-the-file } }`,
    `{ backend_type: static, key_id: only, secret_key: "${key}" }`,
  ]
  for (const start of starts) {
    const server = await startRustfs(t, {
      rustfs: `start: ${start}\nbackends: { ca: ${vault.service.ca} }`,
    })
    await until('it runs', async () => (await statusOf(server)) === 'Running')
    const { config_summary } = await ok(server.call('GET', '/status'))
    assert.equal(JSON.stringify(config_summary).includes('hvs.'), false)
    await server.close()
  }
})

test('W24: what runs from the start heeds every field, as over the API', async (t) => {
  const key = Buffer.alloc(32, 7).toString('base64')
  const tuned = 'timeout_seconds: 7, retry_attempts: 2, enable_cache: false, default_key_id: only'
  const server = await startRustfs(t, {
    rustfs: `start: { backend_type: static, key_id: only, secret_key: "${key}", ${tuned} }`,
  })
  const { config_summary } = await ok(server.call('GET', '/status'))
  const { timeout_seconds, retry_attempts, enable_cache, cache_summary, default_key_id } =
    config_summary as Record<string, unknown>
  assert.deepEqual([timeout_seconds, retry_attempts, default_key_id], [7, 2, 'only'])
  assert.deepEqual([enable_cache, cache_summary], [false, null])
})

test('static: its one key seals and opens, and cannot be changed', async (t) => {
  const key = Buffer.alloc(32, 7).toString('base64')
  const server = await startRustfs(t, {
    rustfs: `start: { backend_type: static, key_id: only, secret_key: "${key}" }`,
  })
  const made = await ok(
    server.call('POST', '/generate-data-key', { key_id: 'only', key_spec: 'AES_256' }),
  )
  const { ciphertext_blob, plaintext_key } = made
  const opened = await ok(
    server.call('POST', '/decrypt-data-key', { key_id: 'only', ciphertext_blob }),
  )
  assert.equal(opened['plaintext_key'], plaintext_key)
  const { capabilities } = await ok(server.call('GET', '/status'))
  const able = Object.entries(capabilities as object).filter(([, can]) => can === true)
  assert.deepEqual(
    able.map(([name]) => name),
    ['encrypt', 'decrypt', 'generate_data_key'],
  )
  await refused(server.call('POST', '/keys', {}), 501, /./)
  await refused(server.call('POST', '/keys/rotate', { key_id: 'only' }), 501, /./)
  await refused(server.call('POST', '/keys/disable', { key_id: 'only' }), 501, /./)
  const page = (await ok(server.call('GET', '/keys')))['keys'] as { key_id: string }[]
  assert.deepEqual(
    page.map(({ key_id }) => key_id),
    ['only'],
  )
  // Tuning does not name the key anew.
  await ok(server.call('POST', '/reconfigure', { cache_ttl_seconds: 60 }))
  await refused(
    server.call('POST', '/reconfigure', { secret_key: key }),
    400,
    /^Static KMS must be/,
  )
})

test('keystore: both doors open onto the same keys, and each closes alone', async (t) => {
  const server = await startRustfs(t)
  const kes = (method: string, path: string, body?: string) =>
    ask(server.port, server.admin, method, path, body === undefined ? {} : { body })
  await ok(server.call('POST', '/keys', { tags: { name: 'shared' } }))
  assert.equal((await kes('GET', '/v1/key/describe/shared')).status, 200)
  assert.equal((await kes('PUT', '/v1/key/create/of-kes')).status, 200)
  await ok(server.call('GET', '/keys/of-kes'))
  await ok(server.call('POST', '/stop'))
  assert.equal((await kes('PUT', '/v1/key/generate/shared', '{}')).status, 200)
  await refused(server.call('GET', '/keys/of-kes'), 503, /not running/)
  await ok(server.call('POST', '/start'))
  await ok(server.call('GET', '/keys/of-kes'))
  await refused(
    server.call('POST', '/reconfigure', { cache_ttl_seconds: 60 }),
    400,
    /the section cache of the config file says how long keys are kept/,
  )
})

test('a backend that is down at the start is tried until it is up; the KES API does not wait for it', async (t) => {
  const vault = await FakeVault.start(t, { engine: 'secret', prefix: 'rustfs/kms/keys' })
  vault.grant('hvs.of-the-file')
  vault.isSealed = true
  const server = await startRustfs(t, {
    rustfs: `start: { backend_type: vault, address: "${vault.service.url}", auth_method: { token: hvs.of-the-file } }\nbackends: { ca: ${vault.service.ca} }`,
  })
  assert.equal((await ask(server.port, server.admin, 'GET', '/v1/ready')).status, 200)
  await logged(server, /level=ERROR msg="the backend of the RustFS KMS API cannot start/)
  vault.isSealed = false
  await until('it runs', async () => (await statusOf(server)) === 'Running')
  await logged(server, /level=INFO msg="the backend of the RustFS KMS API has started"/)
})

test('credentials that are refused are not sent every second, and a start need not wait', async (t) => {
  const vault = await FakeVault.start(t, { engine: 'secret', prefix: 'rustfs/kms/keys' })
  const server = await startRustfs(t, {
    rustfs: `start: { backend_type: vault, address: "${vault.service.url}", auth_method: { token: hvs.of-the-file } }\nbackends: { ca: ${vault.service.ca} }`,
  })
  await logged(server, /level=ERROR msg="the backend of the RustFS KMS API cannot start: .*denies/)
  const { length } = vault.service.requests
  assert.ok(length > 0)
  await sleep(3500)
  assert.equal(vault.service.requests.length, length)
  vault.grant('hvs.of-the-file')
  await ok(server.call('POST', '/start'))
  assert.equal(await statusOf(server), 'Running')
})

test('a reload that changes rustfs.start swaps the backend, and a bad one changes nothing', async (t) => {
  const directory = tempDir(t)
  const local = (name: string, key = MASTER_KEY) =>
    `start: { backend_type: local, key_dir: ${join(directory, name)}, master_key: ${key} }`
  const server = await startRustfs(t, { rustfs: local('one') })
  await until('it runs', async () => (await statusOf(server)) === 'Running')
  await ok(server.call('POST', '/keys', { tags: { name: 'in-one' } }))
  await server.reload({ rustfs: local('two') })
  await refused(server.call('GET', '/keys/in-one'), 404, /./)
  await ok(server.call('POST', '/keys', { tags: { name: 'in-two' } }))
  await assert.rejects(
    server.reload({ rustfs: local('one', 'another') }),
    /master_key is not the one/,
  )
  await logged(server, /the reload is refused.*master_key is not the one/)
  await ok(server.call('GET', '/keys/in-two'))
  await server.reload({ rustfs: local('one') })
  await ok(server.call('GET', '/keys/in-one'))
})

test('after a reload with another keystore the state is sealed there', async (t) => {
  const { open, directory, state } = place(t)
  const server = await open()
  await ok(server.call('POST', '/configure', { backend_type: 'keystore', default_key_id: 'x' }))
  await ok(server.call('POST', '/start'))
  const before = readFileSync(state, 'utf8')
  const other = join(directory, 'other')
  await server.reload({
    config: `keystore: { fs: { path: ${other} } }`,
    rustfs: `start:\nkey_root: ${join(directory, 'root')}\nstate: ${state}`,
  })
  await until('it is sealed anew', async () => readFileSync(state, 'utf8') !== before)
  await ok(server.call('POST', '/keys', { tags: { name: 'moved' } }))
  assert.ok(existsSync(join(other, 'moved')))
  await server.close()
  const next = await open('start:', other)
  assert.equal(await statusOf(next), 'Running')
})
