import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import {
  checkName,
  continueAt,
  firstPage,
  isName,
  pageOf,
  pageOfSorted,
  parseListing,
} from '#src/names.js'
import { RUNS } from './support/bytes.ts'

const GOOD = ['a', 'A', '0', 'my-key', 'my_key', '_a', 'a_', '__', 'a--b', 'x'.repeat(80)]
const BAD = [
  '',
  '-',
  '_',
  '-a',
  'a-',
  'a.b',
  'a/b',
  'a b',
  'ä',
  'a\n',
  '\na',
  'a\0',
  'x'.repeat(81),
]

for (const name of GOOD) {
  test(`${name} is a name`, () => {
    assert.equal(isName(name), true)
    assert.equal(checkName(name, 'key name'), name)
  })
}

for (const name of BAD) {
  test(`${JSON.stringify(name)} is no name`, () => {
    assert.equal(isName(name), false)
  })
}

test('the message about a bad name is the Go server’s', () => {
  assert.throws(() => checkName('a.b', 'key name'), {
    code: 'BAD_NAME',
    status: 400,
    message: "key name 'a.b' is empty, too long or contains invalid characters",
  })
})

const PATTERNS: readonly [argument: string, prefix: string, from: string][] = [
  ['', '', ''],
  ['*', '', ''],
  ['abc', 'abc', 'abc'],
  ['abc*', 'abc', 'abc'],
  ['my-app-', 'my-app-', 'my-app-'],
  ['my-app-*', 'my-app-', 'my-app-'],
  ['~abc', '', 'abc'],
  ['ab~abc', 'ab', 'abc'],
  ['ab~ab', 'ab', 'ab'],
  ['x'.repeat(80), 'x'.repeat(80), 'x'.repeat(80)],
]

for (const [argument, prefix, from] of PATTERNS) {
  test(`${JSON.stringify(argument)} asks for names with '${prefix}' from '${from}' on`, () => {
    assert.deepEqual(parseListing(argument), { prefix, from })
  })
}

const REFUSED = [
  'a*b',
  '**',
  '*a',
  '_',
  '-',
  '-a',
  'a.b',
  'ä',
  'a/b',
  'x'.repeat(81),
  'a~b',
  'ab~a',
]

for (const argument of [
  ...REFUSED,
  'a~',
  'a*~ab',
  'a~ab*',
  'a~ab~ab',
  'a~-',
  `a~a${'x'.repeat(80)}`,
]) {
  test(`${argument} is no listing`, () => {
    assert.throws(() => parseListing(argument), {
      code: 'BAD_NAME',
      message: `listing pattern '${argument}' is empty, too long or is invalid`,
    })
  })
}

test('a later page is judged as the first of its listing', () => {
  assert.equal(firstPage('ab~abc'), 'ab')
  assert.equal(firstPage('~abc'), '')
})

test('a first page is judged as what it is', () => {
  assert.equal(firstPage('ab*'), 'ab*')
  assert.equal(firstPage(''), '')
})

test('a page has the names with the prefix in the order of their bytes', () => {
  const names = ['b', 'a1', 'B', 'a-', 'a', '_a', '0', 'aa', 'a_']
  const page = pageOf(names, { prefix: 'a', from: 'a' }, 10)
  assert.deepEqual(page, { names: ['a', 'a-', 'a1', 'a_', 'aa'] })
})

test('a page that is full tells which name comes next', () => {
  assert.deepEqual(pageOf(['c', 'b', 'a'], { prefix: '', from: '' }, 2), {
    names: ['a', 'b'],
    next: 'c',
  })
})

test('a page that is just full is the last one', () => {
  const page = pageOf(['b', 'a'], { prefix: '', from: '' }, 2)
  assert.deepEqual(page, { names: ['a', 'b'] })
  assert.equal(continueAt({ prefix: '', from: '' }, page), '')
})

const name = fc.stringMatching(/^[0-9A-Za-z_][0-9A-Za-z_-]{0,10}[0-9A-Za-z]$/)

test('walking the pages gives every name once, in the order of bytes', () => {
  const prefix = fc.constantFrom('', 'a', 'ab', 'a-', 'B')
  const prefixed = fc.tuple(prefix, name).map(([start, rest]) => start + rest)
  fc.assert(
    fc.property(
      fc.uniqueArray(prefixed, { maxLength: 60 }),
      prefix,
      fc.integer({ min: 1, max: 7 }),
      (names, wanted, limit) => {
        const walked: string[] = []
        let argument: string = wanted
        do {
          const listing = parseListing(argument)
          const page = pageOf(names, listing, limit)
          assert.ok(page.names.length <= limit)
          walked.push(...page.names)
          argument = continueAt(listing, page)
          assert.equal(firstPage(argument || wanted), wanted)
        } while (argument !== '')
        const expected = names.filter((candidate) => candidate.startsWith(wanted))
        assert.deepEqual(
          walked.map((each) => Buffer.from(each)),
          expected.map((each) => Buffer.from(each)).sort((a, b) => Buffer.compare(a, b)),
        )
      },
    ),
    RUNS,
  )
})

test('names that are added or deleted between two pages do no harm to the others', () => {
  const listing = parseListing('')
  const first = pageOf(['a', 'b', 'c', 'd'], listing, 2)
  const second = pageOf(['a', 'aa', 'b', 'd'], parseListing(continueAt(listing, first)), 2)
  assert.deepEqual([...first.names, ...second.names], ['a', 'b', 'd'])
})

test('a page of sorted names is the page of all names', () => {
  const short = fc.string({ unit: fc.constantFrom('-', '0', 'A', 'a', 'b', '_'), maxLength: 4 })
  fc.assert(
    fc.property(fc.uniqueArray(short), short, short, fc.nat(5), (names, prefix, rest, limit) => {
      for (const from of [prefix, prefix + rest, rest, '0']) {
        const listing = { prefix, from }
        const plain = pageOf(names, listing, limit)
        assert.deepEqual(pageOfSorted(names.toSorted(), listing, limit), plain)
      }
    }),
    RUNS,
  )
})
