/** Colors: when there are any. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type OutputOptions, painter } from '#src/cli/output.js'

const RED = '\u001b[31mx\u001b[0m'

function paint(
  options: OutputOptions,
  isTTY: boolean,
  env: Readonly<Record<string, string>>,
): string {
  const before = process.env
  process.env = { ...env }
  try {
    return painter(options, { isTTY } as NodeJS.WriteStream)('red', 'x')
  } finally {
    process.env = before
  }
}

test('colors are for terminals only, unless somebody says otherwise', () => {
  assert.equal(paint({}, true, {}), RED)
  assert.equal(paint({}, false, {}), 'x')
  assert.equal(paint({ color: 'always' }, false, {}), RED)
  assert.equal(paint({ color: 'never' }, true, {}), 'x')
})

test('NO_COLOR and a dumb terminal have no colors; --color always stands above both', () => {
  for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
    assert.equal(paint({}, true, env), 'x')
    assert.equal(paint({ color: 'always' }, true, env), RED)
  }
  assert.equal(paint({}, true, { NO_COLOR: '' }), RED)
})
