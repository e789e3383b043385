/** Texts in columns, and figures. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import stringWidth from 'string-width'

import { cut, fit, harmless } from '#src/cli/columns.js'
import { bytes, span, took } from '#src/cli/figures.js'

test('a text that is cut shows it, and wide characters take two columns', () => {
  assert.equal(cut('abcdef', 6), 'abcdef')
  assert.equal(cut('abcdef', 5), 'abcd…')
  assert.equal(cut('鍵鍵鍵', 6), '鍵鍵鍵')
  assert.equal(cut('鍵鍵鍵', 5), '鍵鍵…')
  assert.equal(fit('鍵鍵鍵', 4), '鍵… ')
  assert.equal(cut('👩‍👩‍👧‍👦abc', 4), '👩‍👩‍👧‍👦a…')
  assert.equal(cut('abc', 0), '')
})

test('whatever the text, it has as many columns as it was to have', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(40), (text, columns) => {
      assert.ok(stringWidth(cut(harmless(text), columns)) <= columns)
      assert.equal(stringWidth(fit(harmless(text), columns)), columns)
    }),
  )
})

test('what steers a terminal is spelled out', () => {
  assert.equal(harmless('a\u001b[2J\u009b1m\n\u202eb'), 'a\\u{1b}[2J\\u{9b}1m\\u{a}\\u{202e}b')
  assert.equal(harmless('/v1/key/Schlüssel-鍵'), '/v1/key/Schlüssel-鍵')
})

test('figures have units that suit them', () => {
  assert.deepEqual([0, 1023, 1024, 1.5 * 2 ** 20, 2 ** 40].map(bytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 MiB',
    '1.0 TiB',
  ])
  assert.deepEqual([0.25, 1, 12.34, 999.4, 999.6, 61_000].map(took), [
    '250µs',
    '1ms',
    '12.3ms',
    '999ms',
    '1s',
    '61s',
  ])
  assert.deepEqual([0, 59, 60, 3661, 93_784].map(span), ['0s', '59s', '1m', '1h 1m', '1d 2h'])
})
