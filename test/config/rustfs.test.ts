import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ConfigError, loadConfig } from '#src/config/load.js'

const BASE = `
admin: { identity: disabled }
tls: { key: server.key, cert: server.cert }
policy: { my-app: { allow: [ "/v1/key/*" ] } }
keystore: { memory: {} }
`
const CREDENTIALS =
  'credentials: [ { access_key: ops, secret_key: 0123456789abcdef, policy: admin } ]'

function load(rustfs: string, base = BASE) {
  return loadConfig(`${base}rustfs:\n${rustfs.replace(/^/gm, '  ')}`, 'kes.yml', {
    env: { OPS_SECRET: 'from-the-environment' },
  })
}

function findings(rustfs: string, base?: string): readonly string[] {
  try {
    load(rustfs, base)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.findings
  }
}

test('the section rustfs says who may call, what runs, and what may be configured', () => {
  const { config } = load(`
address: 127.0.0.1:9000
credentials:
  - { access_key: ops, secret_key: "\${OPS_SECRET}", policy: admin }
  - { access_key: app.1_x-y, secret_key: 0123456789abcdef, policy: my-app }
start:
  backend_type: vault
  address: https://vault.example.com:8200
  auth_method: { token: s.XYZ }
  timeout_seconds: 7
  enable_cache: off
backends:
  vault: [ "https://vault.example.com:8200/" ]
  secret_files: /var/lib/secrets
key_root: /var/lib/keys
state: /var/lib/state.json`)
  const { credentials = [], start, ...rest } = config.rustfs ?? {}
  assert.deepEqual(rest, {
    address: { host: '127.0.0.1', port: 9000 },
    backends: {
      vault: ['https://vault.example.com:8200'],
      secretFiles: '/var/lib/secrets',
      ca: '',
    },
    keyRoot: '/var/lib/keys',
    state: '/var/lib/state.json',
  })
  assert.deepEqual(
    credentials.map(({ accessKey, secret, policy }) => [accessKey, secret.reveal(), policy]),
    [
      ['ops', 'from-the-environment', 'admin'],
      ['app.1_x-y', '0123456789abcdef', 'my-app'],
    ],
  )
  assert.deepEqual(JSON.parse(start?.reveal() ?? ''), {
    backend_type: 'vault',
    address: 'https://vault.example.com:8200',
    auth_method: { token: 's.XYZ' },
    timeout_seconds: 7,
    enable_cache: false,
  })
})

test('without the section the API is off; with the least of it, nothing may be configured', () => {
  assert.equal(loadConfig(BASE, 'kes.yml').config.rustfs, undefined)
  assert.equal(loadConfig(`${BASE}rustfs:\n`, 'kes.yml').config.rustfs, undefined)
  const { start, backends, keyRoot, state } =
    load(`address: ":9000"\n${CREDENTIALS}`).config.rustfs ?? {}
  assert.deepEqual(
    [start, backends, keyRoot, state],
    [undefined, { vault: [], secretFiles: '', ca: '' }, '', ''],
  )
})

for (const [what, rustfs, expected] of [
  ['no address', CREDENTIALS, /rustfs\.address: a value is needed/],
  [
    'an address that is none',
    `address: x\n${CREDENTIALS}`,
    /kes\.yml:7:3: rustfs\.address: not an address/,
  ],
  ['no credentials', 'address: 127.0.0.1:1', /rustfs\.credentials: a value is needed/],
  [
    'an empty list of credentials',
    'address: 127.0.0.1:1\ncredentials: []',
    /at least one is needed/,
  ],
  [
    'a short secret',
    'address: 127.0.0.1:1\ncredentials: [ { access_key: ops, secret_key: tooshort, policy: admin } ]',
    /kes\.yml:8:\d+: rustfs\.credentials\[0\]\.secret_key: too short: at least 16 bytes/,
  ],
  [
    'a short access key',
    'address: 127.0.0.1:1\ncredentials: [ { access_key: ab, secret_key: 0123456789abcdef, policy: admin } ]',
    /access_key: 3 to 128/,
  ],
  [
    'an access key with a slash',
    'address: 127.0.0.1:1\ncredentials: [ { access_key: a/bc, secret_key: 0123456789abcdef, policy: admin } ]',
    /access_key: 3 to 128/,
  ],
  [
    'a policy that there is not',
    'address: 127.0.0.1:1\ncredentials: [ { access_key: app, secret_key: 0123456789abcdef, policy: my-ap } ]',
    /rustfs\.credentials\[0\]\.policy: there is no such policy; did you mean my-app\?/,
  ],
  [
    'a policy with a name of the language',
    'address: 127.0.0.1:1\ncredentials: [ { access_key: app, secret_key: 0123456789abcdef, policy: constructor } ]',
    /there is no such policy/,
  ],
  [
    'an access key twice',
    `address: 127.0.0.1:1
credentials:
  - { access_key: ops, secret_key: 0123456789abcdef, policy: admin }
  - { access_key: ops, secret_key: 0123456789abcdeg, policy: admin }`,
    /kes\.yml:10:\d+: rustfs\.credentials\[1\]\.access_key: this access key is in the list twice/,
  ],
  [
    'an unknown field',
    `address: 127.0.0.1:1\n${CREDENTIALS}\nkey_rot: /x`,
    /kes\.yml:9:\d+: rustfs\.key_rot: unknown field; did you mean rustfs\.key_root\?/,
  ],
  [
    'an unknown field of the start',
    `address: 127.0.0.1:1\n${CREDENTIALS}\nstart: { backend_type: local, key_dirr: /x }`,
    /rustfs\.start\.key_dirr: unknown field; did you mean rustfs\.start\.key_dir\?/,
  ],
] as const) {
  test(`${what} is an error with its line and its field`, () => {
    assert.match(findings(rustfs).join('\n'), expected)
  })
}

test('no finding repeats a secret', () => {
  const secret = 'tell-nobody'
  const text = findings(
    `address: x\ncredentials: [ { access_key: ops, secret_key: ${secret}, policy: nobody } ]`,
  ).join('\n')
  assert.match(text, /too short/)
  assert.doesNotMatch(text, new RegExp(secret))
})

test('a policy is not named admin while the section is there', () => {
  const base = BASE.replace('my-app:', 'admin:')
  assert.match(
    findings(`address: 127.0.0.1:1\n${CREDENTIALS}`, base).join('\n'),
    /kes\.yml:4:\d+: policy\.admin: a policy cannot have this name/,
  )
  assert.doesNotThrow(() => loadConfig(base, 'kes.yml'))
})
