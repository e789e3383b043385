import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Admission } from '#src/server/admission.js'
import { Backlog } from '#src/server/backlog.js'

const LIMITS = { inFlight: 0, delay: 250 }

/** A server in whose turns one request begins, and `done` are done, every 10 ms. */
class Scene {
  now = 10_000
  running = 0
  busy = 1
  readonly backlog = new Backlog(() => this.busy)
  readonly admission = new Admission(
    () => this.now,
    (act) => (this.#end = act),
    this.backlog,
  )
  #end = (): void => {}

  /** @returns how many of the requests that came began */
  pass(milliseconds: number, { come, done }: { come: number; done: number }): number {
    let began = 0
    for (const end = this.now + milliseconds; this.now < end; this.now += 10) {
      for (let i = 0; i < come; i++) {
        this.running++
        if (this.admission.admits(LIMITS, this.running, this.now)) began++
        else this.running--
      }
      for (let i = 0; i < done && this.running > 0; i++) {
        this.admission.done()
        this.running--
      }
      this.#end()
    }
    return began
  }
}

test('who keeps up refuses nothing, however busy, however many', () => {
  const scene = new Scene()
  assert.equal(scene.pass(20_000, { come: 50, done: 50 }), 100_000)
})

test('a burst that is over in a second is no overload', () => {
  const scene = new Scene()
  assert.equal(scene.pass(900, { come: 10, done: 5 }), 900)
  scene.pass(1000, { come: 0, done: 5 })
  assert.equal(scene.pass(10_000, { come: 5, done: 5 }), 5000)
})

test('twice of what can be done is refused by half, and what begins waits no longer than it may', () => {
  const scene = new Scene()
  scene.pass(2000, { come: 10, done: 5 })
  scene.pass(2000, { come: 10, done: 5 })
  const began = scene.pass(10_000, { come: 10, done: 5 })
  assert.ok(Math.abs(began - 5000) < 250, `${began} began`)
  // 250 ms at 5 per 10 ms.
  assert.ok(scene.running < 150, `${scene.running} are waiting`)
})

test('an overload is over when there is less to do', () => {
  const scene = new Scene()
  scene.pass(5000, { come: 10, done: 5 })
  scene.busy = 0.5
  scene.pass(500, { come: 0, done: 5 })
  assert.equal(scene.pass(1000, { come: 2, done: 5 }), 200)
  scene.busy = 1
  assert.equal(scene.pass(900, { come: 10, done: 5 }), 900)
})

test('many that wait for the keystore, or for their clients, are no overload while there is time', () => {
  const scene = new Scene()
  scene.busy = 0.9
  assert.equal(scene.pass(10_000, { come: 10, done: 1 }), 10_000)
})

test('a few always begin, though nothing but refusals is done', () => {
  const scene = new Scene()
  scene.pass(5000, { come: 10, done: 5 })
  scene.pass(5000, { come: 10, done: 0 })
  scene.running = 0
  assert.equal(scene.pass(10, { come: 30, done: 0 }), 16)
})

test('with delay 0 nobody is refused', () => {
  const scene = new Scene()
  for (let i = 0; i < 1000; i++) {
    scene.now += 10
    assert.ok(scene.admission.admits({ inFlight: 0, delay: 0 }, 100_000, scene.now))
  }
})
