import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { JsonError } from '#src/json.js'
import { type Json, parseStrict, StrictFields } from '#src/strict-json.js'
import { RUNS } from './support/bytes.ts'
import { fuzz, mutate } from './support/fuzz.ts'

function parse(text: string): Json {
  return parseStrict(Buffer.from(text))
}

/** With objects instead of Maps. */
function plain(value: Json): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, inner]) => [name, plain(inner)]))
  return Array.isArray(value) ? value.map(plain) : value
}

test('what JSON.stringify writes is read', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      assert.deepEqual(plain(parse(text)), JSON.parse(text))
    }),
    RUNS,
  )
})

for (const [what, text] of [
  ['nothing', ''],
  ['space', '  '],
  ['a second value', '{} {}'],
  ['a comma at the end', '{"a":1,}'],
  ['a comma at the end of a list', '[1,]'],
  ['a comma at the beginning', '[,1]'],
  ['a missing comma', '[1 2]'],
  ['a missing colon', '{"a" 1}'],
  ['a missing value', '{"a":}'],
  ['a name that is no text', '{a:1}'],
  ['single quotes', "{'a':1}"],
  ['a comment', '{/**/}'],
  ['an open object', '{"a":1'],
  ['an open list', '[1'],
  ['an open text', '"a'],
  ['an open escape', '"a\\'],
  ['the wrong bracket', '[1}'],
  ['an unknown escape', '"\\x41"'],
  ['half an escape', '"\\u12"'],
  ['a control character', '"\u0001"'],
  ['a line feed in a text', '"\n"'],
  ['half a surrogate pair', '"\\ud800"'],
  ['the other half', '"\\udc00x"'],
  ['a leading zero', '01'],
  ['a plus', '+1'],
  ['a bare point', '.5'],
  ['a point at the end', '5.'],
  ['a number without end', '1e999'],
  ['NaN', 'NaN'],
  ['an unknown word', 'nil'],
  ['a word in upper case', 'TRUE'],
  ['a byte order mark', '\ufeff{}'],
  ['a field twice', '{"a":1,"a":1}'],
  ['a field twice, once with escapes', '{"a":1,"\\u0061":2}'],
  ['a field twice, further down', '{"x":[{"a":1,"b":2,"a":3}]}'],
  ['17 levels', `${'['.repeat(17)}${']'.repeat(17)}`],
  ['a hundred thousand levels', '['.repeat(100_000)],
  ['a hundred thousand objects', '{"a":'.repeat(100_000)],
] as const) {
  test(`${what} is no strict JSON`, () => {
    assert.throws(() => parse(text), JsonError)
  })
}

test('bytes that are no UTF-8 are no strict JSON', () => {
  for (const bytes of [
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
  ])
    assert.throws(() => parseStrict(Buffer.from(bytes)), JsonError)
})

test('whatever is read, JSON.parse reads in the same way', async () => {
  await fuzz('strict-json', mutate, (input) => {
    let read: Json
    try {
      read = parseStrict(input)
    } catch (error) {
      assert.ok(error instanceof JsonError)
      return
    }
    assert.deepEqual(plain(read), JSON.parse(input.toString()))
  })
})

test('names that mean something to the language are names like any other', () => {
  const value = parse('{"__proto__":{"a":1},"constructor":2}')
  assert.ok(value instanceof Map)
  assert.deepEqual([...value.keys()], ['__proto__', 'constructor'])
  assert.equal(({} as { a?: number }).a, undefined)
})

function fields(text: string): StrictFields {
  return new StrictFields(parse(text))
}

test('fields are read by type; null and absence are told apart', () => {
  const all = fields('{"s":"x","n":null,"b":false,"w":7,"l":["a"],"t":{"a":"b"},"o":{"i":1}}')
  assert.deepEqual([all.string('s'), all.string('n'), all.string('absent')], ['x', null, undefined])
  assert.deepEqual([all.boolean('b'), all.whole('w'), all.strings('l')], [false, 7, ['a']])
  assert.deepEqual(all.texts('t'), new Map([['a', 'b']]))
  const inner = all.object('o')
  assert.equal(inner?.whole('i'), 1)
  inner?.end()
  all.end()
})

test('a field that nobody asked for is an error that names it', () => {
  const some = fields('{"known":"x","Other":1}')
  some.string('known')
  assert.throws(() => some.end(), { message: 'unknown field "Other"' })
  assert.throws(() => fields('{"a":{"x":1}}').object('a')?.end(), {
    message: 'unknown field a."x"',
  })
})

test('two spellings of a field in one text are an error', () => {
  const both = fields('{"Tags":{},"tags":{}}')
  assert.throws(() => both.texts('Tags', 'tags'), /mean the same/)
})

for (const [what, text, read] of [
  ['a number for a text', '{"f":1}', (f: StrictFields) => f.string('f')],
  ['a text for a switch', '{"f":"true"}', (f: StrictFields) => f.boolean('f')],
  ['a text for a number', '{"f":"1"}', (f: StrictFields) => f.whole('f')],
  ['a negative number', '{"f":-1}', (f: StrictFields) => f.whole('f')],
  ['a fraction', '{"f":1.5}', (f: StrictFields) => f.whole('f')],
  ['a number beyond what is exact', '{"f":9007199254740993}', (f: StrictFields) => f.whole('f')],
  ['a list of numbers', '{"f":[1]}', (f: StrictFields) => f.strings('f')],
  ['an object of numbers', '{"f":{"a":1}}', (f: StrictFields) => f.texts('f')],
  ['a list for an object', '{"f":[]}', (f: StrictFields) => f.object('f')],
] as const) {
  test(`${what} is an error that names the field and not the value`, () => {
    assert.throws(
      () => read(fields(text)),
      (error: Error) => {
        assert.ok(error instanceof JsonError)
        assert.match(error.message, /\bf\b/)
        assert.doesNotMatch(error.message, /\d/)
        return true
      },
    )
  })
}

test('a body that is no object is an error', () => {
  for (const text of ['null', '[]', '"x"', '1']) assert.throws(() => fields(text), JsonError)
})
