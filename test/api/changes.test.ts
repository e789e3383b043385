/** Policies and assignments over the API: the rules of kes-dialects.md, asked of a real server. */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import fc from 'fast-check'

import { Access } from '#src/auth/access.js'
import { Policy } from '#src/auth/policy.js'
import type { Identity } from '#src/crypto/identity.js'
import { ZERO_TIME } from '#src/time.js'
import { RUNS } from '../support/bytes.ts'
import { type Certificate, certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { ask, type Answer, startServer } from '../support/server.ts'
import { follow, type LogFollower } from '../support/session.ts'

interface Fleet {
  readonly admin: Certificate
  readonly user: Certificate
  readonly nobody: Certificate
  readonly port: number
  call(who: Certificate, method: string, path: string, body?: unknown): Promise<Answer>
}

async function fleet(t: TestContext, config = ''): Promise<Fleet> {
  const { port, admin, user, nobody } = await startServer(t, { config })
  return {
    admin,
    user,
    nobody,
    port,
    call: (who, method, path, body) =>
      ask(port, who, method, path, body === undefined ? {} : { body: JSON.stringify(body) }),
  }
}

async function ok(answer: Promise<Answer>): Promise<Answer> {
  const { status, body } = await answer
  assert.equal(status, 200, body)
  return answer
}

async function refused(answer: Promise<Answer>, status: number, message: string): Promise<Answer> {
  const { body, ...head } = await answer
  assert.deepEqual(
    [head.status, (JSON.parse(body) as { message: string }).message],
    [status, message],
  )
  return answer
}

const FORBIDDEN = 'not authorized: insufficient permissions'
const ALLOW = { allow: ['/v1/key/create/*'] }

test('a policy that is written and assigned holds for the very next request', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  await refused(call(nobody, 'POST', '/v1/key/create/a'), 403, FORBIDDEN)
  await ok(call(admin, 'POST', '/v1/policy/write/apps', ALLOW))
  await ok(call(admin, 'POST', '/v1/policy/assign/apps', { identity: nobody.identity }))
  await ok(call(nobody, 'POST', '/v1/key/create/a'))
  await ok(call(admin, 'POST', '/v1/policy/write/apps', { ...ALLOW, deny: ['/v1/key/create/b'] }))
  await refused(call(nobody, 'POST', '/v1/key/create/b'), 403, FORBIDDEN)
})

test('an answer of a change is empty', async (t) => {
  const { admin, call } = await fleet(t)
  const { headers, body } = await ok(call(admin, 'PUT', '/v1/policy/write/apps', {}))
  assert.deepEqual([headers['content-type'], headers['content-length'], body], [undefined, '0', ''])
})

for (const [spelling, body] of Object.entries({
  lists: { allow: ['/v1/key/create/a'], deny: ['/v1/key/create/b'] },
  sets: { allow: { '/v1/key/create/a': {} }, deny: { '/v1/key/create/b': {} } },
})) {
  test(`a policy can be written as ${spelling}, whatever generation the caller is of`, async (t) => {
    const { admin, call } = await fleet(t)
    await ok(call(admin, 'POST', '/v1/policy/write/apps', body))
    const read = JSON.parse((await ok(call(admin, 'GET', '/v1/policy/read/apps'))).body)
    assert.deepEqual(
      [read.allow, read.deny],
      [{ '/v1/key/create/a': {} }, { '/v1/key/create/b': {} }],
    )
  })
}

test('a policy that is written as paths keeps the denials that it had', async (t) => {
  const { admin, call } = await fleet(t)
  await ok(call(admin, 'POST', '/v1/policy/write/apps', { deny: ['/v1/key/delete/*'] }))
  await ok(call(admin, 'POST', '/v1/policy/write/apps', { paths: ['/v1/key/create/*'] }))
  const read = JSON.parse((await ok(call(admin, 'GET', '/v1/policy/read/apps'))).body)
  assert.deepEqual(
    [read.allow, read.deny],
    [{ '/v1/key/create/*': {} }, { '/v1/key/delete/*': {} }],
  )
})

for (const body of [
  '',
  '[]',
  '"x"',
  '{"allow":"x"}',
  '{"allow":[1]}',
  '{"allow":[["x"]]}',
  '{"deny":true}',
  '{"paths":{"a":{}},"allow":["b"]}',
]) {
  test(`a policy that is written as ${JSON.stringify(body)} is refused, and nothing is written`, async (t) => {
    const { port, admin } = await startServer(t)
    const answer = await ask(port, admin, 'POST', '/v1/policy/write/apps', { body })
    assert.equal(answer.status, 400, answer.body)
    assert.match(answer.body, /^\{"message":"[^"]+"\n\}$/)
    assert.equal((await ask(port, admin, 'GET', '/v1/policy/read/apps')).status, 404)
  })
}

test('a rule that is no pattern is refused in the generations that read patterns', async (t) => {
  const { admin, call } = await fleet(t, 'dialect: v0.18')
  const answer = call(admin, 'POST', '/v1/policy/write/apps', { deny: ['/v1/key/*/[a'] })
  await refused(answer, 400, 'invalid policy: deny[0] is no valid pattern')
})

test('a name that is none is refused for a policy', async (t) => {
  const { admin, call } = await fleet(t)
  for (const name of ['', '-x', 'a.b', 'x'.repeat(81)])
    assert.equal((await call(admin, 'POST', `/v1/policy/write/${name}`, {})).status, 400, name)
})

test('nobody can assign a policy to the admin', async (t) => {
  const { admin, call } = await fleet(t)
  const body = { identity: admin.identity }
  await refused(
    call(admin, 'POST', '/v1/policy/assign/user', body),
    400,
    'cannot assign policy to admin',
  )
})

test('the admin cannot be deleted', async (t) => {
  const { admin, call } = await fleet(t)
  for (const verb of ['delete', 'forget'])
    await refused(
      call(admin, 'DELETE', `/v1/identity/${verb}/${admin.identity}`),
      400,
      'cannot delete admin',
    )
})

test('what is no identity cannot be assigned', async (t) => {
  const { admin, call } = await fleet(t)
  const message = 'the identity to assign must be 64 lower-case hex digits'
  for (const identity of ['', 'x', admin.identity.toUpperCase(), `${admin.identity}0`, null])
    await refused(call(admin, 'POST', '/v1/policy/assign/user', { identity }), 400, message)
  await refused(call(admin, 'POST', '/v1/identity/assign/user/x'), 400, message)
})

test('an unknown policy cannot be assigned, deleted, read or described', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  const message = 'policy does not exist'
  await refused(
    call(admin, 'POST', '/v1/policy/assign/none', { identity: nobody.identity }),
    404,
    message,
  )
  await refused(call(admin, 'DELETE', '/v1/policy/delete/none'), 404, message)
  await refused(call(admin, 'GET', '/v1/policy/read/none'), 404, message)
  await refused(call(admin, 'GET', '/v1/policy/describe/none'), 404, message)
})

test('an identity without a policy cannot be deleted, forgotten or described', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  for (const verb of ['delete', 'forget'])
    await refused(
      call(admin, 'DELETE', `/v1/identity/${verb}/${nobody.identity}`),
      404,
      'identity does not exist',
    )
  await refused(
    call(admin, 'GET', `/v1/identity/describe/${nobody.identity}`),
    404,
    'identity does not exist',
  )
})

test('a new assignment replaces the old one', async (t) => {
  const { admin, user, call } = await fleet(t)
  await ok(call(admin, 'POST', '/v1/policy/write/apps', ALLOW))
  await ok(call(admin, 'POST', `/v1/identity/assign/apps/${user.identity}`))
  await ok(call(user, 'POST', '/v1/key/create/other'))
  await refused(call(user, 'POST', '/v1/key/generate/user-a', {}), 403, FORBIDDEN)
})

test('with its policy an identity loses every right, and gets none back with a new policy of that name', async (t) => {
  const { admin, user, call } = await fleet(t)
  await ok(call(user, 'POST', '/v1/key/create/user-a'))
  await ok(call(admin, 'DELETE', '/v1/policy/delete/user'))
  const answer = await refused(call(user, 'POST', '/v1/key/create/user-b'), 403, FORBIDDEN)
  assert.match(answer.body, /no policy is assigned to this identity/)
  await ok(call(admin, 'POST', '/v1/policy/write/user', ALLOW))
  await refused(call(user, 'POST', '/v1/key/create/user-b'), 403, FORBIDDEN)
})

for (const verb of ['delete', 'forget']) {
  test(`identity ${verb} takes an identity's rights away`, async (t) => {
    const { admin, user, call } = await fleet(t)
    await ok(call(admin, 'DELETE', `/v1/identity/${verb}/${user.identity}`))
    await refused(call(user, 'POST', '/v1/key/create/user-b'), 403, FORBIDDEN)
  })
}

test('created_at and created_by say when and by whom', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  const before = Date.now()
  await ok(call(admin, 'POST', '/v1/policy/write/apps', ALLOW))
  await ok(call(admin, 'POST', '/v1/policy/assign/apps', { identity: nobody.identity }))
  for (const path of ['/v1/policy/describe/apps', `/v1/identity/describe/${nobody.identity}`]) {
    const made = JSON.parse((await ok(call(admin, 'GET', path))).body)
    assert.equal(made.created_by, admin.identity, path)
    assert.ok(
      Date.parse(made.created_at) >= before && Date.parse(made.created_at) <= Date.now(),
      path,
    )
  }
})

const DELEGATES = `
policy:
  delegate:
    allow: [ "/v1/policy/write/*", "/v1/policy/assign/*", "/v1/policy/delete/*", "/v1/identity/*" ]
    identities: [ "\${DELEGATE}" ]
`

async function delegated(t: TestContext): Promise<Fleet & { readonly delegate: Certificate }> {
  const delegate = await certificate({ subject: 'delegate' })
  return { ...(await fleet(t, DELEGATES.replace('${DELEGATE}', delegate.identity))), delegate }
}

test('who may write policies can write those of others, and not their own', async (t) => {
  const { delegate, call } = await delegated(t)
  await ok(call(delegate, 'POST', '/v1/policy/write/apps', ALLOW))
  await refused(
    call(delegate, 'POST', '/v1/policy/write/delegate', { allow: ['*'] }),
    403,
    FORBIDDEN,
  )
  await refused(call(delegate, 'DELETE', '/v1/policy/delete/delegate'), 403, FORBIDDEN)
  await refused(call(delegate, 'POST', '/v1/key/create/a'), 403, FORBIDDEN)
})

test('nobody can assign a policy to themselves', async (t) => {
  const { delegate, call } = await delegated(t)
  await ok(call(delegate, 'POST', '/v1/policy/write/apps', { allow: ['*'] }))
  const identity = delegate.identity
  await refused(call(delegate, 'POST', '/v1/policy/assign/apps', { identity }), 403, FORBIDDEN)
  await refused(call(delegate, 'POST', `/v1/identity/assign/apps/${identity}`), 403, FORBIDDEN)
  await refused(call(delegate, 'POST', '/v1/identity/assign/apps', { identity }), 403, FORBIDDEN)
})

test('a short wildcard does not reach what came after it was written', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  await ok(
    call(admin, 'POST', '/v1/policy/write/all', {
      allow: ['*', '/v1/*', '/v1/policy/*', '/v1/identity/*'],
    }),
  )
  await ok(call(admin, 'POST', '/v1/policy/assign/all', { identity: nobody.identity }))
  await ok(call(nobody, 'POST', '/v1/key/create/a'))
  for (const [method, path] of [
    ['POST', '/v1/policy/write/x'],
    ['POST', '/v1/policy/assign/x'],
    ['POST', `/v1/identity/assign/x/${admin.identity}`],
    ['DELETE', '/v1/policy/delete/x'],
    ['DELETE', `/v1/identity/delete/${admin.identity}`],
    ['DELETE', `/v1/identity/forget/${admin.identity}`],
  ] as const)
    await refused(call(nobody, method, path, {}), 403, FORBIDDEN)
})

test('a denial of one spelling holds for the other', async (t) => {
  const { admin, nobody, call } = await fleet(t)
  const spelt = [
    '/v1/policy/assign/*',
    '/v1/identity/assign/*',
    '/v1/identity/delete/*',
    '/v1/identity/forget/*',
  ]
  const identity = 'ab'.repeat(32)
  const attempts = [
    ['POST', '/v1/policy/assign/user', { identity }],
    ['POST', `/v1/identity/assign/user/${identity}`, undefined],
    ['POST', '/v1/identity/assign/user', { identity }],
    ['DELETE', `/v1/identity/delete/${identity}`, undefined],
    ['DELETE', `/v1/identity/forget/${identity}`, undefined],
  ] as const
  for (const deny of [
    ['/v1/policy/assign/*', '/v1/identity/delete/*'],
    ['/v1/identity/assign/*', '/v1/identity/forget/*'],
    [`/v1/identity/assign/user/${identity}`, '/v1/identity/forget/*'],
  ]) {
    await ok(call(admin, 'POST', '/v1/policy/write/all', { allow: spelt, deny }))
    await ok(call(admin, 'POST', '/v1/policy/assign/all', { identity: nobody.identity }))
    for (const [method, path, body] of attempts)
      await refused(call(nobody, method, path, body), 403, FORBIDDEN)
  }
})

test('after a change of its policy an identity may do nothing that both the old and the new rules deny', () => {
  const segment = fc.constantFrom('key', 'policy', 'create', 'decrypt', 'write', 'a', 'b', '*')
  const rule = fc
    .array(segment, { minLength: 1, maxLength: 3 })
    .map((parts) => `/v1/${parts.join('/')}`)
  const rules = fc.record({
    allow: fc.array(rule, { maxLength: 4 }),
    deny: fc.array(rule, { maxLength: 3 }),
  })
  const language = fc.constantFrom('current', 'v0.18', 'v0.7')
  const [admin, user] = ['a', 'b'].map((digit) => digit.repeat(64)) as [Identity, Identity]
  fc.assert(
    fc.property(
      rules,
      rules,
      language,
      rule,
      fc.boolean(),
      (before, after, words, path, administrative) => {
        const policy = (of: typeof before) =>
          new Policy('p', of, { createdAt: ZERO_TIME, createdBy: admin, language: words })
        const access = new Access({
          admin,
          policies: [policy(before)],
          assignments: new Map([[user, 'p']]),
          createdAt: ZERO_TIME,
        })
        const question = { path, administrative }
        const denied = [before, after].every((each) => !policy(each).judge(question).allowed)
        access.write(policy(after), admin)
        const allowed = isAllowed(access, user, question)
        assert.equal(allowed, policy(after).judge(question).allowed)
        if (denied) assert.equal(allowed, false)
      },
    ),
    RUNS,
  )
})

function isAllowed(access: Access, identity: Identity, question: { path: string }): boolean {
  try {
    access.check(identity, question)
    return true
  } catch {
    return false
  }
}

test('a TLS proxy cannot have a policy, nor be the admin of an enclave', async (t) => {
  const proxy = await certificate({ subject: 'proxy' })
  const { port, admin } = await startServer(t, {
    tls: `proxy: { identities: [ ${proxy.identity} ] }`,
  })
  const { identity } = proxy
  for (const [path, body] of [
    ['/v1/policy/assign/user', { identity }],
    [`/v1/identity/assign/user/${identity}`, undefined],
    ['/v1/enclave/create/t1', { admin: identity }],
  ] as const) {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const answer = await ask(port, admin, 'POST', path, sent)
    assert.equal(answer.status, 400, path)
    assert.match(answer.body, /TLS proxy/)
  }
})

const REVOCATIONS: Readonly<
  Record<string, readonly [method: string, path: (who: Identity) => string, body?: unknown]>
> = {
  'policy that is written without it': ['POST', () => '/v1/policy/write/logs', ALLOW],
  'policy that denies it': [
    'POST',
    () => '/v1/policy/write/logs',
    { allow: ['/v1/log/*'], deny: ['/v1/log/audit', '/v1/log/error'] },
  ],
  'deleted policy': ['DELETE', () => '/v1/policy/delete/logs'],
  'other policy': ['POST', (who) => `/v1/identity/assign/apps/${who}`],
  'deleted identity': ['DELETE', (who) => `/v1/identity/delete/${who}`],
  'forgotten identity': ['DELETE', (who) => `/v1/identity/forget/${who}`],
}

for (const generation of ['current', 'v0.18', 'v0.7']) {
  for (const [what, [method, path, body]] of Object.entries(REVOCATIONS)) {
    test(`the logs of ${generation} end for whom they are taken from: by a ${what}`, async (t) => {
      const { port, admin, user, nobody, call } = await fleet(t, `dialect: ${generation}`)
      await ok(call(admin, 'POST', '/v1/policy/write/apps', ALLOW))
      for (const [policy, { identity }] of [
        ['logs', user],
        ['others', nobody],
      ] as const) {
        await ok(call(admin, 'POST', `/v1/policy/write/${policy}`, { allow: ['/v1/log/*'] }))
        await ok(call(admin, 'POST', `/v1/policy/assign/${policy}`, { identity }))
      }
      const followers: LogFollower[] = []
      for (const who of [user, nobody, admin]) {
        for (const [http, log] of [
          ['h1', 'audit'],
          ['h2', 'error'],
        ] as const)
          followers.push(await follow(t, port, who, `/v1/log/${log}`, http))
      }
      await ok(call(admin, method, path(user.identity), body))
      const [mine, theirs] = [followers.slice(0, 2), followers.slice(2)]
      await eventually('they end', () => mine.every(({ hasEnded }) => hasEnded()))
      await refused(call(nobody, 'GET', '/v1/status'), 403, FORBIDDEN)
      for (const { until } of theirs) await until(1)
      assert.ok(theirs.every(({ hasEnded }) => !hasEnded()))
    })
  }
}

test('what was changed over the API is gone with the process', async (t) => {
  const { admin, call } = await fleet(t)
  await ok(call(admin, 'POST', '/v1/policy/write/apps', ALLOW))
  const next = await fleet(t)
  await refused(next.call(next.admin, 'GET', '/v1/policy/read/apps'), 404, 'policy does not exist')
})
