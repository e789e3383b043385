import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ConfigError, type Loaded, loadConfig } from '#src/config/load.js'
import type { VaultConfig } from '#src/keystore/vault.js'

/** @param section what stands below `keystore.vault` */
function load(section: string): Loaded {
  return loadConfig(
    `
admin: { identity: disabled }
tls: { key: key, cert: cert }
keystore:
  vault:
${section.replace(/^/gm, '    ')}`,
    'kes.yml',
    { env: { SECRET_ID: 'from the environment' } },
  )
}

function findings(section: string): readonly string[] {
  try {
    load(section)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.findings
  }
}

function settings(section: string): VaultConfig {
  const { keystore } = load(section).config
  assert.equal(keystore.kind.name, 'vault')
  return keystore.settings as VaultConfig
}

/** As in the Go server's sample, with what its users fill in. */
const SAMPLE = `endpoint: https://127.0.0.1:8200
engine: ""
version: ""
namespace: ""
prefix: ""
approle:
  namespace: ""
  engine: ""
  id: my-role
  secret: \${SECRET_ID}
  retry: 15s
tls:
  key: ""
  cert: ""
  ca: ""
status:
  ping: 10s`

test('the Go server’s sample is read, with its defaults and a warning for what it ignores', () => {
  const { engine, version, prefix, approle, kubernetes, transit, endpoint } = settings(SAMPLE)
  assert.deepEqual([endpoint, engine, version, prefix], ['https://127.0.0.1:8200', 'kv', 'v1', ''])
  assert.deepEqual([approle?.engine, approle?.id], ['approle', 'my-role'])
  assert.equal(approle?.secret.reveal(), 'from the environment')
  assert.deepEqual([kubernetes, transit], [undefined, undefined])
  assert.deepEqual(load(SAMPLE).warnings, [
    'kes.yml:16:7: keystore.vault.approle.retry: has no effect; it is ignored',
  ])
})

const LOGIN = 'approle: { id: a, secret: b }'
const URL = 'endpoint: https://vault.example.com'

test('transit, Kubernetes and TLS have their defaults', () => {
  const { transit, kubernetes, tls } = settings(
    `${URL}\ntransit: { key: my-key }\nkubernetes: { role: kes, jwt: /token }\ntls: { ca: ca.pem }`,
  )
  assert.deepEqual(transit, { engine: 'transit', key: 'my-key' })
  assert.deepEqual(
    [kubernetes?.engine, kubernetes?.namespace, kubernetes?.role, kubernetes?.jwt.reveal()],
    ['kubernetes', '', 'kes', '/token'],
  )
  assert.deepEqual(tls, { key: '', cert: '', ca: 'ca.pem' })
})

const WRONG: readonly [section: string, finding: RegExp][] = [
  [LOGIN, /keystore\.vault: a value is needed|keystore\.vault\.endpoint: a value is needed/],
  [`endpoint: ""\n${LOGIN}`, /endpoint: not a URL/],
  [`endpoint: vault.example.com:8200\n${LOGIN}`, /endpoint: not a URL/],
  [`endpoint: https://user:secret@vault\n${LOGIN}`, /endpoint: .* no password/],
  [`${URL}\n${LOGIN}\nversion: v3`, /version: write v1 or v2/],
  [URL, /vault: no login is configured: approle or kubernetes is needed/],
  [`${URL}\napprole:`, /no login is configured/],
  [`${URL}\n${LOGIN}\nkubernetes: { jwt: a }`, /two logins are configured/],
  [`${URL}\napprole: { id: "", secret: b }`, /approle\.id: the role ID is needed/],
  [`${URL}\napprole: { id: a, secret: "" }`, /approle\.secret: the secret ID is needed/],
  [`${URL}\nkubernetes: { role: a }`, /kubernetes\.jwt: a value is needed|jwt: /],
  [`${URL}\n${LOGIN}\ntransit: {}`, /transit\.key: a value is needed|transit/],
  [`${URL}\n${LOGIN}\ntls: { key: a.key }`, /tls: key and cert belong together/],
  [`${URL}\n${LOGIN}\nprefx: a`, /prefx: unknown field; did you mean keystore\.vault\.prefix/],
]

for (const [section, finding] of WRONG) {
  test(`${section.replaceAll('\n', ' | ')} is refused`, () => {
    const found = findings(section).join('\n')
    assert.match(found, finding)
    assert.doesNotMatch(found, /secret@|from the environment/)
  })
}
