import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Body } from '#src/api/body.js'
import { parseFields } from '#src/json.js'
import { namesByObject } from '#src/json-names.js'
import { bytes, RUNS } from './support/bytes.ts'

/** A body of more than 16 KiB is read in another way (json-scan.ts). */
const FILLER = `,"filler":"${Buffer.alloc(30_000).toString('base64')}"}`

function enlarged(object: string): string {
  return object.replace(/\}$/, object === '{}' ? FILLER.slice(1) : FILLER)
}

/** What each way of reading says of a field `sk`. */
function readings(object: string): unknown[] {
  const list = Body.list(bytes(`[null, ${object},{"sk":"another"}]`))
  return [
    parseFields(bytes(object)).raw('sk'),
    parseFields(bytes(`${object} {"sk":"behind"}`)).raw('sk'),
    parseFields(bytes(enlarged(object))).raw('sk'),
    list?.[1]?.change('sk'),
  ]
}

const LAST: readonly [object: string, last: string | null | undefined][] = [
  ['{"sk":"1","SK":"2","sk":"3"}', '3'],
  ['{"SK":"1","sk":"2","SK":"3"}', '3'],
  ['{"sk":"1","SK":"2","Sk":"3","SK":"4","sk":"5","x":"6"}', '5'],
  ['{"sk":"1","SK":"2","s\\u006b":"3"}', '3'],
  ['{"\\u0073k":"1","SK":"2","sk":"3"}', '3'],
  ['{"sk":"1","\u017f\u212a":"2","sk":"3"}', '3'],
  ['{"sk":"1","SK":"2","\u017f\u212a":"3","\\u017F\\u212a":"4","SK":"5","\u017f\u212a":"6"}', '6'],
  ['{"SK":"1","sk":"2","x":{"SK":"3","sk":"4"},"SK":"5","y":[{"sk":"6"}]}', '5'],
  ['{"SK":"1","sk":"2","SK":"\\"sk\\":","z":"{\\"sk\\":\\"3\\"}"}', '"sk":'],
  ['{"sk":"1","SK":"2","sk":null}', null],
  [' {"SK" : "1" , "sk"\n: "2",\t"SK"\r:"3" }', '3'],
  ['{"s\u00f5":"1","SKK":"2","s":"3","S\u0130":"4"}', undefined],
]

for (const [object, last] of LAST) {
  test(`of ${object} the last field that is sk is read`, () => {
    for (const read of readings(object)) assert.equal(read, last)
  })
}

/** As Go's encoding/json compares names: two more characters than ASCII has are an s or a k. */
const SAME: Readonly<Record<string, string>> = { S: 's', '\u017f': 's', K: 'k', '\u212a': 'k' }

test('whatever names a body has, and however they are written, Go takes the same field', () => {
  const escaped = (character: string): string =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  const letter = (...same: string[]): fc.Arbitrary<string> =>
    fc.constantFrom(
      ...same,
      ...same.map(escaped),
      escaped(same[0] ?? '')
        .toUpperCase()
        .replace('U', 'u'),
    )
  const sk = fc
    .tuple(letter('s', 'S', '\u017f'), letter('k', 'K', '\u212a'))
    .map(([first, second]) => first + second)
  const other = fc.constantFrom('', 's', 'skk', 's\\n', 'x', '__proto__', '7', 'sk\\"')
  const value = fc.oneof(
    fc.constant('null'),
    fc.string({ unit: 'binary', maxLength: 6 }).map((text) => JSON.stringify(text)),
    fc.constantFrom('"\\\\"', '"\\"sk\\":"', '","', '"{"', '"]"'),
  )
  const nested = fc.constantFrom(
    '{"sk":"inner"}',
    '[{"sk":"inner"},"sk"]',
    '{}',
    '[]',
    '-1.5e3',
    'true',
  )
  const field = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(sk, value) },
    { weight: 1, arbitrary: fc.tuple(other, fc.oneof(value, nested)) },
  )
  const space = fc.constantFrom('', '', ' ', '\n\t')
  fc.assert(
    fc.property(fc.array(field, { maxLength: 8 }), space, (fields, blank) => {
      const last = fields.findLast(([name]) => {
        const letters = Array.from(JSON.parse(`"${name}"`) as string)
        return letters.map((character) => SAME[character] ?? character).join('') === 'sk'
      })
      const expected: unknown = last === undefined ? undefined : JSON.parse(last[1])
      const text = fields.map(([name, all]) => `${blank}"${name}"${blank}:${blank}${all}${blank}`)
      for (const read of readings(`{${text.join(',')}}`)) assert.equal(read, expected)
    }),
    { ...RUNS, numRuns: 2000 },
  )
})

test('the names of an object are those of its text, in their order, as often as they are there', () => {
  const names = fc.array(fc.string({ unit: 'binary', maxLength: 4 }), { maxLength: 6 })
  const object = (of: readonly string[]): string =>
    `{${of.map((name) => `${JSON.stringify(name)}:[{"a":"b"},"c:",{}]`).join(' , ')}}`
  fc.assert(
    fc.property(names, fc.array(names, { minLength: 1, maxLength: 4 }), (one, several) => {
      assert.deepEqual(namesByObject(object(one)), [one])
      assert.deepEqual(namesByObject(`[${several.map(object).join(',')}]`), several)
    }),
    RUNS,
  )
})
