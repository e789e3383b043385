/** The service's life over its API: cases 18 to 26, 30 to 33 of the contract. */

import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { APP, startRustfs } from '../../support/rustfs.ts'
import { freshService, MASTER_KEY, ok, refused } from '../../support/rustfs-service.ts'
import { tempDir } from '../../support/server.ts'

test('18: a fresh service says that it is not configured, and nothing else', async (t) => {
  const { server } = await freshService(t)
  const json = await ok(server.call('GET', '/status'))
  assert.deepEqual(json, {
    status: 'NotConfigured',
    backend_type: null,
    healthy: null,
    config_summary: null,
    backend_status: null,
    cache_enabled: null,
    cache_stats: null,
    default_key_id: null,
  })
})

test('19: a service that is not configured does not start', async (t) => {
  const { server } = await freshService(t)
  const json = await refused(server.call('POST', '/start'), 409, /^KMS not configured/)
  assert.equal(json['code'], 'Conflict')
  assert.equal(json['status'], 'NotConfigured')
  await refused(server.call('POST', '/start', { force: true }), 409, /not configured/)
  assert.equal((await ok(server.call('GET', '/status')))['status'], 'NotConfigured')
})

test('20: configure starts nothing, and makes no directory', async (t) => {
  const { server, local, root } = await freshService(t)
  assert.deepEqual(await ok(server.call('POST', '/configure', local)), {
    success: true,
    message: 'KMS configured successfully',
    status: 'Configured',
  })
  const json = await ok(server.call('GET', '/status'))
  assert.deepEqual([json['status'], json['healthy']], ['Configured', null])
  assert.equal(existsSync(root), false)
  await ok(server.call('POST', '/start'))
  assert.equal(statSync(join(root, 'keys')).mode & 0o777, 0o700)
})

test('21: what is wrong with a body is 400, and says what', async (t) => {
  const { server, local } = await freshService(t)
  const configure = (body?: unknown) => server.call('POST', '/configure', body)
  await refused(configure(), 400, /^Request body is required$/)
  await refused(configure('{"backend_type":'), 400, /^invalid JSON: /)
  await refused(configure('[]'), 400, /not a JSON object/)
  await refused(configure({ ...local, surprise: 1 }), 400, /unknown field "surprise"/)
  await refused(configure({ ...local, address: 'https://vault' }), 400, /unknown field "address"/)
  await refused(configure({ backend_type: 'cassette' }), 400, /unknown backend_type/)
  await refused(configure({ key_dir: '/x' }), 400, /missing field backend_type/)
  await refused(configure({ ...local, key_dir: 7 }), 400, /key_dir is not a string/)
  const wrong = (fields: object, message: RegExp) =>
    refused(configure({ ...local, ...fields }), 400, message)
  await wrong({ timeout_seconds: 0 }, /^Configuration error: Timeout must be greater than 0$/)
  await wrong({ retry_attempts: 0 }, /^Configuration error: Retry attempts must be greater than 0$/)
  await wrong({ cache_ttl_seconds: 0 }, /^Configuration error: Cache TTL must be greater than 0$/)
  await wrong({ max_cached_keys: 0 }, /Cache max_keys must be greater than 0$/)
  assert.equal((await ok(server.call('GET', '/status')))['status'], 'NotConfigured')
  await ok(configure({ ...local, cache_ttl_seconds: 0, max_cached_keys: 0, enable_cache: false }))
})

test('22: a backend that does not protect its keys is refused', async (t) => {
  const { server, local, root } = await freshService(t)
  const wrong = (fields: object, message: RegExp, status = 400) =>
    refused(server.call('POST', '/configure', { ...local, ...fields }), status, message)
  await wrong({ key_dir: 'keys' }, /key_dir must be an absolute path/)
  await wrong({ key_dir: `${root}/../x` }, /key_dir must be an absolute path/)
  await wrong({ master_key: undefined }, /needs a master_key/)
  await wrong({ master_key: '' }, /needs a master_key/)
  await wrong({ file_permissions: 0o644 }, /only 384 \(0600\) is possible/)
  const vault = { key_dir: undefined, master_key: undefined, auth_method: { token: 't' } }
  await wrong(
    { ...vault, backend_type: 'vault', address: 'http://127.0.0.1:8200' },
    /address is not among rustfs\.backends\.vault of the config file/,
  )
  for (const backend_type of ['AWS', 'aws-kms'])
    await refused(
      server.call('POST', '/configure', { backend_type, region: 'eu-1' }),
      501,
      /aws is not available/,
    )
  await refused(
    server.call('POST', '/configure', {
      backend_type: 'Static',
      key_id: 'k',
      secret_key: Buffer.alloc(32).toString('base64'),
    }),
    400,
    /^Static KMS must be configured through rustfs\.start of the config file$/,
  )
})

test('W7: keys lie below key_root, whatever links say, and no directory that is there is changed', async (t) => {
  const { server, local, root } = await freshService(t)
  const outside = tempDir(t)
  mkdirSync(root)
  symlinkSync(outside, join(root, 'link'))
  symlinkSync(join(outside, 'not-yet'), join(root, 'dangling'))
  const configure = (key_dir: string) => server.call('POST', '/configure', { ...local, key_dir })
  const below = /key_dir is not below rustfs\.key_root of the config file/
  for (const path of [
    outside,
    '/',
    root,
    `${root}-not`,
    join(root, 'link'),
    join(root, 'link/keys'),
  ])
    await refused(configure(path), 400, below)
  await ok(configure(join(root, 'dangling')))
  await refused(server.call('POST', '/start'), 500, /key_dir cannot be made|not a directory/)
  assert.deepEqual(readdirSync(outside), [])
})

test('a key directory that others may write is refused, and stays as it is', async (t) => {
  const { server, local, root } = await freshService(t)
  const shared = join(root, 'shared')
  mkdirSync(shared, { recursive: true })
  chmodSync(shared, 0o775)
  await ok(server.call('POST', '/configure', { ...local, key_dir: shared }))
  await refused(server.call('POST', '/start'), 500, /may be written by other users/)
  assert.equal(statSync(shared).mode & 0o777, 0o775)
  assert.deepEqual(readdirSync(shared), [])
})

test('without key_root the API places no keys on this machine', async (t) => {
  const server = await startRustfs(t, { rustfs: 'start:' })
  const body = { backend_type: 'local', key_dir: '/tmp/keys', master_key: MASTER_KEY }
  await refused(server.call('POST', '/configure', body), 400, /there is no rustfs\.key_root/)
  await ok(server.call('POST', '/configure', { backend_type: 'keystore' }))
})

test('W2: nobody lifts the rules for production over the API', async (t) => {
  const { server, local } = await freshService(
    t,
    'backends: { vault: ["https://vault.test:8200"] }',
  )
  const vault = {
    backend_type: 'vault',
    address: 'https://vault.test:8200',
    auth_method: { token: 't' },
  }
  const configure = (body: object) => server.call('POST', '/configure', body)
  for (const body of [local, vault])
    await refused(
      configure({ ...body, allow_insecure_dev_defaults: true }),
      400,
      /allow_insecure_dev_defaults cannot be set over the API/,
    )
  await refused(configure({ ...vault, skip_tls_verify: true }), 400, /skip_tls_verify is not/)
  await refused(
    configure({ ...vault, auth_method: { token: 'dev-token' } }),
    400,
    /dev-token is for development/,
  )
  await ok(configure({ ...vault, skip_tls_verify: false, allow_insecure_dev_defaults: false }))
})

test('23: start, start again, start by force, and what else a start may say', async (t) => {
  const { server, local } = await freshService(t)
  await ok(server.call('POST', '/configure', local))
  assert.deepEqual(await ok(server.call('POST', '/start', '')), {
    success: true,
    message: 'KMS service started successfully',
    status: 'Running',
  })
  const again = await refused(server.call('POST', '/start', {}), 409, /^KMS already running$/)
  assert.deepEqual([again['code'], again['status']], ['Conflict', 'Running'])
  await refused(server.call('POST', '/start', { force: false }), 409, /^KMS already running$/)
  await refused(server.call('POST', '/start', { force: null }), 409, /^KMS already running$/)
  await refused(server.call('POST', '/start', { x: 1 }), 400, /unknown field "x"/)
  await refused(server.call('POST', '/start', { force: 'yes' }), 400, /not true or false/)
  assert.deepEqual(await ok(server.call('POST', '/start', { force: true })), {
    success: true,
    message: 'KMS service restarted successfully',
    status: 'Running',
  })
})

test('24 and 25: a running service is not configured; a stopped one serves no keys', async (t) => {
  const { server, local } = await freshService(t)
  await ok(server.call('POST', '/configure', local))
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/keys', {}))
  const json = await refused(server.call('POST', '/configure', local), 409, /^KMS already running/)
  assert.equal(json['status'], 'Running')
  const stopped = {
    success: true,
    message: 'KMS service stopped successfully',
    status: 'Configured',
  }
  assert.deepEqual(await ok(server.call('POST', '/stop')), stopped)
  assert.deepEqual(await ok(server.call('POST', '/stop', 'whatever')), stopped)
  await refused(server.call('POST', '/keys', {}), 503, /^kms service is not running$/)
  await refused(server.call('POST', '/clear-cache'), 503, /^kms service is not running$/)
  await ok(server.call('POST', '/configure', local))
})

test('stopping a service that is not configured succeeds', async (t) => {
  const { server } = await freshService(t)
  assert.equal((await ok(server.call('POST', '/stop')))['status'], 'NotConfigured')
})

test('30: what Local keys depend on cannot be changed, and the keys stay', async (t) => {
  const { server, local, root } = await freshService(
    t,
    'backends: { vault: ["https://vault.test:8200"] }',
  )
  const vault = {
    backend_type: 'vault',
    address: 'https://vault.test:8200',
    auth_method: { token: 't' },
  }
  const other = join(root, 'other')
  const changes = [
    [vault, /^Changing from the Local KMS backend is not supported$/],
    [{ backend_type: 'keystore' }, /^Changing from the Local KMS backend is not supported$/],
    [{ ...local, key_dir: other }, /^Changing the Local KMS key directory is not supported$/],
    [{ ...local, master_key: 'another' }, /^Changing the Local KMS master key is not supported$/],
  ] as const
  await ok(server.call('POST', '/configure', local))
  for (const [body, message] of changes)
    await refused(server.call('POST', '/configure', body), 409, message)
  await ok(server.call('POST', '/start'))
  const { key_id } = await ok(server.call('POST', '/keys', {}))
  const partial = [
    [{ key_dir: other }, /key directory/],
    [{ master_key: 'another' }, /master key/],
    [{ master_key: null }, /master key/],
  ] as const
  for (const [body, message] of [...changes, ...partial])
    await refused(server.call('POST', '/reconfigure', body), 409, message)
  await ok(server.call('GET', `/keys/${String(key_id)}`))
  // What is the same is no change.
  await ok(server.call('POST', '/reconfigure', local))
  const { master_key: _, ...withoutSecret } = local
  await ok(server.call('POST', '/stop'))
  await ok(server.call('POST', '/configure', withoutSecret))
  await ok(server.call('POST', '/start'))
  await ok(server.call('GET', `/keys/${String(key_id)}`))
})

test('32: the summary of the configuration is there while it runs and while it does not', async (t) => {
  const { server, local } = await freshService(t)
  const unknown = await refused(server.call('GET', '/config'), 409, /^KMS not configured$/)
  assert.equal(unknown['code'], 'Conflict')
  const tuning = { default_key_id: 'main', cache_ttl_seconds: 600, max_cached_keys: 1024 }
  await ok(server.call('POST', '/configure', { ...local, ...tuning }))
  const summary = {
    backend: 'local',
    cache_enabled: true,
    cache_max_keys: 1024,
    cache_ttl_seconds: 600,
    default_key_id: 'main',
  }
  assert.deepEqual(await ok(server.call('GET', '/config')), summary)
  await ok(server.call('POST', '/start'))
  assert.deepEqual(await ok(server.call('GET', '/config')), summary)
  await ok(server.call('POST', '/reconfigure', { cache_ttl_seconds: 100_000 }))
  assert.equal((await ok(server.call('GET', '/config')))['cache_ttl_seconds'], 86_400)
})

test('33: the cache is cleared with an empty answer, by those who may', async (t) => {
  const { server, local } = await freshService(t)
  await ok(server.call('POST', '/configure', local))
  await ok(server.call('POST', '/start'))
  const { key_id } = await ok(server.call('POST', '/keys', {}))
  await ok(server.call('POST', '/generate-data-key', { key_id, key_spec: 'AES_256' }))
  const entries = async () => {
    const { cache_stats } = await ok(server.call('GET', '/status'))
    return (cache_stats as { entry_count: number }).entry_count
  }
  assert.equal(await entries(), 1)
  const denied = await server.call('POST', '/clear-cache', undefined, { as: APP })
  assert.equal(denied.status, 403)
  assert.equal(await entries(), 1)
  const cleared = await server.call('POST', '/clear-cache')
  assert.deepEqual([cleared.status, cleared.body], [204, ''])
  assert.equal(await entries(), 0)
  await ok(server.call('POST', '/reconfigure', { enable_cache: false }))
  assert.equal((await server.call('POST', '/clear-cache')).status, 204)
  assert.equal((await ok(server.call('GET', '/status')))['cache_stats'], null)
})

test('what a running service says of itself has the fields of the document and of today’s RustFS', async (t) => {
  const { server, local } = await freshService(t)
  await ok(server.call('POST', '/configure', { ...local, default_key_id: 'main' }))
  await ok(server.call('POST', '/start'))
  const answer = await server.call('GET', '/status')
  const { cluster_config, ...json } = answer.json
  const { nodes } = cluster_config as { nodes: { config_fingerprint: string }[] }
  assert.match(nodes[0]?.config_fingerprint ?? '', /^[0-9a-f]{64}$/)
  const all = {
    encrypt: true,
    decrypt: true,
    generate_data_key: true,
    rotate: true,
    enable_disable: true,
    schedule_deletion: true,
    versioning: true,
    physical_delete: true,
    update_key_metadata: true,
    rewrap: true,
  }
  assert.deepEqual(json, {
    status: 'Running',
    backend_type: 'local',
    healthy: true,
    config_summary: {
      backend_type: 'local',
      default_key_id: 'main',
      timeout_seconds: 30,
      retry_attempts: 3,
      enable_cache: true,
      max_cached_keys: 1000,
      cache_ttl_seconds: 300,
      cache_summary: { max_keys: 1000, ttl_seconds: 300, enable_metrics: true },
      backend_summary: {
        backend_type: 'local',
        key_dir: local['key_dir'],
        has_master_key: true,
        file_permissions: 384,
      },
    },
    backend_status: 'healthy',
    cache_enabled: true,
    cache_stats: { hit_count: 0, miss_count: 0, entry_count: 0, eviction_count: 0 },
    default_key_id: 'main',
    capabilities: all,
  })
  for (const [method, path] of [
    ['GET', '/service-status'],
    ['POST', '/status'],
    ['GET', '/minio/admin/v3/kms/status'],
  ] as const)
    assert.equal((await server.call(method, path)).body, answer.body)
  assert.equal(answer.headers['content-type'], 'application/json')
})

test('who may use keys may not see, configure, start or stop the service', async (t) => {
  const { server, local } = await freshService(t)
  for (const [method, path, body] of [
    ['GET', '/status', undefined],
    ['GET', '/config', undefined],
    ['POST', '/configure', local],
    ['POST', '/configure', '{'],
    ['POST', '/reconfigure', {}],
    ['POST', '/start', undefined],
    ['POST', '/stop', undefined],
  ] as const) {
    const answer = await server.call(method, path, body, { as: APP })
    assert.equal(answer.status, 403, path)
    assert.equal(answer.json['message'], 'unauthorised')
    assert.equal('status' in answer.json, false)
  }
  assert.equal((await ok(server.call('GET', '/status')))['status'], 'NotConfigured')
})
