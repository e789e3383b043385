/** Policies in files of their own. What is said about bad ones is in test/cli/access.txt. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { CommandError } from '#src/cli/command.js'
import { parsePolicy } from '#src/cli/policy-file.js'

const rules = fc.uniqueArray(fc.string({ unit: 'grapheme' }).map((text) => `/${text}`))

test('the rules of a JSON file are read as they are written, as lists or as the API answers', () => {
  fc.assert(
    fc.property(rules, rules, (allow, deny) => {
      const set = Object.fromEntries(deny.map((path) => [path, {}]))
      const { identities, warnings, ...read } = parsePolicy(
        JSON.stringify({ allow, deny: set }),
        'p.json',
      )
      assert.deepEqual(read, { allow, deny })
      assert.deepEqual(identities, [])
      const stars = [...allow, ...deny].filter((path) => path.slice(0, -1).includes('*'))
      assert.equal(warnings.length, stars.length)
    }),
  )
})

test('whatever else a file holds, it is refused with a place', () => {
  const words = fc.constantFrom('allow', 'deny', ':', ' ', '\n', '- ', '[', '{', '&a ', '*a', '/v1')
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words).map((parts) => parts.join('')),
      ),
      (text) => {
        try {
          for (const found of parsePolicy(text, 'f').allow) assert.match(found, /^[/*]/)
        } catch (error) {
          assert.ok(error instanceof CommandError, String(error))
          assert.match(error.message, /^f:\d+:\d+: /)
        }
      },
    ),
  )
})
