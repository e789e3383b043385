import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { decodeBase64, Fields, JsonError, parseFirst, quote, stringify } from '#src/json.js'
import { RUNS } from './support/bytes.ts'

function fields(text: string): Fields {
  return new Fields(parseFirst(text))
}

const WHOLE = ['{}', '{"a":1}', '[]', '[1,2]', '"text"', 'null', 'true', '12', '-1.5e3']

for (const text of WHOLE) {
  test(`${text} is a value, also with white space around`, () => {
    assert.deepEqual(parseFirst(text), JSON.parse(text))
    assert.deepEqual(parseFirst(` \r\n\t${text} \n`), JSON.parse(text))
  })
}

const FOLLOWED: readonly [text: string, value: unknown][] = [
  ['{"a":1} trailing', { a: 1 }],
  ['{"a":1}{"a":2}', { a: 1 }],
  ['{"a":1}}', { a: 1 }],
  ['{"a":"}"}]', { a: '}' }],
  ['{"a":"\\"}"}x', { a: '"}' }],
  ['{"a":"\\\\"}x', { a: '\\' }],
  ['{"a":[{"b":[]}]},', { a: [{ b: [] }] }],
  ['[1]2', [1]],
  ['"a""b"', 'a'],
  ['null null', null],
  ['1 2', 1],
]

for (const [text, value] of FOLLOWED) {
  test(`of ${text} only the first value is read`, () => {
    assert.deepEqual(parseFirst(text), value)
  })
}

const BROKEN = [
  '',
  ' ',
  '{',
  '{"a":',
  '{"a"',
  '{"a":1',
  '[1,',
  '"a',
  '{"a":"b\\"}',
  '{a:1}',
  "{'a':1}",
]
const NO_VALUES = [
  'nul',
  'nullx',
  '}',
  ']',
  ',',
  ':',
  '01',
  '+1',
  '.5',
  '{"a":1,}',
  '[1,]',
  '\ufeff{}',
]

for (const text of [...BROKEN, ...NO_VALUES]) {
  test(`${JSON.stringify(text)} is no value`, () => {
    assert.throws(() => parseFirst(text), JsonError)
  })
}

test('an object is read whatever follows it', () => {
  const object = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue())
  fc.assert(
    fc.property(object, fc.string({ unit: 'binary' }), (value, garbage) => {
      const text = JSON.stringify(value)
      assert.deepEqual(parseFirst(text + garbage), JSON.parse(text))
    }),
    { numRuns: 500 },
  )
})

test('text of any kind is read or refused with a JsonError', () => {
  const token = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    ',',
    ':',
    '1',
    'a',
    'null',
    ' ',
    '\n',
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(token).map((all) => all.join('')),
  )
  fc.assert(
    fc.property(text, (input) => {
      try {
        const value = parseFirst(input)
        new Fields(value).bytes('a')
      } catch (error) {
        assert.ok(error instanceof JsonError, String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('very deep nesting is read or refused with a JsonError', () => {
  for (const text of ['['.repeat(200_000), `${'['.repeat(100_000)}${']'.repeat(100_000)}x`]) {
    try {
      parseFirst(text)
    } catch (error) {
      assert.ok(error instanceof JsonError, String(error))
    }
  }
})

test('a JsonError has no part of the text in it', () => {
  for (const text of ['{"secret', '{"secret":secret}', 'secret']) {
    assert.throws(
      () => parseFirst(text),
      (error: Error) => !error.message.includes('secret') && error.cause === undefined,
    )
  }
})

test('an array, a text, a number or a truth value has no fields', () => {
  for (const text of ['[]', '[1]', '"a"', '1', 'true']) assert.throws(() => fields(text), JsonError)
})

test('null has no fields and is no error', () => {
  assert.equal(fields('null').value('a'), undefined)
})

test('a field is found without regard to case', () => {
  for (const name of ['plaintext', 'PlainText', 'PLAINTEXT'])
    assert.equal(fields(`{"${name}":"x"}`).string('plaintext'), 'x')
})

test('the long s counts as s', () => {
  assert.equal(fields('{"me\u017fſage":"x"}').string('message'), 'x')
})

test('the Kelvin sign counts as k', () => {
  assert.equal(fields('{"\u212aey":"x"}').string('key'), 'x')
})

test('no other character beside A to Z counts as a letter of a field', () => {
  const names = 'abcdefghijklmnopqrstuvwxyz'
  for (let code = 128; code < 0x10000; code++) {
    const character = String.fromCharCode(code)
    if (character === '\u017f' || character === '\u212a') continue
    const object = new Fields({ [character]: 'x' })
    for (const name of names) {
      if (object.value(name) !== undefined) assert.fail(`U+${code.toString(16)} counts as ${name}`)
    }
  }
})

test('of fields that occur twice the last counts', () => {
  assert.equal(fields('{"a":"1","a":"2"}').string('a'), '2')
  assert.equal(fields('{"a":"1","A":"2"}').string('a'), '2')
  assert.equal(fields('{"A":"1","a":"2"}').string('a'), '2')
})

test('a field that is null is absent', () => {
  assert.equal(fields('{"a":null}').string('a'), undefined)
  assert.equal(fields('{"a":null}').bytes('a'), undefined)
})

test('a field that is not there is absent, also one that every object has', () => {
  assert.equal(fields('{}').value('a'), undefined)
  for (const name of ['constructor', '__proto__', 'tostring'])
    assert.equal(fields('{}').value(name), undefined)
})

test('a field of the wrong type is refused', () => {
  for (const value of ['1', 'true', '{}', '[]'])
    assert.throws(() => fields(`{"a":${value}}`).string('a'), JsonError)
})

test('bytes are standard base64 with padding', () => {
  assert.deepEqual(fields('{"a":"SGVsbG8="}').bytes('a'), Buffer.from('Hello'))
})

test('base64 may have line breaks anywhere', () => {
  assert.deepEqual(fields('{"a":"SG\\r\\nVs\\nbG8\\n="}').bytes('a'), Buffer.from('Hello'))
})

for (const text of [
  'SGVsbG8',
  'SGVs bG8=',
  '-_-_',
  'A',
  '=',
  '====',
  'SGVsbG8=SGVs',
  'SGVsbG8=\\t',
]) {
  test(`${text} is no base64`, () => {
    assert.throws(() => fields(`{"a":"${text}"}`).bytes('a'), JsonError)
  })
}

test('bytes may be an array of numbers', () => {
  assert.deepEqual(fields('{"a":[0,1,255]}').bytes('a'), Buffer.of(0, 1, 255))
})

test('null in an array of bytes is 0', () => {
  assert.deepEqual(fields('{"a":[1,null]}').bytes('a'), Buffer.of(1, 0))
})

for (const array of ['[256]', '[-1]', '[1.5]', '["1"]', '[true]', '[[1]]', '[{}]']) {
  test(`${array} is no byte string`, () => {
    assert.throws(() => fields(`{"a":${array}}`).bytes('a'), JsonError)
  })
}

test('bytes of any kind are read back from base64', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (data) => {
      const bytes = Buffer.from(data)
      assert.deepEqual(decodeBase64(bytes.toString('base64')), bytes)
    }),
    RUNS,
  )
})

test('text is read back from Go’s escapes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.equal(JSON.parse(quote(text)), text)
    }),
    RUNS,
  )
})

test('values are read back from Go’s escapes', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(JSON.parse(stringify(value)), JSON.parse(JSON.stringify(value)))
    }),
    RUNS,
  )
})

test('characters are escaped as Go escapes them', () => {
  assert.equal(quote('<a&b>'), '"\\u003ca\\u0026b\\u003e"')
  assert.equal(quote('\u2028\u2029\ufffd'), '"\\u2028\\u2029\\ufffd"')
  assert.equal(stringify({ a: '<', b: 'ü' }), '{"a":"\\u003c","b":"ü"}')
})

/** The plain reading: every character is looked at. */
function plainBase64(text: string): Buffer | undefined {
  const packed = text.replace(/[\r\n]/g, '')
  return packed.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(packed)
    ? Buffer.from(packed, 'base64')
    : undefined
}

test('base64 is read as if each character were looked at', () => {
  const unit = fc.constantFrom(
    ...'ABCzyx019+/'.split(''),
    '=',
    '=',
    '-',
    '_',
    ' ',
    '\n',
    '\r',
    '\u0141',
    'ü',
    '\0',
    '😀',
  )
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 24 }), (text) => {
      assert.deepEqual(decodeBase64(text), plainBase64(text))
    }),
    { numRuns: 20_000 },
  )
})

test('one wrong character in a megabyte of base64 is seen, wherever it is', () => {
  const good = Buffer.alloc(786_000, 7).toString('base64')
  assert.equal(decodeBase64(good)?.length, 786_000)
  for (const wrong of ['-', '_', ' ', '=', '\u0141', '\t']) {
    for (const at of [0, 1, 2, 3, 500_001, good.length - 3, good.length - 1]) {
      const text = good.slice(0, at) + wrong + good.slice(at + 1)
      assert.deepEqual(decodeBase64(text), plainBase64(text), `${wrong} at ${at}`)
    }
  }
})
