/** That nothing of the contract is forgotten: each case's number begins the name of some test here. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

test('each of the 60 cases of the contract has a test', () => {
  const directory = 'test/api/rustfs'
  const names = readdirSync(directory)
    .filter((file) => file.endsWith('.test.ts'))
    .flatMap((file) => readFileSync(`${directory}/${file}`, 'utf8').split('\n'))
    .flatMap((line) => /\btest\(\s*['`"](\$\{number\}|[\dW, ]+):/.exec(line)?.[1] ?? [])
  const numbers = new Set(names.flatMap((name) => name.split(/, ?/).map(Number)))
  // Of a loop: 35 and 36.
  for (const number of [35, 36]) if (names.includes('${number}')) numbers.add(number)
  const missing = Array.from({ length: 60 }, (_, index) => index + 1).filter(
    (number) => !numbers.has(number),
  )
  assert.deepEqual(missing, [])
})
