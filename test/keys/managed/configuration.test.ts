/** From one configuration to the next (contract 4.4): properties that hold for every body. */

import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { test } from 'node:test'

import fc from 'fast-check'

import { KesError } from '#src/errors.js'
import { JsonError } from '#src/json.js'
import {
  type Configuration,
  configurationOfFile,
  merged,
  replaced,
} from '#src/keys/managed/configuration.js'
import { documentJson, fingerprint, readDocument } from '#src/keys/managed/document.js'
import { startFault } from '#src/keys/managed/start.js'
import { Secret } from '#src/fields.js'
import { parseStrict, StrictFields } from '#src/strict-json.js'
import { RUNS } from '../../support/bytes.ts'

type Body = Readonly<Record<string, unknown>>

function fieldsOf(body: Body): StrictFields {
  return new StrictFields(parseStrict(Buffer.from(JSON.stringify(body))))
}

const document = (body: Body, known?: Configuration) =>
  readDocument(fieldsOf(body), known?.document.backend)

const SECRETS = ['hvs.stored-token', 'stored-secret-id']

/** Of the address that it was given for. */
const HOME = 'https://home.test:8200'

const address = fc.constantFrom(HOME, `${HOME}/`, 'https://other.test:8200', 'https://home.test')
const auth = fc.constantFrom<unknown>(
  { token: '' },
  { token: ' ' },
  { Token: { token: 'new' } },
  { role_id: 'r', secret_id: 'new' },
  { role_id: 'r', mount: 'evil' },
  null,
)
const tuning = {
  timeout_seconds: fc.constantFrom(1, 60, null),
  cache_ttl_seconds: fc.constantFrom(1, 60, null),
  default_key_id: fc.constantFrom('a', null),
}
const vaultPatch = fc.record(
  {
    backend_type: fc.constantFrom('vault', 'VaultTransit'),
    address,
    auth_method: auth,
    namespace: fc.constantFrom('', 'ns', null),
    skip_tls_verify: fc.constantFrom(true, false, null),
    kv_mount: fc.constantFrom('secret', 'kv', null),
    ...tuning,
  },
  { requiredKeys: [] },
)

const stored = (method: Body) =>
  replaced(undefined, document({ backend_type: 'vault', address: HOME, auth_method: method }))

/** What it has become, or undefined where it was refused. */
function attempt(work: () => Configuration): Configuration | undefined {
  try {
    return work()
  } catch (error) {
    assert.ok(error instanceof KesError || error instanceof JsonError, String(error))
    return undefined
  }
}

function revealed({ document }: Configuration): string {
  return JSON.stringify(documentJson(document, (secret) => secret.reveal()))
}

for (const [name, method] of [
  ['token', { token: SECRETS[0] }],
  ['secret ID', { role_id: 'r', secret_id: SECRETS[1] }],
] as const) {
  test(`W1: whatever bodies come one after the other, a stored ${name} stays with its address`, () => {
    const bodies = fc.array(fc.tuple(fc.boolean(), vaultPatch), { maxLength: 6 })
    fc.assert(
      fc.property(bodies, (patches) => {
        let now = stored(method)
        for (const [isWhole, patch] of patches) {
          const change = isWhole ? replaced : merged
          now = attempt(() => change(now, document(patch, now))) ?? now
          const { backend } = now.settings
          assert.ok(backend.kind === 'vault' || backend.kind === 'vault-transit')
          if (!SECRETS.some((secret) => revealed(now).includes(secret))) return
          assert.deepEqual([backend.address, backend.namespace ?? ''], [HOME, ''])
        }
      }),
      RUNS,
    )
  })
}

test('a merge changes what it is given, and nothing else', () => {
  const patches = fc.record(tuning, { requiredKeys: [] })
  fc.assert(
    fc.property(patches, patches, (first, second) => {
      const before = merged(stored({ token: 'a' }), document(first, stored({ token: 'a' })))
      const after = merged(before, document(second, before))
      const expected: Record<string, unknown> = { ...before.document.said, ...second }
      for (const [name, value] of Object.entries(expected))
        if (value === null) delete expected[name]
      assert.deepEqual(after.document.said, expected)
    }),
    RUNS,
  )
})

test('what the file has said stays free of the limits; what the API has said does not', () => {
  const body = { backend_type: 'vault', address: HOME, auth_method: { path: '/anywhere' } }
  const file = configurationOfFile(document(body))
  assert.deepEqual([...file.byApi], [])
  const tuned = merged(file, document({ timeout_seconds: 5 }, file))
  assert.deepEqual([...tuned.byApi], ['timeout_seconds'])
  const moved = merged(tuned, document({ auth_method: { path: '/there' } }, tuned))
  assert.deepEqual([...moved.byApi].sort(), ['auth_method', 'timeout_seconds'])
  const blank = replaced(moved, document({ ...body, auth_method: { token: '' } }))
  assert.ok(blank.byApi.has('auth_method'))
  const kept = replaced(file, document({ ...body, auth_method: { token: '' } }))
  assert.equal(kept.byApi.has('auth_method'), false)
})

test('a fingerprint tells configurations apart, not secrets, and not the order of fields', () => {
  const of = (body: Body) => fingerprint(document(body))
  const one = { backend_type: 'vault', address: HOME, auth_method: { token: 'a' } }
  const other = { auth_method: { Token: { token: 'b' } }, address: HOME, backend_type: 'VaultKV2' }
  assert.equal(of(one), of(other))
  assert.notEqual(of(one), of({ ...one, timeout_seconds: 5 }))
  assert.notEqual(of(one), of({ ...one, address: 'https://other.test' }))
})

test('nothing that can be inspected has a secret', () => {
  const shown = (configuration: Configuration) =>
    inspect(configuration, { depth: 20, showHidden: true }) + JSON.stringify(configuration)
  assert.doesNotMatch(shown(stored({ token: SECRETS[0] })), /stored-token/)
  assert.doesNotMatch(shown(stored({ role_id: 'r', secret_id: SECRETS[1] })), /stored-secret/)
})

test('what is wrong with rustfs.start is found in the config file, without its secrets', () => {
  const fault = (body: Body) => startFault(new Secret(JSON.stringify(body)))
  const local = { backend_type: 'local', key_dir: '/keys', master_key: 'm' }
  assert.equal(fault(local), undefined)
  assert.match(fault({ ...local, key_dir: 'keys' }) ?? '', /key_dir must be an absolute path/)
  assert.match(fault({ ...local, address: 'x' }) ?? '', /unknown field "address"/)
  assert.match(fault({ backend_type: 'x' }) ?? '', /unknown backend_type/)
  const key = { backend_type: 'static', key_id: 'k', secret_key: 'not base64' }
  assert.match(fault(key) ?? '', /secret_key must be the base64 of 32 bytes/)
  assert.doesNotMatch(fault(key) ?? '', /not base64/)
})
