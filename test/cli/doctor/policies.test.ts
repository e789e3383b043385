import assert from 'node:assert/strict'
import { test } from 'node:test'

import { examinePolicies } from '#src/cli/doctor/policies.js'
import type { Finding } from '#src/cli/doctor/finding.js'
import type { PolicyConfig } from '#src/config/config.js'
import { parseIdentity } from '#src/crypto/identity.js'

const IDENTITY = parseIdentity('a'.repeat(64)) ?? assert.fail()

/** What is found about a policy with these rules. */
function examine(allow: readonly string[], more: Partial<PolicyConfig> = {}): Finding[] {
  const policy: PolicyConfig = {
    name: 'minio',
    allow,
    deny: [],
    identities: [IDENTITY],
    language: 'current',
    generation: undefined,
    ...more,
  }
  return [...examinePolicies({ policies: [policy], admin: undefined })]
}

/** As MinIO's own documents print it. */
const OFTEN_SEEN = [
  '/v1/key/create/*',
  '/v1/key/generate/*',
  '/v1/key/decrypt/*',
  '/v1/key/bulk/decrypt',
  '/v1/key/list',
  '/v1/status',
  '/v1/metrics',
  '/v1/log/audit',
  '/v1/log/error',
]

test('a policy that lacks what newer MinIO releases call is told what to add, and then has it', () => {
  const [finding] = examine(OFTEN_SEEN)
  assert.equal(finding?.level, 'warn')
  assert.equal(
    finding.mend,
    'if it is for MinIO, add to allow: "/v1/key/bulk/decrypt/*", "/v1/key/hmac/*", "/v1/key/list/*"',
  )
  const added = [...finding.mend.matchAll(/"([^"]+)"/g)].map(([, rule = '']) => rule)
  assert.deepEqual(
    examine([...OFTEN_SEEN, ...added]).map(({ level, what }) => [level, what]),
    [['ok', 'allows what MinIO calls, for keys *']],
  )
})

test('what is to be added is for the keys that the policy is for', () => {
  const [finding] = examine(['/v1/key/generate/minio-*', '/v1/key/decrypt/minio-*'])
  assert.match(finding?.mend ?? '', /"\/v1\/key\/create\/minio-\*"/)
  assert.match(finding?.mend ?? '', /"\/v1\/key\/list\/\*"/)
  const [single] = examine(['/v1/key/generate/one', '/v1/key/decrypt/one'])
  assert.match(single?.mend ?? '', /"\/v1\/key\/create\/one"/)
})

test('what a rule denies is not to be added but to be allowed no longer to be denied', () => {
  const [finding] = examine(['/v1/*'], { deny: ['/v1/key/decrypt/*'] })
  assert.equal(finding, undefined, 'it cannot decrypt: it is not for MinIO')
  const [list] = examine(['/v1/*'], { deny: ['/v1/key/list/*'] })
  assert.equal(list?.mend, 'if it is for MinIO, remove from deny what forbids it')
})

test('rules are read in the language that they are written in', () => {
  assert.equal(examine(['/v1/*'])[0]?.level, 'ok')
  // In the older language a star stops at a slash: nothing of this is allowed.
  assert.deepEqual(examine(['/v1/*'], { language: 'v0.18' }), [])
  const [finding] = examine(['/v1/key/*/minio-*'], { language: 'v0.18' })
  assert.equal(finding, undefined, 'no rule says which keys it is for')
})

test('policies that cannot be MinIO’s are left alone', () => {
  for (const rules of [[], ['/v1/metrics'], ['/v1/key/decrypt/*'], ['/v1/key/generate/*']])
    assert.deepEqual(examine(rules), [], rules.join())
})

test('a policy that nobody has is a warning, and a server that nobody may use is', () => {
  assert.deepEqual(
    examine(['/v1/status'], { identities: [] }).map(({ about, what }) => [about, what]),
    [
      [
        'policy',
        'nobody may do anything: the admin is switched off, and no policy has an identity',
      ],
      ['policy.minio', 'nobody has it'],
    ],
  )
  assert.deepEqual([...examinePolicies({ policies: [], admin: IDENTITY })], [])
})
