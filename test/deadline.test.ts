import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { test } from 'node:test'

import { within, withinOrDrop } from '#src/deadline.js'
import { PATIENT } from './support/bytes.ts'

test('work that ends in time gives its outcome', async () => {
  assert.equal(await within(Promise.resolve(1), PATIENT), 1)
  await assert.rejects(within(Promise.reject(new Error('broken')), PATIENT), /broken/)
})

test('work that does not end in time fails with the signal’s reason', async () => {
  const aborter = new AbortController()
  const outcome = within(new Promise(() => {}), aborter)
  aborter.abort(new Error('too late'))
  await assert.rejects(outcome, /too late/)
})

test('an end that came before the work fails with the signal’s reason', async () => {
  const signal = AbortSignal.abort(new Error('too late'))
  await assert.rejects(within(Promise.resolve(1), { signal }), /too late/)
})

test('work that fails after its end harms nobody', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  const signal = AbortSignal.abort(new Error('too late'))
  await assert.rejects(within(Promise.reject(new Error('broken')), { signal }), /too late/)
  const aborter = new AbortController()
  const slow = setImmediate().then(() => {
    throw new Error('broken')
  })
  const outcome = within(slow, aborter)
  aborter.abort(new Error('too late'))
  await assert.rejects(outcome, /too late/)
  for (let i = 0; i < 5; i++) await setImmediate()
  assert.deepEqual(unhandled, [])
})

test('what comes too late is dropped, once it comes, and what comes in time is not', async () => {
  const dropped: number[] = []
  const drop = (late: number): void => void dropped.push(late)
  assert.equal(await withinOrDrop(Promise.resolve(1), PATIENT, drop), 1)
  const broken = Promise.reject(new Error('broken'))
  await assert.rejects(withinOrDrop(broken, PATIENT, drop), /broken/)
  const aborter = new AbortController()
  const outcome = withinOrDrop(
    setImmediate().then(() => 2),
    aborter,
    drop,
  )
  aborter.abort(new Error('too late'))
  await assert.rejects(outcome, /too late/)
  assert.deepEqual(dropped, [])
  for (let i = 0; i < 5; i++) await setImmediate()
  assert.deepEqual(dropped, [2])
  const over = { signal: AbortSignal.abort(new Error('too late')) }
  await assert.rejects(withinOrDrop(Promise.resolve(3), over, drop), /too late/)
  await setImmediate()
  assert.deepEqual(dropped, [2, 3])
})

test('nothing stays with the signal when the work is done', async () => {
  const aborter = new AbortController()
  let listeners = 0
  const { signal } = aborter
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++
    add(...args)
  }
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--
    remove(...args)
  }
  for (let i = 0; i < 10; i++) await within(Promise.resolve(), aborter)
  assert.equal(listeners, 0)
})
