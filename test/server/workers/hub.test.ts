/** The bus between processes, with channels that carry copies, in order, some time later. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import fc from 'fast-check'

import { DIED, topic } from '#src/bus.js'
import { Hub, type Member } from '#src/server/workers/hub.js'
import {
  type BusFromWorker,
  type BusToWorker,
  CHANGES,
  type ToWorker,
} from '#src/server/workers/messages.js'
import { WorkerBus } from '#src/server/workers/worker-bus.js'

const NOTE = topic<string, string>('note')

class Worker implements Member {
  readonly id: number
  readonly bus: WorkerBus
  readonly heard: string[] = []
  killed = ''
  readonly #hub: Hub
  /** Nothing goes in or out any more. */
  isGone = false
  #inbox: Promise<unknown> = Promise.resolve()
  #outbox: Promise<unknown> = Promise.resolve()

  constructor(id: number, hub: Hub) {
    this.id = id
    this.#hub = hub
    this.bus = new WorkerBus(id, async (message) => {
      const copy = structuredClone(message)
      this.#outbox = this.#outbox.then(turn).then(() => this.#deliver(copy))
    })
    this.bus.subscribe(NOTE, (text) => {
      this.heard.push(text)
      if (text.startsWith('bad')) throw new RangeError(text)
      return `${id}:${text}`
    })
    this.bus.subscribe(CHANGES, () => ({ access: { policies: [], assignments: [] }, enclaves: [] }))
  }

  #deliver(message: BusFromWorker): void {
    if (!this.isGone) this.#hub.received(this, message)
  }

  send(message: ToWorker): void {
    const copy = structuredClone(message) as BusToWorker
    this.#inbox = this.#inbox.then(turn).then(() => {
      if (!this.isGone) this.bus.received(copy)
    })
  }

  kill(reason: string): void {
    this.killed = reason
    this.die()
  }

  die(): void {
    this.isGone = true
    this.#hub.remove(this.id)
  }
}

async function fleet(count: number): Promise<{ hub: Hub; workers: Worker[] }> {
  const hub = new Hub()
  const workers = Array.from({ length: count }, (_, index) => new Worker(index + 1, hub))
  for (const worker of workers) await hub.join(worker, () => {})
  return { hub, workers }
}

test('what is asked is heard by all, the asker too, and all answers come back', async () => {
  const { hub, workers } = await fleet(3)
  const answers = await workers[1]?.bus.ask(NOTE, 'a')
  assert.deepEqual(answers?.sort(), ['1:a', '2:a', '3:a'])
  assert.deepEqual((await hub.ask(NOTE, 'b')).sort(), ['1:b', '2:b', '3:b'])
})

test('everybody hears everything in the same order, whoever asks and whoever joins', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ by: fc.nat(3), joins: fc.boolean() }), { minLength: 1, maxLength: 20 }),
      async (steps) => {
        const { hub, workers } = await fleet(3)
        const running: Promise<unknown>[] = []
        for (const [index, { by, joins }] of steps.entries()) {
          if (joins) {
            const worker = new Worker(10 + index, hub)
            running.push(hub.join(worker, () => workers.push(worker)))
          }
          const asker = workers[by % 3]
          running.push(asker?.bus.ask(NOTE, `n${index}`) ?? assert.fail())
          if (index % 3 === 0) await turn()
        }
        await Promise.all(running)
        const [first] = workers
        assert.equal(first?.heard.length, steps.length)
        for (const { heard } of workers)
          // Who joined later has heard the end of it.
          assert.deepEqual(heard, first?.heard.slice(steps.length - heard.length))
      },
    ),
    { numRuns: 50 },
  )
})

test('the asker gets the error of its own listener, as it was thrown', async () => {
  const { hub, workers } = await fleet(2)
  await assert.rejects(workers[0]?.bus.ask(NOTE, 'bad') ?? assert.fail(), RangeError)
  await assert.rejects(hub.ask(NOTE, 'bad again'), /bad again/)
  assert.deepEqual(workers[1]?.heard, ['bad', 'bad again'])
})

test('who dies is waited for no longer, and the others are told', async () => {
  const { workers } = await fleet(3)
  const [one = assert.fail(), two = assert.fail(), three = assert.fail()] = workers
  const died: number[] = []
  one.bus.subscribe(DIED, (id) => void died.push(id))
  two.isGone = true
  const asked = one.bus.ask(NOTE, 'a')
  for (let i = 0; i < 5; i++) await turn()
  two.die()
  assert.deepEqual((await asked).sort(), ['1:a', '3:a'])
  assert.deepEqual(died, [2])
  assert.equal(three.killed, '')
})

test('what somebody has answered who dies before the others answer counts no more', async () => {
  const { workers } = await fleet(3)
  const [one = assert.fail(), two = assert.fail(), three = assert.fail()] = workers
  three.isGone = true
  const asked = one.bus.ask(NOTE, 'a')
  for (let i = 0; i < 10; i++) await turn()
  assert.deepEqual(two.heard, ['a'])
  two.die()
  three.die()
  assert.deepEqual(await asked, ['1:a'])
})

test('who does not answer in time is ended', async () => {
  const { hub, workers } = await fleet(2)
  const [, stuck = assert.fail()] = workers
  stuck.isGone = true
  assert.deepEqual(await hub.ask(NOTE, 'a', 20), ['1:a'])
  assert.match(stuck.killed, /has not answered/)
})

test('who dies while it tells a newcomer what has changed is replaced by another one', async () => {
  const { hub, workers } = await fleet(2)
  const [first = assert.fail()] = workers
  first.isGone = true
  const newcomer = new Worker(3, hub)
  let hasChanges = false
  const joined = hub.join(newcomer, (changes) => (hasChanges = changes !== undefined))
  for (let i = 0; i < 5; i++) await turn()
  first.die()
  await joined
  assert.equal(hasChanges, true)
  assert.deepEqual((await hub.ask(NOTE, 'a')).sort(), ['2:a', '3:a'])
})

test('what is published is heard by the others, and not by who publishes it', async () => {
  const { workers } = await fleet(3)
  const [one = assert.fail(), two = assert.fail(), three = assert.fail()] = workers
  await one.bus.publish(topic<string>('note'), 'a')
  await one.bus.ask(NOTE, 'b')
  assert.deepEqual([one.heard, two.heard, three.heard], [['b'], ['a', 'b'], ['a', 'b']])
})

test('of all processes one is told that it is the first', async () => {
  const { workers } = await fleet(2)
  const [one = assert.fail(), two = assert.fail()] = workers
  const told: number[] = []
  for (const { bus } of workers) bus.whenFirst(() => told.push(bus.id))
  two.bus.received({ kind: 'first' })
  assert.deepEqual([one.bus.isFirst, two.bus.isFirst, told], [false, true, [2]])
  two.bus.whenFirst(() => told.push(20))
  assert.deepEqual(told, [2, 20])
})
