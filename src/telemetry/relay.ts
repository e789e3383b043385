/**
 * Brings events from the process where they happen to those where somebody follows them (docs/adr/0011). Nothing is sent
 * while nobody listens; a process that cannot take them fast enough loses its followers, as a slow follower is dropped.
 */

import { type Bus, DIED, topic } from '../bus.ts'
import type { EventStream } from './stream.ts'

/** A process has its first follower of a stream, or no more of them. */
const FOLLOWED = topic<{ stream: string; by: number; isWanted: boolean }>('log:followed')
/** What is followed anywhere, asked by a process that is new. */
const WHICH = topic<void, { by: number; streams: readonly string[] }>('log:which')
/** Lines of a stream; null when some were lost. */
const LINES = topic<{ stream: string; lines: string | null }>('log:lines')

/** Characters that may be on their way. */
const BACKLOG = 16_777_216
/** Milliseconds after which a stream that nobody follows any more is not gathered any more. */
const LINGER = 1000

export class Relay {
  readonly #bus: Bus
  /** Streams whose events are to come here. */
  readonly #gathered = new Map<string, { readonly stream: EventStream; timer?: NodeJS.Timeout }>()
  /** Streams that are followed elsewhere, and by whom. */
  readonly #wanted = new Map<string, Set<number>>()
  /** Lines of this turn of the event loop. */
  #pending = new Map<string, string[]>()
  #backlog = 0

  constructor(bus: Bus) {
    this.#bus = bus
    bus.subscribe(FOLLOWED, ({ stream, by, isWanted }) => this.#note(stream, by, isWanted))
    bus.subscribe(WHICH, () => ({ by: bus.id, streams: [...this.#gathered.keys()] }))
    bus.subscribe(LINES, ({ stream, lines }) => this.#take(stream, lines))
    bus.subscribe(DIED, (id) => {
      for (const stream of this.#wanted.keys()) this.#note(stream, id, false)
    })
  }

  /** To be awaited before this process makes events. */
  async start(): Promise<void> {
    for (const { by, streams } of await this.#bus.ask(WHICH, undefined))
      for (const stream of streams) this.#note(stream, by, true)
  }

  isWanted(stream: string): boolean {
    return this.#wanted.has(stream)
  }

  /** Resolves when all events of a stream come here, for as long as it has followers. */
  async gather(stream: EventStream): Promise<void> {
    const { name } = stream
    clearTimeout(this.#gathered.get(name)?.timer)
    this.#gathered.set(name, { stream })
    await this.#bus.ask(FOLLOWED, { stream: name, by: this.#bus.id, isWanted: true })
    // Whoever asked for it may have gone.
    this.review(stream)
  }

  /** Perhaps nobody follows it any more. */
  review(stream: EventStream): void {
    const entry = this.#gathered.get(stream.name)
    if (entry?.stream !== stream || stream.isFollowedHere) return
    clearTimeout(entry.timer)
    entry.timer = setTimeout(() => {
      if (stream.isFollowedHere || this.#gathered.get(stream.name) !== entry) return
      this.#gathered.delete(stream.name)
      void this.#bus.ask(FOLLOWED, { stream: stream.name, by: this.#bus.id, isWanted: false })
    }, LINGER).unref()
  }

  send(stream: string, line: string): void {
    if (!this.#wanted.has(stream)) return
    if (this.#pending.size === 0) setImmediate(() => this.#flush())
    const lines = this.#pending.get(stream)
    if (lines === undefined) this.#pending.set(stream, [line])
    else lines.push(line)
  }

  #flush(): void {
    const pending = this.#pending
    this.#pending = new Map()
    for (const [stream, list] of pending) {
      const text = list.join('')
      const lines = this.#backlog + text.length > BACKLOG ? null : text
      const size = lines?.length ?? 0
      this.#backlog += size
      void this.#bus.publish(LINES, { stream, lines }).then(() => (this.#backlog -= size))
    }
  }

  #take(name: string, lines: string | null): void {
    const stream = this.#gathered.get(name)?.stream
    if (lines === null) stream?.close()
    else stream?.deliver(lines)
  }

  #note(stream: string, by: number, isWanted: boolean): void {
    if (by === this.#bus.id) return
    const followers = this.#wanted.get(stream) ?? new Set()
    if (isWanted) followers.add(by)
    else followers.delete(by)
    if (followers.size === 0) this.#wanted.delete(stream)
    else this.#wanted.set(stream, followers)
  }
}
