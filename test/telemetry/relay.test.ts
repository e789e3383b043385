import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { type Bus, DIED, Listeners } from '#src/bus.js'
import { Relay } from '#src/telemetry/relay.js'
import { EventStream, type Follower } from '#src/telemetry/stream.js'

const MIB = 1_048_576
/** Characters that may be on their way (relay.ts). */
const BACKLOG = 16 * MIB

interface Published {
  /** Of a message with lines. */
  readonly size: number
  leave(): void
}

/** Buses of processes whose questions arrive at once, and whose messages leave when the test lets them. */
class Processes {
  readonly held: Published[] = []
  readonly #listeners = new Map<number, Listeners>()

  bus(id: number): Bus {
    const own = new Listeners()
    this.#listeners.set(id, own)
    return {
      id,
      isAlone: false,
      isFirst: id === 1,
      whenFirst: () => {},
      ask: async ({ name }, message) => {
        const all = [...this.#listeners.values()]
        return (await Promise.all(all.map((each) => each.tell(name, message)))).flat() as never
      },
      publish: ({ name }, message) =>
        new Promise((resolve) => {
          const { lines } = message as { readonly lines: string | null }
          const leave = (): void => {
            for (const [other, listeners] of this.#listeners)
              if (other !== id) void listeners.tell(name, message)
            resolve()
          }
          this.held.push({ size: lines?.length ?? 0, leave })
        }),
      subscribe: (topic, listener) => own.add(topic, listener),
    }
  }

  release(): void {
    for (const { leave } of this.held.splice(0)) leave()
  }
}

class Reader implements Follower {
  received = ''
  ends = 0

  write(lines: string): boolean {
    this.received += lines
    return true
  }

  end(): void {
    this.ends++
  }
}

async function followed(stream: EventStream): Promise<Reader> {
  const reader = new Reader()
  await stream.gather()
  stream.follow(reader)
  return reader
}

/** A line of its own, of a MiB. */
function line(index: number): string {
  return `${String(index).padEnd(MIB - 1, '.')}\n`
}

test('a process keeps 16 MiB of events that cannot leave; beyond that, who follows them elsewhere is cut off', async () => {
  const processes = new Processes()
  const [maker, other] = [new Relay(processes.bus(1)), new Relay(processes.bus(2))]
  const here = new EventStream('audit', maker)
  const there = new EventStream('audit', other)
  const reader = await followed(there)
  for (let index = 0; index < 40; index++) {
    here.publish(line(index))
    // Its turn ends here, and what it has gathered is sent.
    await turn()
    const waiting = processes.held.reduce((sum, { size }) => sum + size, 0)
    assert.equal(waiting, Math.min((index + 1) * MIB, BACKLOG))
  }
  assert.deepEqual([reader.received, reader.ends], ['', 0])
  processes.release()
  assert.equal(reader.received, Array.from({ length: 16 }, (_, index) => line(index)).join(''))
  assert.equal(reader.ends, 1)

  // What has left makes room, and whoever comes back sees what happens from then on.
  await turn()
  const again = await followed(there)
  for (let index = 40; index < 56; index++) here.publish(line(index))
  await turn()
  processes.release()
  assert.equal(again.received, Array.from({ length: 16 }, (_, index) => line(40 + index)).join(''))
  assert.deepEqual([again.ends, reader.received.length], [0, BACKLOG])
})

test('one turn with more events than may wait cuts followers off at once, and keeps none of them', async () => {
  const processes = new Processes()
  const [maker, other] = [new Relay(processes.bus(1)), new Relay(processes.bus(2))]
  const there = new EventStream('audit', other)
  const reader = await followed(there)
  for (let index = 0; index < 17; index++) maker.send('audit', line(index))
  await turn()
  assert.deepEqual(
    processes.held.map(({ size }) => size),
    [0],
  )
  processes.release()
  assert.deepEqual([reader.received, reader.ends], ['', 1])
})

test('what nobody follows elsewhere is not sent, and no more is once the follower has died', async () => {
  const processes = new Processes()
  const [maker, other] = [new Relay(processes.bus(1)), new Relay(processes.bus(2))]
  const here = new EventStream('audit', maker)
  here.publish('nobody\n')
  await turn()
  assert.equal(processes.held.length, 0)
  const reader = await followed(new EventStream('audit', other))
  here.publish('somebody\n')
  await turn()
  processes.release()
  assert.equal(reader.received, 'somebody\n')
  await processes.bus(3).ask(DIED, 2)
  here.publish('nobody again\n')
  await turn()
  assert.equal(processes.held.length, 0)
})
