/** The command table: what help, completions and man page rely on. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { longName } from '#src/cli/command.js'
import { COMMANDS, GROUPS } from '#src/cli/table.js'

test('no two commands have one name', () => {
  const names = COMMANDS.map(({ name }) => name)
  assert.deepEqual([...new Set(names)], names)
})

test('a command is one word, or a group and a word', () => {
  const groups = new Set<string>()
  for (const { name } of COMMANDS) {
    assert.match(name, /^[a-z]+( [a-z]+)?$/)
    const [first = '', second] = name.split(' ')
    if (second === undefined) assert.ok(!Object.hasOwn(GROUPS, first), name)
    else groups.add(first)
  }
  assert.deepEqual(Object.keys(GROUPS).sort(), [...groups].sort())
})

for (const { name, summary, options, examples } of COMMANDS) {
  test(`kes ${name}: no flag twice`, () => {
    const flags = options.flatMap((option) => option.flags.match(/(?<![\w-])--?[a-z-]+/g) ?? [])
    assert.deepEqual([...new Set(flags)], flags)
    for (const option of options) assert.notEqual(longName(option), '')
  })

  test(`kes ${name}: the help is made of sentences, and of fragments without a full stop`, () => {
    assert.match(summary, /^[A-Z].*[.]$/)
    for (const { help } of options) assert.match(help, /[^.]$/)
  })

  test(`kes ${name}: the examples are of this command, with options that it has`, () => {
    const known = new Set(options.map(longName))
    for (const example of examples) {
      const [, own] = new RegExp(`\\bkes ${name}\\b([^|)]*)`).exec(example) ?? []
      assert.ok(own !== undefined, example)
      for (const [, flag = ''] of own.matchAll(/ --([a-z-]+)/g)) assert.ok(known.has(flag), example)
    }
  })
}
