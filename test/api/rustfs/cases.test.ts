/** That nothing of the contract is forgotten: each case's number begins the name of some test. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const PLACES = ['test/api/rustfs', 'test/keys/managed']

test('each of the 60 cases of the contract has a test', () => {
  const texts = PLACES.flatMap((place) =>
    readdirSync(place)
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => readFileSync(`${place}/${file}`, 'utf8')),
  )
  // `7:`, `2, 3:`, `24 and 25:`; or of a loop over them.
  const names = texts.flatMap((text) => [
    ...text.matchAll(/\btest\(\s*['`]((?:\w+(?:, | and ))*\w+):|^ {2}\[(\d+), '/gm),
  ])
  const numbers = new Set(names.flatMap(([, name, row]) => (row ?? name ?? '').split(/, | and /)))
  const missing = Array.from({ length: 60 }, (_, index) => String(index + 1)).filter(
    (number) => !numbers.has(number),
  )
  assert.deepEqual(missing, [])
})
