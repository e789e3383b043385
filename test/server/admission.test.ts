import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Admission } from '#src/server/admission.js'

const LIMITS = { inFlight: 100, delay: 50 }

/** An event loop whose turns take as long as a test says. */
class Loop {
  now = 10_000
  #end = (): void => {}
  readonly admission = new Admission(
    () => this.now,
    (act) => {
      this.#end = act
    },
  )

  ask(limits = LIMITS, running = 1): boolean {
    return this.admission.admits(limits, running, this.now)
  }

  /** A turn in which a request comes every `step` milliseconds. @returns how many began, and how many came */
  turn(requests: number, step: number, limits = LIMITS): { began: number; came: number } {
    let began = 0
    for (let i = 0; i < requests; i++) {
      if (this.ask(limits)) began++
      this.now += step
    }
    this.#end()
    this.#end = () => {}
    return { began, came: requests }
  }
}

function all({ began, came }: { began: number; came: number }): boolean {
  return began === came
}

test('one long turn is no overload, nor are many in half a second', () => {
  const loop = new Loop()
  assert.ok(all(loop.turn(1000, 1)))
  const busy = new Loop()
  for (let i = 0; i < 5; i++) assert.ok(all(busy.turn(100, 1)))
})

test('whoever is behind for a second serves each turn’s first, and refuses the others', () => {
  const loop = new Loop()
  for (let i = 0; i < 10; i++) assert.ok(all(loop.turn(100, 1)), `turn ${i}`)
  assert.deepEqual(loop.turn(100, 1), { began: 51, came: 100 })
})

test('a turn that does not end is an overload after a second, not when it has ended', () => {
  const loop = new Loop()
  assert.deepEqual(loop.turn(5000, 1), { began: 1001, came: 5000 })
})

test('a second begins with the first long turn, not with the pause before it', () => {
  const loop = new Loop()
  loop.turn(10, 1)
  loop.now += 450
  assert.ok(all(loop.turn(900, 1)))
})

test('one short turn ends an overload', () => {
  const loop = new Loop()
  for (let i = 0; i < 30; i++) loop.turn(100, 1)
  assert.ok(!all(loop.turn(100, 1)))
  loop.turn(10, 1)
  assert.ok(all(loop.turn(100, 1)))
})

test('a pause ends an overload', () => {
  const loop = new Loop()
  for (let i = 0; i < 30; i++) loop.turn(100, 1)
  loop.now += 1000
  assert.ok(all(loop.turn(100, 1)) || loop.turn(1, 1).began === 1)
  assert.ok(all(loop.turn(100, 1)))
})

test('long turns with pauses between them are no overload', () => {
  const loop = new Loop()
  for (let i = 0; i < 30; i++) {
    assert.ok(all(loop.turn(100, 1)))
    loop.now += 600
  }
})

test('turns that are short are no overload, however many requests come', () => {
  const loop = new Loop()
  for (let i = 0; i < 1000; i++) assert.ok(all(loop.turn(50, 1)))
})

test('no more requests run at a time than may', () => {
  const loop = new Loop()
  assert.equal(loop.ask(LIMITS, 100), true)
  assert.equal(loop.ask(LIMITS, 101), false)
})

test('without limits nothing is refused', () => {
  const loop = new Loop()
  const none = { inFlight: 0, delay: 0 }
  for (let i = 0; i < 50; i++) assert.ok(all(loop.turn(100, 1, none)))
  assert.equal(loop.ask(none, 1_000_000), true)
})
