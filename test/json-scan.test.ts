import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { base64Length, decodeInPlace, encodeInPlace, writeBase64 } from '#src/base64-bytes.js'
import { Base64Value, scanObject } from '#src/json-scan.js'
import { decodeBase64, Fields, JsonError, parseFields, parseFirst } from '#src/json.js'
import { bytes } from './support/bytes.ts'

const LONG = Buffer.alloc(3000, 'long').toString('base64')
const HUGE = Buffer.alloc(100_000, 'huge').toString('base64')

/** What the plain reading says of a text. */
function plain(text: Buffer): Record<string, unknown> | undefined {
  try {
    return parseFirst(text.toString()) as Record<string, unknown>
  } catch (error) {
    assert.ok(error instanceof JsonError)
    return undefined
  }
}

/** Fails unless the scanner says what the plain reading says, or leaves it to that, as it is. @returns whether it said anything */
function agrees(text: Buffer): boolean {
  const mine = Buffer.from(text)
  const scanned = scanObject(mine)
  if (scanned === undefined) {
    assert.ok(mine.equals(text))
    return false
  }
  const values = Object.fromEntries(
    Object.entries(scanned).map(([name, value]) => {
      if (!(value instanceof Base64Value)) return [name, value]
      assert.deepEqual(value.bytes, decodeBase64(value.toString()))
      return [name, value.toString()]
    }),
  )
  // Two objects differ by their order, too: a later field may be meant by the same name.
  assert.equal(JSON.stringify(values), JSON.stringify(plain(text)))
  return true
}

const USUAL = [
  `{"plaintext":"${LONG}"}`,
  `{"plaintext":"${LONG}","context":"Y29udGV4dA=="}`,
  `{"context":null,"plaintext":"${LONG}"}`,
  ` {\r\n\t"plaintext" : "${LONG}" ,\n "context" : "" } \n`,
  `{"plaintext":"${LONG}"}{"plaintext":"x"}`,
  `{"plaintext":"${LONG}"}\u0000`,
  `{"plaintext":"${HUGE}","Plaintext":"a"}`,
  `{"__proto__":"${LONG}","constructor":"a"}`,
]

for (const text of USUAL) {
  test(`${JSON.stringify(text.replaceAll(/\w{1000,}/g, '…'))} is read without a string of it`, () => {
    assert.ok(agrees(bytes(text)))
  })
}

const UNUSUAL = [
  '',
  'null',
  '{}',
  `["${LONG}"]`,
  `{"a":"${LONG}"`,
  `{"a":"${LONG}",}`,
  `{"a":"${LONG}"]`,
  `{"a":"${LONG}`,
  `{"a" "${LONG}"}`,
  `{a:"${LONG}"}`,
  `{"a":"${LONG}","b":nul}`,
  `{"a":"${LONG}","b":nullx}`,
  `{"a":"${LONG}","b":1}`,
  `{"a":"${LONG}","b":[1]}`,
  `{"a":"${LONG}","b":{}}`,
  `{"a":"${LONG}","b":"\\n"}`,
  `{"a":"${LONG}","b":"\n"}`,
  `{"a":"${LONG}","b":"ü"}`,
  `{"a":"${LONG}","a":"b"}`,
  `{"a":"${LONG}\\n"}`,
  `{"a":"${HUGE}","b":"${LONG}","c":"${LONG}-"}`,
  `{"a":"${LONG}","${LONG}":"b"}`,
  `{"a":"${LONG}\\"}","b":"a"}`,
  `\ufeff{"a":"${LONG}"}`,
]

for (const text of UNUSUAL) {
  test(`${JSON.stringify(text.replaceAll(/\w{1000,}/g, '…'))} is left to the plain reading`, () => {
    assert.equal(agrees(bytes(text)), false)
  })
}

test('whatever is scanned is what the plain reading sees, whatever the text', () => {
  // Mostly usual, or nothing would ever be scanned.
  const usually = <T>(usual: fc.Arbitrary<T>, ...unusual: fc.Arbitrary<T>[]): fc.Arbitrary<T> =>
    fc.oneof(
      { weight: 12, arbitrary: usual },
      ...unusual.map((arbitrary) => ({ weight: 1, arbitrary })),
    )
  const name = usually(
    fc.constantFrom('a', 'A', 'b', 'plaintext', 'context', '__proto__', ''),
    fc.constantFrom('k\u212a', '\\u0061', '\u007f', '\n'),
  )
  const piece = usually(
    fc.constant(''),
    fc.constantFrom('=', '==', '-', '_', '\n', '\\n', '\\"', '\u00c1', '\u0141', ' ', '\0'),
  )
  // Of every length around the longest that is short, mostly of one that can be base64.
  const size = usually(
    fc.integer({ min: 250, max: 275 }).map((quarter) => 4 * quarter),
    fc.integer({ min: 1000, max: 1100 }),
  )
  const long = fc.tuple(size, fc.nat({ max: 1100 }), piece).map(([length, at, inserted]) => {
    const all = 'QUJD'.repeat(275).slice(0, length)
    return `"${all.slice(0, at)}${inserted}${all.slice(at)}"`
  })
  const value = usually(
    fc.oneof(
      long,
      fc.base64String({ maxLength: 16 }).map((all) => `"${all}"`),
      fc.constant('null'),
    ),
    fc.string({ unit: 'binary', maxLength: 8 }).map((all) => `"${all}"`),
    fc.string({ unit: 'binary', maxLength: 8 }).map((all) => JSON.stringify(all)),
    fc.constantFrom('nul', 'true', '1', '[1,2]', '{}', '{"a":"b"}', '"', ''),
  )
  const space = usually(fc.constantFrom('', ' ', '\n', '\r\t'), fc.constantFrom('\v', '\u00a0'))
  const field = fc
    .tuple(space, name, space, value, space)
    .map(([before, key, between, all, after]) => `${before}"${key}"${between}:${all}${after}`)
  const text = fc
    .tuple(
      usually(fc.constantFrom('{', ' {'), fc.constantFrom('[', '', '{,')),
      fc.array(field, { minLength: 1, maxLength: 3 }),
      usually(fc.constantFrom('}', '}x', '}}'), fc.constantFrom(']', '', ',}')),
    )
    .map(([open, fields, close]) => open + fields.join(',') + close)
  let scanned = 0
  fc.assert(
    fc.property(text, (input) => {
      if (agrees(bytes(input))) scanned++
      // Bytes that are no UTF-8, too.
      agrees(Buffer.from(input, 'latin1'))
    }),
    { numRuns: 10_000 },
  )
  assert.ok(scanned > 1000, `only ${scanned} of 10,000 were scanned`)
})

test('one changed byte anywhere in a large object makes no difference to the plain reading', () => {
  const good = bytes(`{"plaintext":"${LONG}","context":"Y29udGV4dA==","x":null}`)
  const near = fc.oneof(fc.nat(16), fc.integer({ min: good.length - 48, max: good.length - 1 }))
  fc.assert(
    fc.property(fc.oneof(near, fc.nat(good.length - 1)), fc.nat(255), (at, byte) => {
      const text = Buffer.from(good)
      text[at] = byte
      agrees(text)
    }),
    { numRuns: 5000 },
  )
})

test('fields of a large body are found as those of a small one', () => {
  const text = bytes(`{"Plaintext":"${HUGE}","context":"Y29udGV4dA==","other":null}`)
  const [small, large] = [new Fields(plain(text)), parseFields(text)]
  for (const name of ['plaintext', 'context', 'other', 'missing']) {
    assert.deepEqual(large.bytes(name), small.bytes(name))
    assert.equal(large.string(name), small.string(name))
    assert.equal(large.raw(name), small.raw(name))
  }
  assert.deepEqual(large.bytes('plaintext'), Buffer.from(HUGE, 'base64'))
  assert.throws(() => large.integer('plaintext'), JsonError)
})

test('large bodies of unusual shape are read, too', () => {
  const broken = HUGE.replaceAll(/.{76}/g, '$&\\r\\n')
  const expected = Buffer.from(HUGE, 'base64')
  for (const text of [`{"a":"${broken}"}`, `{"b":"ü","a":"${HUGE}"}`, `{"b":[1],"a":"${HUGE}"} x`])
    assert.deepEqual(parseFields(bytes(text)).bytes('a'), expected)
  assert.deepEqual(parseFields(bytes(`{"a":[${'1,'.repeat(20_000)}2]}`)).bytes('a')?.length, 20_001)
})

test('base64 is read in its place as from a string, wherever something is wrong, and that stays as it was', () => {
  const edges = [0, 1, 32_768, 65_535, 65_536, 65_537, 131_071, 131_072]
  for (const length of [1, 2, 3, 24_575, 24_576, 24_577, 49_151, 49_152, 49_153, 100_000]) {
    const good = Buffer.alloc(length, 7).toString('base64')
    const last = [1, 2, 3, 4, 5].map((back) => good.length - back)
    for (const wrong of ['', '=', '==', '-', '_', ' ', '\n', '\u00c1', '\u0141', '"']) {
      for (const at of [...edges, ...last].filter((index) => index >= 0 && index < good.length)) {
        const text = good.slice(0, at) + wrong + good.slice(at + wrong.length)
        const source = bytes(`"${text}"`)
        const before = Buffer.from(source)
        const plainly = wrong === '\n' ? undefined : decodeBase64(text)
        const decoded = decodeInPlace(source, 1, source.length - 1)
        assert.deepEqual(decoded, plainly, `${wrong} at ${at}`)
        if (decoded === undefined) assert.ok(source.equals(before), `${wrong} at ${at}`)
      }
    }
  }
})

test('what base64 became in its place becomes the same base64 again', () => {
  for (const length of [1, 2, 3, 3000, 49_152, 49_153, 200_000]) {
    const source = Buffer.from(`"${Buffer.alloc(length, 'data').toString('base64')}"`)
    const before = Buffer.from(source)
    const decoded = decodeInPlace(source, 1, source.length - 1)
    assert.equal(decoded?.length, length)
    encodeInPlace(source, 1, 1 + length)
    assert.ok(source.equals(before))
  }
})

test('bits of base64 that no byte has stay in the text', () => {
  const text = `${LONG}QR==`
  const value = scanObject(bytes(`{"a":"${text}"}`))?.['a']
  assert.ok(value instanceof Base64Value)
  assert.equal(value.toString(), text)
  assert.deepEqual(value.bytes, Buffer.from(text, 'base64'))
})

test('base64 is written as Node writes it, and nothing beyond', () => {
  for (const length of [0, 1, 2, 3, 4, 24_575, 24_576, 24_577, 49_151, 49_152, 49_153, 100_000]) {
    const data = Buffer.alloc(length, 'data')
    const target = Buffer.alloc(base64Length(length) + 2, '!')
    assert.equal(writeBase64(target, 1, [data]), target.length - 1)
    assert.equal(target.toString(), `!${data.toString('base64')}!`)
  }
})

test('parts of any size become one text in base64', () => {
  const size = fc.integer({ min: 0, max: 100 })
  const large = fc.integer({ min: 49_100, max: 49_200 })
  fc.assert(
    fc.property(fc.array(fc.oneof(size, { arbitrary: large, weight: 1 })), (sizes) => {
      const parts = sizes.map((length, index) => Buffer.alloc(length, index + 1))
      const data = Buffer.concat(parts)
      const target = Buffer.alloc(base64Length(data.length) + 2, '!')
      assert.equal(writeBase64(target, 1, parts), target.length - 1)
      assert.equal(target.toString('latin1'), `!${data.toString('base64')}!`)
    }),
  )
})
