import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { Turns } from '#src/turns.js'

test('work never overlaps, and is done in the order in which it was asked for', async () => {
  const turns = new Turns()
  const log: string[] = []
  const work = (name: string) => async () => {
    log.push(`${name} begins`)
    await turn()
    log.push(`${name} ends`)
    return name
  }
  assert.deepEqual(await Promise.all([turns.take(work('a')), turns.take(work('b'))]), ['a', 'b'])
  assert.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends'])
})

test('work that fails is the trouble of who asked for it', async () => {
  const turns = new Turns()
  const failed = turns.take(() => Promise.reject(new Error('no')))
  const next = turns.take(async () => 1)
  await assert.rejects(failed, /^Error: no$/)
  assert.equal(await next, 1)
})

test('at the end what has begun ends, and nothing else begins', async () => {
  const turns = new Turns()
  let isDone = false
  const first = turns.take(async () => {
    await turn()
    await turn()
    isDone = true
  })
  await Promise.resolve()
  const refused = assert.rejects(
    turns.take(async () => assert.fail('it begins')),
    /^Error: enough$/,
  )
  await turns.end(new Error('enough'))
  assert.equal(isDone, true)
  assert.equal(turns.signal.aborted, true)
  await Promise.all([first, refused])
})
