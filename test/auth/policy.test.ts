import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Glob } from '#src/auth/glob.js'
import { Policy } from '#src/auth/policy.js'
import { ZERO_TIME } from '#src/time.js'
import { RUNS } from '../support/bytes.ts'

function policy(allow: string[], deny: string[] = []): Policy {
  return new Policy('my-app', { allow, deny }, { createdAt: ZERO_TIME, createdBy: '' })
}

function allows(allow: string[], path: string, deny: string[] = []): boolean {
  return policy(allow, deny).judge({ path }).allowed
}

test('an exact rule allows its path', () => {
  assert.equal(allows(['/v1/key/create/a'], '/v1/key/create/a'), true)
})

test('an exact rule allows no longer and no shorter path', () => {
  assert.equal(allows(['/v1/key/create/a'], '/v1/key/create/ab'), false)
  assert.equal(allows(['/v1/key/create/a'], '/v1/key/create/'), false)
})

test('a rule is compared letter by letter', () => {
  assert.equal(allows(['/v1/key/create/a'], '/v1/key/create/A'), false)
})

test('a rule that ends in a star allows what begins like it', () => {
  assert.equal(allows(['/v1/key/*'], '/v1/key/create/a'), true)
  assert.equal(allows(['/v1/key/create/my-*'], '/v1/key/create/my-key'), true)
})

test('a rule that ends in a star allows also the prefix itself', () => {
  assert.equal(allows(['/v1/key/create/my*'], '/v1/key/create/my'), true)
})

test('a rule that ends in a star allows nothing else', () => {
  assert.equal(allows(['/v1/key/create/my-*'], '/v1/key/create/my'), false)
  assert.equal(allows(['/v1/key/create/my-*'], '/v1/key/delete/my-key'), false)
})

test('a lone star allows everything', () => {
  assert.equal(allows(['*'], '/v1/key/delete/a'), true)
})

test('a star in the middle is an ordinary character', () => {
  assert.equal(allows(['/v1/key/*/a'], '/v1/key/create/a'), false)
  assert.equal(allows(['/v1/key/*/a'], '/v1/key/*/a'), true)
})

test('of two stars at the end the first is an ordinary character', () => {
  assert.equal(allows(['/v1/key/**'], '/v1/key/create/a'), false)
  assert.equal(allows(['/v1/key/**'], '/v1/key/*x'), true)
})

test('other characters of patterns are ordinary ones', () => {
  for (const rule of ['/v1/key/create/?', '/v1/key/create/[a]', '/v1/key/create/.', '/v1/key/.+'])
    assert.equal(allows([rule], '/v1/key/create/a'), false)
})

test('a deny rule wins over an allow rule', () => {
  assert.equal(allows(['/v1/key/*'], '/v1/key/delete/a', ['/v1/key/delete/*']), false)
  assert.equal(allows(['/v1/key/*'], '/v1/key/create/a', ['/v1/key/delete/*']), true)
})

test('a deny rule wins also over an exact allow rule', () => {
  assert.equal(allows(['/v1/key/delete/a'], '/v1/key/delete/a', ['*']), false)
})

test('a policy without rules allows nothing', () => {
  assert.equal(allows([], '/v1/key/create/a'), false)
})

test('a verdict names the deny rule', () => {
  const { rule } = policy(['*'], ['/v1/key/delete/*']).judge({ path: '/v1/key/delete/a' })
  assert.equal(rule, '/v1/key/delete/*')
})

test('a verdict names no rule where none denies', () => {
  assert.equal(policy([]).judge({ path: '/v1/key/delete/a' }).rule, undefined)
})

test('rules mean what the plainest reading of them says', () => {
  const rule = fc.array(fc.constantFrom('a', 'b', '/', '*'), { maxLength: 4 })
  const rules = fc.array(
    rule.map((parts) => parts.join('')),
    { maxLength: 4 },
  )
  const matches = (path: string) => (each: string) =>
    each.endsWith('*') ? path.startsWith(each.slice(0, -1)) : path === each
  const denies = (path: string) => (each: string) =>
    matches(path)(each) || Glob.parse(each)?.matches(path) === true
  fc.assert(
    fc.property(rules, rules, rule, (allow, deny, parts) => {
      const path = parts.join('')
      const expected = allow.some(matches(path)) && !deny.some(denies(path))
      assert.equal(allows(allow, path, deny), expected)
    }),
    RUNS,
  )
})

function older(allow: string[], deny: string[] = []): Policy {
  const options = { createdAt: ZERO_TIME, createdBy: '', language: 'v0.18' } as const
  return new Policy('my-app', { allow, deny }, options)
}

test('in the older languages a star stops at a slash', () => {
  const policy = older(['/v1/key/*'])
  assert.equal(policy.judge({ path: '/v1/key/create' }).allowed, true)
  assert.equal(policy.judge({ path: '/v1/key/create/a' }).allowed, false)
})

test('in the older languages patterns may have stars and classes anywhere', () => {
  const policy = older(['/v1/key/*/my-[a-c]*'])
  assert.equal(policy.judge({ path: '/v1/key/create/my-bucket' }).allowed, true)
  assert.equal(policy.judge({ path: '/v1/key/create/my-data' }).allowed, false)
})

test('a denial holds in either reading, whatever language it was written in', () => {
  for (const rule of ['/v1/key/decrypt/x*', '/v1/key/*/x*', '/v1/key/decrypt/[x-z]1', '/v1/*']) {
    const path = '/v1/key/decrypt/x1'
    assert.equal(older(['/v1/key/*/*'], [rule]).judge({ path }).allowed, false, rule)
    assert.equal(policy(['*'], [rule]).judge({ path }).allowed, false, rule)
  }
})

test('what one reading allows the other does not', () => {
  assert.equal(older(['/v1/*']).judge({ path: '/v1/key/create/a' }).allowed, false)
  assert.equal(policy(['/v1/key/*/a']).judge({ path: '/v1/key/create/a' }).allowed, false)
})

test('who is denied a twin of a path is denied the path', () => {
  const { allowed, rule } = policy(['*'], ['/v1/key/decrypt/x*']).judge({
    path: '/v1/key/bulk/decrypt/x1',
    twins: ['/v1/key/decrypt/x1'],
  })
  assert.deepEqual([allowed, rule], [false, '/v1/key/decrypt/x*'])
})

test('an administrative path is opened only by a rule that spells the operation out', () => {
  const path = '/v1/policy/write/my-app'
  for (const rule of ['*', '/v1/*', '/v1/policy/*', '/v1/policy/w*', '/v1/policy/write*']) {
    assert.equal(policy([rule]).judge({ path, administrative: true }).allowed, false, rule)
    assert.equal(policy([rule]).judge({ path }).allowed, true, rule)
  }
  for (const rule of ['/v1/policy/write/*', '/v1/policy/write/my-*', path])
    assert.equal(policy([rule]).judge({ path, administrative: true }).allowed, true, rule)
})

test('in the older languages a wildcard opens administrative paths, as it did in their time', () => {
  const path = '/v1/policy/write/my-app'
  assert.equal(older(['/v1/policy/*/*']).judge({ path, administrative: true }).allowed, true)
})

test('explain names the rule that decides, allow or deny, and none where none does', () => {
  const mine = policy(['/v1/key/create/*', '/v1/status'], ['/v1/key/create/x*'])
  assert.deepEqual(mine.explain({ path: '/v1/key/create/a' }), {
    allowed: true,
    rule: '/v1/key/create/*',
  })
  assert.deepEqual(mine.explain({ path: '/v1/status' }), { allowed: true, rule: '/v1/status' })
  assert.deepEqual(mine.explain({ path: '/v1/key/create/xy' }), {
    allowed: false,
    rule: '/v1/key/create/x*',
  })
  assert.deepEqual(mine.explain({ path: '/v1/metrics' }), { allowed: false })
})

test('explain names the rule that spells an administrative operation out', () => {
  const rules = ['/v1/*', '/v1/policy/write/a*']
  const question = { path: '/v1/policy/write/ab', administrative: true }
  assert.equal(policy(rules).explain(question).rule, '/v1/policy/write/a*')
  assert.deepEqual(policy(['/v1/*']).explain(question), { allowed: false })
})

test('a policy reaches an operation when some name could be allowed', () => {
  const reaches = (
    allow: string[],
    prefix: string,
    administrative = false,
    deny: string[] = [],
  ): boolean => policy(allow, deny).reaches({ path: prefix, administrative })
  const generate = '/v1/key/generate/'
  assert.equal(reaches(['/v1/key/generate/a'], generate), true)
  assert.equal(reaches(['/v1/key/generate/my-*'], generate), true)
  assert.equal(reaches(['/v1/key/*'], generate), true)
  assert.equal(reaches(['*'], generate), true)
  assert.equal(reaches(['/v1/key/create/*', '/v1/key/generate'], generate), false)
  assert.equal(reaches([], generate), false)
  assert.equal(reaches(['/v1/key/*'], generate, false, ['/v1/key/generate/*']), false)
  assert.equal(reaches(['/v1/key/*'], generate, false, ['/v1/key/generate/a*']), true)
  assert.equal(reaches(['/v1/key/*'], '/v1/key/rotate/', true), false)
  assert.equal(reaches(['/v1/key/rotate/*'], '/v1/key/rotate/', true), true)
})

test('what is about the service, or about keys that are not those of KES, must be spelled out', () => {
  const allows = (rule: string, path: string): boolean =>
    policy([rule]).judge({ path, administrative: true }).allowed
  assert.equal(allows('/v1/kms/configure', '/v1/kms/configure'), true)
  assert.equal(allows('/v1/kms/*', '/v1/kms/configure'), false)
  assert.equal(allows('/v1/kms/key/generate/*', '/v1/kms/key/generate/a'), true)
  assert.equal(allows('/v1/kms/key/*', '/v1/kms/key/generate/a'), false)
  assert.equal(allows('/v1/kms/*', '/v1/kms/key/generate/a'), false)
  assert.equal(allows('/v1/key/rotate/a', '/v1/key/rotate/a'), true)
})
