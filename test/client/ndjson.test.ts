/** Lines out of chunks. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { LineSplitter } from '#src/client/ndjson.js'
import { bytes, RUNS } from '../support/bytes.ts'

/** Cuts bytes at these places. */
function cut(all: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...places.map((place) => place % (all.length + 1)), 0, all.length].sort(
    (a, b) => a - b,
  )
  return sorted.slice(1).map((end, index) => all.subarray(sorted[index], end))
}

function split(chunks: readonly Buffer[]): [lines: string[], rest: string] {
  const splitter = new LineSplitter()
  const lines = chunks.flatMap((chunk) => splitter.push(chunk))
  return [lines, splitter.end()]
}

test('any chunks of the same bytes give the same lines', () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ''))
  fc.assert(
    fc.property(fc.array(line), line, fc.array(fc.nat()), (lines, rest, places) => {
      const all = bytes([...lines, rest].join('\n'))
      assert.deepEqual(split(cut(all, places)), [lines.map(wellFormed), wellFormed(rest)])
    }),
    RUNS,
  )
})

function wellFormed(text: string): string {
  return bytes(text).toString()
}

test('arbitrary bytes, however cut, give the same as at once', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.array(fc.nat()), (data, places) => {
      const all = Buffer.from(data.map((byte) => (byte % 5 === 0 ? 0x0a : byte)))
      assert.deepEqual(split(cut(all, places)), split([all]))
    }),
    RUNS,
  )
})

test('a character in two chunks stays whole, and an empty line is a line', () => {
  const all = bytes('ä€😀\n\nb')
  const chunks = Array.from(all, (byte) => Buffer.of(byte))
  assert.deepEqual(split(chunks), [['ä€😀', ''], 'b'])
  assert.deepEqual(split([]), [[], ''])
  assert.deepEqual(split([bytes('\n')]), [[''], ''])
})

test('the size is that of the line that has not ended', () => {
  const splitter = new LineSplitter()
  splitter.push(bytes('abc'))
  assert.equal(splitter.size, 3)
  splitter.push(bytes('de\nf'))
  assert.equal(splitter.size, 1)
  splitter.push(bytes('\n'))
  assert.equal(splitter.size, 0)
})
