import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { test } from 'node:test'

import { LineSink } from '#src/telemetry/sink.js'

/** What was written, a string per write. */
class Writes extends Writable {
  readonly all: string[] = []

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.all.push(chunk.toString())
    this.emit('written')
    done()
  }
}

test('lines of a moment are one write, in their order, without being asked for', async () => {
  const target = new Writes()
  const sink = new LineSink(target, 5)
  for (const line of ['a\n', 'b\n', 'c\n']) sink.write(line)
  assert.deepEqual(target.all, [])
  await once(target, 'written')
  assert.deepEqual(target.all, ['a\nb\nc\n'])
})

test('what waits is bounded, however many lines come at once', () => {
  const target = new Writes()
  const sink = new LineSink(target, 5)
  const line = `${'x'.repeat(999)}\n`
  for (let i = 0; i < 200; i++) sink.write(line)
  assert.ok(target.all.length >= 3)
  sink.flush()
  assert.equal(target.all.join(''), line.repeat(200))
  assert.ok(target.all.every((text) => text.length < 70_000))
})

test('nothing is written twice', () => {
  const target = new Writes()
  const sink = new LineSink(target, 5)
  sink.write('a\n')
  sink.flush()
  sink.flush()
  assert.deepEqual(target.all, ['a\n'])
})
