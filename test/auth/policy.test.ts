import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Policy } from '#src/auth/policy.js'
import { ZERO_TIME } from '#src/time.js'
import { RUNS } from '../support/bytes.ts'

function policy(allow: string[], deny: string[] = []): Policy {
  return new Policy('my-app', { allow, deny }, ZERO_TIME, '')
}

function allows(allow: string[], path: string, deny: string[] = []): boolean {
  return policy(allow, deny).judge(path).allowed
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
  const { rule } = policy(['*'], ['/v1/key/delete/*']).judge('/v1/key/delete/a')
  assert.equal(rule, '/v1/key/delete/*')
})

test('a verdict names no rule where none denies', () => {
  assert.equal(policy([]).judge('/v1/key/delete/a').rule, undefined)
})

test('rules mean what the plainest reading of them says', () => {
  const rule = fc.array(fc.constantFrom('a', 'b', '/', '*'), { maxLength: 4 })
  const rules = fc.array(
    rule.map((parts) => parts.join('')),
    { maxLength: 4 },
  )
  const matches = (path: string) => (each: string) =>
    each.endsWith('*') ? path.startsWith(each.slice(0, -1)) : path === each
  fc.assert(
    fc.property(rules, rules, rule, (allow, deny, parts) => {
      const path = parts.join('')
      const expected = allow.some(matches(path)) && !deny.some(matches(path))
      assert.equal(allows(allow, path, deny), expected)
    }),
    RUNS,
  )
})
