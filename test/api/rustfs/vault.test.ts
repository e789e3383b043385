/** Vault behind the API: cases 26 to 31 of the contract, and what the API must not be talked into (W1, W26). */

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { FakeVault, type FakeVaultOptions, ROLE_ID, SECRET_ID } from '../../keystore/fakes/vault.ts'
import type { RustfsServer } from '../../support/rustfs.ts'
import { freshService, logged, ok, refused, until } from '../../support/rustfs-service.ts'
import { tempDir } from '../../support/server.ts'

const TOKEN = 'hvs.first-token-of-the-tests'
const OTHER_TOKEN = 'hvs.other-token-of-the-tests'

interface Scene {
  readonly vault: FakeVault
  readonly server: RustfsServer
  /** `rustfs.backends.secret_files` */
  readonly files: string
  /** A body that configures the fake. */
  readonly body: Readonly<Record<string, unknown>>
}

async function scene(t: TestContext, options: FakeVaultOptions = {}): Promise<Scene> {
  const prefix = options.transit ? 'rustfs/kms/transit-metadata' : 'rustfs/kms/keys'
  const vault = await FakeVault.start(t, { engine: 'secret', prefix, ...options })
  vault.grant(TOKEN)
  const files = tempDir(t)
  const { server } = await freshService(
    t,
    `backends: { vault: ["${vault.service.url}", "https://other.test:8200"], secret_files: ${files}, ca: ${vault.service.ca} }`,
  )
  const body = {
    backend_type: 'vault',
    address: vault.service.url,
    auth_method: { token: TOKEN },
  }
  return { vault, server, files, body }
}

async function configured(t: TestContext, options?: FakeVaultOptions): Promise<Scene> {
  const made = await scene(t, options)
  await ok(made.server.call('POST', '/configure', made.body))
  return made
}

async function running(t: TestContext, options?: FakeVaultOptions): Promise<Scene> {
  const made = await configured(t, options)
  await ok(made.server.call('POST', '/start'))
  return made
}

async function summary(server: RustfsServer): Promise<Readonly<Record<string, unknown>>> {
  const { config_summary } = await ok(server.call('GET', '/status'))
  return config_summary as Record<string, unknown>
}

async function backendSummary(server: RustfsServer): Promise<Readonly<Record<string, unknown>>> {
  return (await summary(server))['backend_summary'] as Record<string, unknown>
}

/** Makes a key and uses it. */
async function useKeys(server: RustfsServer): Promise<void> {
  const { key_id } = await ok(server.call('POST', '/keys', {}))
  const made = await ok(server.call('POST', '/generate-data-key', { key_id, key_spec: 'AES_256' }))
  const { ciphertext_blob } = made
  const opened = await ok(server.call('POST', '/decrypt-data-key', { key_id, ciphertext_blob }))
  assert.equal(opened['plaintext_key'], made['plaintext_key'])
}

/** The Vault tokens that came with requests. */
function tokens({ service }: FakeVault): string[] {
  const sent = service.requests.map(({ headers }) => headers['x-vault-token'])
  return sent.filter((token) => token !== undefined).map(String)
}

test('keys live in the KV engine, where the body says', async (t) => {
  const { server, vault } = await running(t)
  const { key_id } = await ok(server.call('POST', '/keys', { tags: { name: 'my-key' } }))
  assert.equal(key_id, 'my-key')
  assert.ok(
    vault.v2.has('my-key') || vault.v2.has('rustfs/kms/keys/my-key'),
    String([...vault.v2.keys()]),
  )
  await useKeys(server)
})

test('31: the flat login of the document and the tagged one of RustFS mean the same', async (t) => {
  const { server, body, files } = await scene(t)
  const path = join(files, 'secret')
  const logins = [
    ['token', { token: TOKEN }, { Token: { token: TOKEN } }],
    [
      'approle',
      { role_id: ROLE_ID, secret_id: SECRET_ID },
      { AppRole: { role_id: ROLE_ID, secret_id: SECRET_ID, refresh_safety_window_secs: 5 } },
    ],
    [
      'kubernetes',
      { role: 'kes', jwt_path: path },
      { Kubernetes: { role: 'kes', jwt_path: path } },
    ],
    ['token_file', { path }, { TokenFile: { path, poll_interval_secs: 5 } }],
  ] as const
  for (const [type, ...forms] of logins) {
    const summaries = []
    for (const auth_method of forms) {
      await ok(server.call('POST', '/configure', { ...body, auth_method }))
      summaries.push(await summary(server))
    }
    assert.deepEqual(summaries[0], summaries[1])
    assert.deepEqual(summaries[0]?.['backend_summary'], {
      backend_type: 'vault',
      address: body['address'],
      auth_method_type: type,
      has_stored_credentials: true,
      namespace: null,
      mount_path: 'transit',
      kv_mount: 'secret',
      key_path_prefix: 'rustfs/kms/keys',
      skip_tls_verify: false,
    })
  }
})

test('two logins at once, or half of one, are refused', async (t) => {
  const { server, body } = await scene(t)
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /auth_method is required/],
    [{}, /exactly one of token, role_id, role and path/],
    [{ token: 'a', Token: { token: 'a' } }, /exactly one of/],
    [{ token: 'a', path: '/x' }, /exactly one of/],
    [{ Token: { token: 'a' }, TokenFile: { path: '/x' } }, /exactly one of/],
    [{ Token: {} }, /missing field auth_method\.token/],
    [{ Token: 'a' }, /not a JSON object/],
    [{ token: 'a', mount: 'x' }, /unknown field/],
    [{ AppRole: { role_id: 'a', secret_id: 'b', extra: 1 } }, /unknown field/],
    [{ role_id: 'a' }, /auth_method\.secret_id is required/],
    [{ role_id: 'a', secret_id: 'b', mount: '../x' }, /auth_method\.mount must be/],
    [{ TokenFile: { path: '/x', poll_interval_secs: 0 } }, /poll_interval_secs must be greater/],
    [{ path: 'x' }, /absolute path/],
    [{ token: '  ' }, /Vault token is required when no existing KMS credentials are available/],
    [{ token: 'a\r\nb' }, /characters that no token has/],
  ]
  for (const [auth_method, message] of wrong)
    await refused(server.call('POST', '/configure', { ...body, auth_method }), 400, message)
})

test('W26: neither mounts, prefixes nor names lead to other places in Vault', async (t) => {
  const { server, body, vault } = await scene(t)
  const configure = (fields: object) => server.call('POST', '/configure', { ...body, ...fields })
  for (const path of ['../x', 'a/../b', 'a//b', './a', 'a?b', 'a b', 'a%2fb', '']) {
    await refused(configure({ kv_mount: path }), 400, /kv_mount must be/)
    if (path !== '')
      await refused(configure({ key_path_prefix: path }), 400, /key_path_prefix must be/)
  }
  await ok(configure({}))
  await ok(server.call('POST', '/start'))
  vault.service.taken()
  for (const name of ['../x', 'a/b', '..', 'a?b', '%2e%2e'])
    await refused(server.call('POST', '/keys', { tags: { name } }), 400, /./)
  assert.deepEqual(vault.service.taken(), [])
})

test('26: reconfigure changes what it is given and keeps the rest', async (t) => {
  const { server, body, vault } = await scene(t)
  const tuned = { ...body, default_key_id: 'main', timeout_seconds: 7, namespace: null }
  await ok(server.call('POST', '/configure', tuned))
  const before = await summary(server)
  assert.deepEqual(await ok(server.call('POST', '/reconfigure', { cache_ttl_seconds: 60 })), {
    success: true,
    message: 'KMS reconfigured successfully',
    status: 'Configured',
  })
  assert.deepEqual(vault.service.taken(), [])
  await ok(server.call('POST', '/start'))
  const changed = await ok(server.call('POST', '/reconfigure', { retry_attempts: 5 }))
  assert.deepEqual(changed, {
    success: true,
    message: 'KMS reconfigured and restarted successfully',
    status: 'Running',
  })
  const cache_summary = { max_keys: 1000, ttl_seconds: 60, enable_metrics: true }
  const expected = { ...before, retry_attempts: 5, cache_ttl_seconds: 60, cache_summary }
  assert.deepEqual(await summary(server), expected)
  await ok(server.call('POST', '/reconfigure', { default_key_id: null, timeout_seconds: null }))
  const cleared = { ...expected, default_key_id: null, timeout_seconds: 30 }
  assert.deepEqual(await summary(server), cleared)
  await useKeys(server)
})

test('reconfigure of what is not configured is refused', async (t) => {
  const { server, body } = await scene(t)
  await refused(server.call('POST', '/reconfigure', body), 409, /^KMS not configured/)
})

test('27: a new token alone is what later calls use', async (t) => {
  const { server, vault } = await running(t)
  vault.grant(OTHER_TOKEN)
  await ok(server.call('POST', '/reconfigure', { auth_method: { token: OTHER_TOKEN } }))
  vault.service.taken()
  await useKeys(server)
  assert.deepEqual([...new Set(tokens(vault))], [OTHER_TOKEN])
})

test('a blank token is the one that is stored, for the same Vault', async (t) => {
  const { server, vault, body } = await configured(t)
  const blank = { ...body, auth_method: { Token: { token: ' ' } } }
  await ok(server.call('POST', '/configure', blank))
  await ok(server.call('POST', '/start'))
  await ok(server.call('POST', '/reconfigure', blank))
  assert.deepEqual([...new Set(tokens(vault))], [TOKEN])
})

test('28 and W1: a stored token goes to no other Vault, namespace or care', async (t) => {
  const { server, body, vault } = await configured(t)
  const message = /^Configuration error: credentials required when address changes/
  const blank = { auth_method: { token: '' } }
  const elsewhere = [{ address: 'https://other.test:8200' }, { namespace: 'ns1' }]
  for (const change of elsewhere) {
    await refused(server.call('POST', '/reconfigure', change), 400, message)
    await refused(server.call('POST', '/reconfigure', { ...change, ...blank }), 400, message)
    await refused(server.call('POST', '/configure', { ...body, ...change, ...blank }), 400, message)
    const transit = { ...body, ...change, ...blank, backend_type: 'vault-transit' }
    await refused(server.call('POST', '/reconfigure', transit), 400, message)
  }
  await ok(server.call('POST', '/start'))
  for (const change of elsewhere)
    await refused(server.call('POST', '/reconfigure', change), 400, message)
  assert.equal((await backendSummary(server))['address'], vault.service.url)
  await ok(server.call('POST', '/stop'))
  // The same place in other words is the same place.
  await ok(server.call('POST', '/reconfigure', { address: `${vault.service.url}/` }))
  const credentials = { auth_method: { token: OTHER_TOKEN } }
  await ok(
    server.call('POST', '/reconfigure', { address: 'https://other.test:8200', ...credentials }),
  )
})

test('W1: the API names no Vault that the config file does not', async (t) => {
  const { server, body, vault } = await scene(t)
  const port = new URL(vault.service.url).port
  const allowed = /address is not among rustfs\.backends\.vault/
  for (const address of [
    'https://127.0.0.1:1',
    `http://127.0.0.1:${port}`,
    `https://localhost:${port}`,
    `https://127.0.0.1:${port}/x`,
    'https://169.254.169.254',
  ])
    await refused(server.call('POST', '/configure', { ...body, address }), 400, allowed)
  for (const address of [
    `https://user:pass@127.0.0.1:${port}`,
    `https://127.0.0.1:${port}?x`,
    `https://127.0.0.1:${port}.evil.test`,
    'file:///etc/passwd',
    'vault',
    '',
  ])
    await refused(server.call('POST', '/configure', { ...body, address }), 400, /address/)
  assert.deepEqual(vault.service.taken(), [])
})

test('W1: a redirect of a Vault is not followed, and no token goes there', async (t) => {
  const { server, vault } = await configured(t)
  const active = await FakeVault.start(t, { engine: 'secret', prefix: 'rustfs/kms/keys' })
  active.grant(TOKEN)
  vault.active = active
  await refused(server.call('POST', '/start'), 500, /Backend error/)
  assert.deepEqual(active.service.taken(), [])
})

test('29: a backend that cannot be used does not replace the one that runs', async (t) => {
  const { server, vault } = await running(t)
  const before = await summary(server)
  const bad = { auth_method: { token: 'hvs.unknown' } }
  const json = await refused(
    server.call('POST', '/reconfigure', bad),
    500,
    /^Failed to reconfigure KMS: Backend error: it denies access$/,
  )
  assert.deepEqual([json['code'], json['status']], ['InternalError', 'Running'])
  const gone = { address: 'https://other.test:8200', ...bad, timeout_seconds: 5, retry_attempts: 1 }
  await refused(
    server.call('POST', '/reconfigure', gone),
    500,
    /Backend error: it cannot be reached/,
  )
  assert.deepEqual(await summary(server), before)
  await useKeys(server)
  vault.isSealed = true
  await refused(server.call('POST', '/start', { force: true }), 500, /it cannot be reached/)
  vault.isSealed = false
  assert.equal((await ok(server.call('GET', '/status')))['status'], 'Running')
  await useKeys(server)
})

test('a service that could not start says why, and starts when it can', async (t) => {
  const { server, vault } = await configured(t)
  vault.isSealed = true
  const failed = await refused(
    server.call('POST', '/start'),
    500,
    /^Failed to start or restart KMS service: Backend error: it cannot be reached$/,
  )
  const { status, backend_status, healthy } = await ok(server.call('GET', '/status'))
  assert.deepEqual(status, { Error: failed['message'] })
  assert.deepEqual(failed['status'], status)
  assert.deepEqual([backend_status, healthy], ['error', null])
  await refused(server.call('POST', '/keys', {}), 503, /not running/)
  vault.isSealed = false
  await ok(server.call('POST', '/start'))
  await useKeys(server)
})

test('W17: that a backend is down is seen, and seeing it changes nothing', async (t) => {
  const { server, vault } = await running(t)
  vault.isSealed = true
  await until('it is noticed', async () => {
    const { healthy, status, backend_status } = await ok(server.call('GET', '/status'))
    assert.equal(status, 'Running')
    return healthy === false && backend_status === 'unhealthy'
  })
  await refused(server.call('POST', '/keys', {}), 503, /./)
  vault.isSealed = false
  await until(
    'it is back',
    async () => (await ok(server.call('GET', '/status')))['healthy'] === true,
  )
  await useKeys(server)
})

test('AppRole, Kubernetes and a token file are read from files, again at every login', async (t) => {
  const approle = await scene(t)
  const secret = join(approle.files, 'secret-id')
  writeFileSync(secret, `${SECRET_ID}\n`)
  const byRole = { role_id: ROLE_ID, secret_id: 'old', secret_id_file: secret }
  await ok(approle.server.call('POST', '/configure', { ...approle.body, auth_method: byRole }))
  await ok(approle.server.call('POST', '/start'))
  await useKeys(approle.server)

  const kubernetes = await scene(t, { login: 'kubernetes' })
  const jwt = join(kubernetes.files, 'jwt')
  writeFileSync(jwt, kubernetes.vault.jwt)
  const byJwt = { Kubernetes: { role: 'kes', jwt_path: jwt } }
  await ok(kubernetes.server.call('POST', '/configure', { ...kubernetes.body, auth_method: byJwt }))
  await ok(kubernetes.server.call('POST', '/start'))
  kubernetes.vault.jwt = 'the.next.token'
  writeFileSync(jwt, kubernetes.vault.jwt)
  kubernetes.vault.revoke()
  await useKeys(kubernetes.server)

  const file = await scene(t)
  const path = join(file.files, 'token')
  writeFileSync(path, TOKEN, { mode: 0o600 })
  const byFile = { TokenFile: { path, poll_interval_secs: 1 } }
  await ok(file.server.call('POST', '/configure', { ...file.body, auth_method: byFile }))
  await ok(file.server.call('POST', '/start'))
  file.vault.grant(OTHER_TOKEN)
  writeFileSync(path, OTHER_TOKEN)
  file.vault.service.taken()
  await until('the new token is in use', async () => {
    await useKeys(file.server)
    return tokens(file.vault).includes(OTHER_TOKEN)
  })
})

test('a token that was made elsewhere is renewed before it ends', async (t) => {
  const { server, vault, body } = await scene(t)
  const short = 'hvs.a-token-that-ends-soon'
  vault.grant(short, 2)
  await ok(server.call('POST', '/configure', { ...body, auth_method: { token: short } }))
  await ok(server.call('POST', '/start'))
  await until('it is renewed', async () => vault.renewals > 0)
  vault.service.taken()
  await useKeys(server)
  assert.deepEqual([...new Set(tokens(vault))], [short])
})

test('a token file that others may read is refused', async (t) => {
  const { server, files, body } = await scene(t)
  const path = join(files, 'token')
  writeFileSync(path, TOKEN)
  chmodSync(path, 0o640)
  await ok(server.call('POST', '/configure', { ...body, auth_method: { path } }))
  await refused(server.call('POST', '/start'), 500, /Backend error: it does not work/)
  await logged(server, /may be read by other users/)
  chmodSync(path, 0o600)
  await ok(server.call('POST', '/start'))
})

test('W1: the API names no file but those below secret_files, also when a link is swapped later', async (t) => {
  const { server, files, body, vault } = await scene(t)
  const outside = join(tempDir(t), 'token')
  writeFileSync(outside, TOKEN, { mode: 0o600 })
  mkdirSync(join(files, 'below'))
  symlinkSync(outside, join(files, 'below/link'))
  const below = /not below rustfs\.backends\.secret_files/
  const configure = (auth_method: object) =>
    server.call('POST', '/configure', { ...body, auth_method })
  for (const path of ['/etc/passwd', files, outside, join(files, 'below/link')]) {
    await refused(configure({ path }), 400, below)
    await refused(configure({ role: 'kes', jwt_path: path }), 400, below)
    await refused(configure({ role_id: 'a', secret_id_file: path }), 400, below)
  }
  // Where a service account's token is by default is not below it, either.
  await refused(configure({ role: 'kes' }), 400, below)
  await ok(configure({ path: join(files, 'later') }))
  symlinkSync(outside, join(files, 'later'))
  await refused(server.call('POST', '/start'), 400, below)
  assert.deepEqual(vault.service.taken(), [])
})

test('vault-transit: what is stored is encrypted by a transit key', async (t) => {
  const { server, vault, body } = await scene(t, { transit: true })
  const transit = { ...body, backend_type: 'VaultTransit', transit_key: 'my-key' }
  await ok(server.call('POST', '/configure', transit))
  assert.equal((await backendSummary(server))['backend_type'], 'vault-transit')
  await ok(server.call('POST', '/start'))
  await useKeys(server)
  const [stored = ''] = [...vault.v2.values()].map(([version]) => version?.data ?? '')
  assert.match(stored, /"vault:v1:/)
})

test('vault-transit does not start without the right to use its key', async (t) => {
  const { server, vault, body } = await scene(t, { transit: true })
  vault.policy['transit/encrypt/my-key'] = []
  const transit = { ...body, backend_type: 'vault_transit', transit_key: 'my-key' }
  await ok(server.call('POST', '/configure', transit))
  await refused(server.call('POST', '/start'), 500, /Backend error: it denies access/)
  await logged(server, /needs the capability 'update' on 'transit\/encrypt\/my-key'/)
})

test('no secret is in an answer or a log', async (t) => {
  const { server, vault, body, files } = await scene(t)
  const path = join(files, 'token')
  writeFileSync(path, OTHER_TOKEN, { mode: 0o600 })
  const seen: string[] = []
  const call = async (...request: Parameters<RustfsServer['call']>) => {
    const { body: text, headers } = await server.call(...request)
    seen.push(text, JSON.stringify(headers))
  }
  const secrets = [TOKEN, OTHER_TOKEN, SECRET_ID, 'a-master-key-of-the-tests']
  for (const auth_method of [
    { token: TOKEN },
    { Token: { token: TOKEN }, x: 1 },
    { token: `${TOKEN}\n${OTHER_TOKEN}` },
    { role_id: ROLE_ID, secret_id: SECRET_ID },
    { role_id: ROLE_ID, secret_id: SECRET_ID, mount: '..' },
    { path },
  ]) {
    await call('POST', '/configure', { ...body, auth_method })
    await call('POST', '/start')
    await call('GET', '/status')
    vault.policy = {}
    await call('POST', '/keys', {})
    await call('POST', '/start', { force: true })
    await call('POST', '/reconfigure', { auth_method, timeout_seconds: 0 })
    await call('GET', '/config')
    await call('POST', '/stop')
  }
  await call('POST', '/configure', {
    backend_type: 'local',
    master_key: 'a-master-key-of-the-tests',
  })
  await call('POST', '/configure', `{"backend_type":"local","master_key":"${secrets.join('')}`)
  const all = [...seen, server.stdout(), server.stderr()].join('\n')
  for (const secret of secrets) assert.equal(all.includes(secret), false)
})
