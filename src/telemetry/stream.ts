/** Fan-out of ndjson lines to whoever follows a log over the API. A slow follower is dropped, never waited for. */

/** One follower. */
export interface Follower {
  /** Takes a line that ends in a line feed. False when it cannot keep up: it is then dropped. */
  write(line: string): boolean
  /** Told once, when the server stops or the follower was dropped. */
  end(): void
}

export class EventStream {
  readonly #followers = new Set<Follower>()

  get hasFollowers(): boolean {
    return this.#followers.size > 0
  }

  follow(follower: Follower): void {
    this.#followers.add(follower)
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower)
  }

  publish(line: string): void {
    for (const follower of this.#followers) {
      if (follower.write(line)) continue
      this.#followers.delete(follower)
      follower.end()
    }
  }

  close(): void {
    for (const follower of this.#followers) follower.end()
    this.#followers.clear()
  }
}
