import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Access, type AccessRules } from '#src/auth/access.js'
import { Policy } from '#src/auth/policy.js'
import type { Identity } from '#src/crypto/identity.js'
import { KesError } from '#src/errors.js'
import { ZERO_TIME } from '#src/time.js'

const [ADMIN, USER, NOBODY, PROXY] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(64)) as [
  Identity,
  Identity,
  Identity,
  Identity,
]

const POLICY = new Policy(
  'my-app',
  { allow: ['/v1/key/create/my-*'], deny: ['/v1/key/create/my-own*'] },
  { createdAt: ZERO_TIME, createdBy: ADMIN },
)

const RULES: AccessRules = {
  admin: ADMIN,
  policies: [POLICY],
  assignments: new Map([[USER, 'my-app']]),
  proxies: new Set([PROXY]),
  proxiedAdmin: false,
  createdAt: ZERO_TIME,
}

function access(rules: Partial<AccessRules> = {}): Access {
  return new Access({ ...RULES, ...rules })
}

function refusal(identity: Identity, path: string): KesError {
  try {
    access().check(identity, { path })
  } catch (error) {
    if (error instanceof KesError) return error
    throw error
  }
  throw new Error(`${path} was allowed`)
}

test('the admin may call everything', () => {
  access().check(ADMIN, { path: '/v1/key/delete/a' })
})

test('without an admin nobody may call everything', () => {
  const none = access({ admin: undefined })
  assert.throws(() => none.check(ADMIN, { path: '/v1/status' }), { code: 'NOT_ALLOWED' })
  assert.throws(() => none.check('' as Identity, { path: '/v1/status' }), { code: 'NOT_ALLOWED' })
})

test('a member of a policy may call what it allows', () => {
  access().check(USER, { path: '/v1/key/create/my-key' })
})

test('a refusal has the Go server’s status and message', () => {
  const { status, message } = refusal(USER, '/v1/key/delete/my-key')
  assert.deepEqual([status, message], [403, 'not authorized: insufficient permissions'])
})

test('who has no policy is told so', () => {
  assert.deepEqual(refusal(NOBODY, '/v1/key/create/my-key').detail, {
    identity: NOBODY,
    api: '/v1/key/create/my-key',
    policy: null,
    hint: 'no policy is assigned to this identity',
  })
})

test('a member is told which rule is missing', () => {
  assert.deepEqual(refusal(USER, '/v1/key/delete/my-key').detail, {
    identity: USER,
    api: '/v1/key/delete/my-key',
    policy: 'my-app',
    hint: `policy 'my-app' does not allow /v1/key/delete/my-key; add "/v1/key/delete/my-key"`,
  })
})

test('a member is told to add a star where a listing is missing', () => {
  const hint = `policy 'my-app' does not allow /v1/key/list/; add "/v1/key/list/*"`
  assert.equal(refusal(USER, '/v1/key/list/').detail?.['hint'], hint)
})

test('a member is told which rule denied the call', () => {
  const hint = `denied by the rule "/v1/key/create/my-own*" of policy 'my-app'`
  assert.equal(refusal(USER, '/v1/key/create/my-own').detail?.['hint'], hint)
})

test('a path in a refusal is cut to 256 characters', () => {
  const { detail } = refusal(USER, `/v1/key/delete/${'x'.repeat(1000)}`)
  assert.equal(detail?.['api']?.length, 256)
  assert.ok((detail?.['hint'] ?? '').length < 600)
})

test('the identities are those of the policies and the admin', () => {
  assert.deepEqual(access().identities, [ADMIN, USER])
})

test('an identity has the policy that it is assigned to', () => {
  assert.equal(access().policyOf(USER), POLICY)
  assert.equal(access().policyOf(NOBODY), undefined)
  assert.equal(access().policyOf(ADMIN), undefined)
})

test('a policy is found by its name', () => {
  assert.equal(access().policy('my-app'), POLICY)
  assert.equal(access().policy('constructor'), undefined)
  assert.deepEqual(access().policyNames, ['my-app'])
})

test('a TLS proxy is known as one', () => {
  assert.deepEqual(
    [PROXY, USER, ADMIN].map((identity) => access().isProxy(identity)),
    [true, false, false],
  )
})

test('a user may come through a TLS proxy', () => {
  access().checkForwarded(USER, '/version')
  access().checkForwarded(NOBODY, '/version')
})

test('the admin may come through a TLS proxy only where the config says so', () => {
  assert.throws(() => access().checkForwarded(ADMIN, '/version'), {
    code: 'NOT_ALLOWED',
    detail: {
      identity: ADMIN,
      api: '/version',
      policy: null,
      hint: 'the admin may not come through a TLS proxy; connect directly, or set tls.proxy.admin: true',
    },
  })
  access({ proxiedAdmin: true }).checkForwarded(ADMIN, '/version')
})

test('a TLS proxy may not come through another', () => {
  for (const proxiedAdmin of [true, false])
    assert.throws(() => access({ proxiedAdmin }).checkForwarded(PROXY, '/version'), {
      code: 'NOT_ALLOWED',
    })
})
