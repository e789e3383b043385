import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { Outlet } from '#src/server/workers/lines.js'

test('lines of several sources come whole, whatever pieces they arrive in', async () => {
  const target = new PassThrough()
  const outlet = new Outlet(target)
  const [a, b] = [new PassThrough(), new PassThrough()]
  outlet.take(a)
  outlet.take(b)
  for (const [source, piece] of [
    [a, 'one '],
    [b, 'two\nthree '],
    [a, 'and more\nfour'],
    [b, 'goes on\n'],
  ] as const) {
    source.write(piece)
    await turn()
  }
  a.end()
  b.end()
  await turn()
  await turn()
  assert.equal(String(target.read()), 'two\none and more\nthree goes on\nfour\n')
})

test('a target that is slow slows its sources down, and one that has failed does not', async () => {
  let release = (): void => {}
  const slow = new Writable({
    highWaterMark: 10,
    write: (_chunk, _encoding, done) => void (release = done),
  })
  const outlet = new Outlet(slow)
  const source = new PassThrough()
  outlet.take(source)
  source.write('a long line\n')
  await turn()
  assert.equal(source.isPaused(), true)
  release()
  await turn()
  await turn()
  assert.equal(source.isPaused(), false)
  source.write('another one\n')
  await turn()
  slow.destroy(new Error('nobody reads'))
  await turn()
  await turn()
  assert.equal(source.isPaused(), false)
  source.write('nobody waits for this\n')
  await turn()
  assert.equal(source.isPaused(), false)
})
