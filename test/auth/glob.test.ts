import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Glob } from '#src/auth/glob.js'

/** Pattern, text, and what Go's path.Match says; `bad` for its ErrBadPattern. The table of Go's own documentation and tests. */
const KNOWN: readonly (readonly [string, string, boolean | 'bad'])[] = [
  ['abc', 'abc', true],
  ['*', 'abc', true],
  ['*c', 'abc', true],
  ['a*', 'a', true],
  ['a*', 'abc', true],
  ['a*', 'ab/c', false],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
  ['a*b?c*x', 'abxbbxdbxebxczzx', true],
  ['a*b?c*x', 'abxbbxdbxebxczzy', false],
  ['ab[c]', 'abc', true],
  ['ab[b-d]', 'abc', true],
  ['ab[e-g]', 'abc', false],
  ['ab[^c]', 'abc', false],
  ['ab[^b-d]', 'abc', false],
  ['ab[^e-g]', 'abc', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'ab', false],
  ['a?b', 'a☺b', true],
  ['a[^a]b', 'a☺b', true],
  ['a???b', 'a☺b', false],
  ['a[^a][^a][^a]b', 'a☺b', false],
  ['[a-ζ]*', 'α', true],
  ['*[a-ζ]', 'A', false],
  ['a?b', 'a/b', false],
  ['a*b', 'a/b', false],
  ['[\\]a]', ']', true],
  ['[\\-]', '-', true],
  ['[x\\-]', 'x', true],
  ['[x\\-]', '-', true],
  ['[x\\-]', 'z', false],
  ['[\\-x]', 'x', true],
  ['[\\-x]', '-', true],
  ['[\\-x]', 'a', false],
  ['[]a]', ']', 'bad'],
  ['[-]', '-', 'bad'],
  ['[x-]', 'x', 'bad'],
  ['[-x]', 'x', 'bad'],
  ['\\', 'a', 'bad'],
  ['[a-b-c]', 'a', 'bad'],
  ['[', 'a', 'bad'],
  ['[^', 'a', 'bad'],
  ['[^bc', 'a', 'bad'],
  ['a[', 'a', 'bad'],
  ['a[', 'ab', 'bad'],
  ['a[', 'x', 'bad'],
  ['a/b[', 'x', 'bad'],
  ['*x', 'xxx', true],
  ['', '', true],
  ['', 'a', false],
  ['*', '', true],
  ['**', 'a', true],
  ['a**b', 'a/b', false],
  ['/v1/key/*/my-*', '/v1/key/create/my-key', true],
  ['/v1/key/*', '/v1/key/create/my-key', false],
  ['/v1/*/*/*', '/v1/key/create/my-key', true],
  ['/v1/key/create/?', '/v1/key/create/ab', false],
  ['/v1/key/create/[a-c]', '/v1/key/create/b', true],
  ['/v1/key/create/[^a-c]', '/v1/key/create/d', true],
]

for (const [pattern, text, expected] of KNOWN) {
  const verdict = expected === 'bad' ? 'is malformed' : expected ? 'matches' : 'does not match'
  test(`the pattern ${JSON.stringify(pattern)} ${verdict}, asked about ${JSON.stringify(text)}`, () => {
    const glob = Glob.parse(pattern)
    if (expected === 'bad') assert.equal(glob, undefined)
    else assert.equal(glob?.matches(text), expected)
  })
}

/** What the documentation says, without regard to time. */
function plainly(pattern: string, text: string): boolean {
  if (pattern === '') return text === ''
  const [first] = pattern
  const rest = pattern.slice(1)
  if (first === '*') {
    return (
      plainly(rest, text) || (text !== '' && text[0] !== '/' && plainly(pattern, text.slice(1)))
    )
  }
  if (text === '') return false
  return (first === '?' ? text[0] !== '/' : first === text[0]) && plainly(rest, text.slice(1))
}

test('a pattern of stars, question marks and letters matches what its definition says', () => {
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '?'), maxLength: 10 })
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 12 })
  fc.assert(
    fc.property(pattern, text, (glob, candidate) => {
      assert.equal(Glob.parse(glob)?.matches(candidate), plainly(glob, candidate))
    }),
    { numRuns: 5000 },
  )
})

test('a name without special characters matches itself and nothing else', () => {
  const name = fc.stringMatching(/^[0-9A-Za-z_-]{1,20}$/)
  fc.assert(
    fc.property(name, name, (one, other) => {
      assert.equal(Glob.parse(one)?.matches(other), one === other)
    }),
  )
})

test('any text is a pattern or malformed, and nothing else happens', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (pattern, text) => {
      assert.equal(typeof (Glob.parse(pattern)?.matches(text) ?? false), 'boolean')
    }),
  )
})

test('a pattern of many stars is decided soon, however the text frustrates it', () => {
  assert.equal(Glob.parse('*a'.repeat(200) + '*b')?.matches('a'.repeat(16_000)), false)
})
