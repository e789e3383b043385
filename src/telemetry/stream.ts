/** Fan-out of ndjson lines to whoever follows a log over the API. A slow follower is dropped, never waited for. */

import type { Relay } from './relay.ts'

/** One follower. */
export interface Follower {
  /** Takes a line that ends in a line feed. False when it cannot keep up: it is then dropped. */
  write(line: string): boolean
  /** Told once, when the server stops or the follower was dropped. */
  end(): void
}

export class EventStream {
  /** The same in every process of the server. */
  readonly name: string
  readonly #relay: Relay | undefined
  readonly #followers = new Set<Follower>()

  /** @param relay to those who follow the stream in other processes; absent when there are none */
  constructor(name = '', relay?: Relay) {
    this.name = name
    this.#relay = relay
  }

  get hasFollowers(): boolean {
    return this.isFollowedHere || this.#relay?.isWanted(this.name) === true
  }

  get isFollowedHere(): boolean {
    return this.#followers.size > 0
  }

  /** Before somebody follows: resolves when the events of all processes come here. */
  async gather(): Promise<void> {
    await this.#relay?.gather(this)
  }

  follow(follower: Follower): void {
    this.#followers.add(follower)
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower)
    this.#relay?.review(this)
  }

  publish(line: string): void {
    this.deliver(line)
    this.#relay?.send(this.name, line)
  }

  /** Lines for those who follow it in this process. */
  deliver(lines: string): void {
    for (const follower of this.#followers) {
      if (follower.write(lines)) continue
      this.#followers.delete(follower)
      follower.end()
    }
  }

  close(): void {
    for (const follower of this.#followers) follower.end()
    this.#followers.clear()
    this.#relay?.review(this)
  }
}
