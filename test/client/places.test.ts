/** So many at a time. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Places } from '#src/client/places.js'
import { SIGNAL } from '../support/bytes.ts'
import { thrownBy } from '../support/client.ts'

/** Lets everything run that can. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

test('no more have a place than there are, and who waits gets one in turn', async () => {
  const places = new Places(() => 2)
  const order: number[] = []
  for (let i = 0; i < 5; i++) void places.take(SIGNAL).then(() => order.push(i))
  await settle()
  assert.deepEqual([order, places.taken], [[0, 1], 2])
  places.leave()
  await settle()
  assert.deepEqual([order, places.taken], [[0, 1, 2], 2])
  places.leave()
  places.leave()
  await settle()
  assert.deepEqual([order, places.taken], [[0, 1, 2, 3, 4], 2])
  places.leave()
  places.leave()
  assert.equal(places.taken, 0)
})

test('more places let more in, fewer throw nobody out', async () => {
  let limit = 1
  const places = new Places(() => limit)
  let entered = 0
  for (let i = 0; i < 6; i++) void places.take(SIGNAL).then(() => entered++)
  await settle()
  limit = 4
  places.wake()
  await settle()
  assert.equal(entered, 4)
  limit = 2
  places.leave()
  places.leave()
  await settle()
  assert.equal(entered, 4)
  places.leave()
  await settle()
  assert.equal(entered, 5)
})

test('who gives up takes no place, and passes the turn on', async () => {
  const places = new Places(() => 1)
  await places.take(SIGNAL)
  const [first, second] = [new AbortController(), new AbortController()]
  const gaveUp = thrownBy(places.take(first.signal))
  const turn = thrownBy(places.take(second.signal))
  const last = places.take(SIGNAL)
  first.abort(new Error('one'))
  assert.match(String(await gaveUp), /one/)
  // It is the second one's turn, and at the same moment it gives up.
  places.leave()
  second.abort(new Error('two'))
  assert.match(String(await turn), /two/)
  await last
  assert.equal(places.taken, 1)
  assert.match(
    String(await thrownBy(places.take(AbortSignal.abort(new Error('before'))))),
    /before/,
  )
  assert.equal(places.taken, 1)
})
