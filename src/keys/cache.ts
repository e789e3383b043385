/**
 * Keys in memory: a hit is answered without a promise, requests that miss the same key share one fetch, and
 * while the keystore is down keys are kept for as long as configured.
 */

import { setTimeout as sleep } from 'node:timers/promises'

import { type Deadline, within } from '../deadline.ts'
import { KesError } from '../errors.ts'
import { DamagedKeyError } from './codec.ts'
import type { KeyStoreHealth } from './health.ts'
import type { Key } from './key.ts'

/** Milliseconds each. */
export interface CacheExpiry {
  /** How long a key may be cached at all. */
  readonly any: number
  /** How long since its last use. */
  readonly unused: number
  /** How long while the keystore is down, instead of both; 0 = no longer than usual. */
  readonly offline: number
}

/** Counted by the cache, kept by who made it: counts outlive a cache. */
export interface CacheCounts {
  hits: number
  misses: number
}

interface Entry {
  readonly key: Key
  readonly fetchedAt: number
  usedAt: number
  /** Whether it still is the key of this name is to be asked as soon as the keystore answers. */
  isInDoubt: boolean
}

const MIN_SWEEP = 1000
const MAX_SWEEP = 30_000
/** Milliseconds after which a fetch is slow enough to ask whether the keystore is there at all. */
const SLOW = 500

export class KeyCache {
  readonly #fetch: (name: string) => Promise<Key>
  readonly #health: KeyStoreHealth
  readonly #counts: CacheCounts
  readonly #entries = new Map<string, Entry>()
  readonly #flights = new Map<string, Promise<Key>>()
  #expiry: CacheExpiry
  #sweeper: NodeJS.Timeout

  /** @param fetch reads a key from the keystore, within a limit of its own. */
  constructor(
    fetch: (name: string) => Promise<Key>,
    health: KeyStoreHealth,
    expiry: CacheExpiry,
    counts: CacheCounts,
  ) {
    this.#fetch = fetch
    this.#health = health
    this.#counts = counts
    this.#expiry = expiry
    this.#sweeper = this.#sweepAtTimes()
  }

  /** From now on keys are kept for as long as this says, those that are there already, too. */
  configure(expiry: CacheExpiry): void {
    clearInterval(this.#sweeper)
    this.#expiry = expiry
    this.#sweeper = this.#sweepAtTimes()
  }

  get size(): number {
    return this.#entries.size
  }

  /** A Key at once when it is cached. @throws what `fetch` throws, or the deadline's reason. */
  get(name: string, deadline: Deadline): Key | Promise<Key> {
    const key = this.#use(name)
    if (key !== undefined) {
      this.#counts.hits++
      return key
    }
    this.#counts.misses++
    return within(this.#share(name), deadline)
  }

  /** The key if it is cached; that does not count as a use. */
  peek(name: string): Key | undefined {
    const entry = this.#entries.get(name)
    return entry && this.#isServed(entry, performance.now()) ? entry.key : undefined
  }

  /** Forgets a key, also one that is being fetched just now: whoever asks from here on asks the keystore. */
  evict(name: string): void {
    this.#entries.delete(name)
    this.#flights.delete(name)
  }

  /**
   * For a key that may have been changed, or not. As `evict`, but while the keystore does not answer the key is
   * served as if nothing had happened: what may still be there is not taken away from everybody who needs it.
   */
  doubt(name: string): void {
    const entry = this.#entries.get(name)
    if (entry !== undefined) entry.isInDoubt = true
    this.#flights.delete(name)
  }

  close(): void {
    clearInterval(this.#sweeper)
    this.#entries.clear()
    this.#flights.clear()
  }

  #isFresh(entry: Entry, now: number): boolean {
    return now - entry.fetchedAt < this.#expiry.any && now - entry.usedAt < this.#expiry.unused
  }

  #isOffline(now: number): boolean {
    const since = this.#health.downSince
    return since !== undefined && now - since < this.#expiry.offline
  }

  /** Whether it may be used without asking the keystore. */
  #isServed(entry: Entry, now: number): boolean {
    const isKnown = !entry.isInDoubt || this.#health.downSince !== undefined
    return (isKnown && this.#isFresh(entry, now)) || this.#isOffline(now)
  }

  #use(name: string): Key | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    const now = performance.now()
    if (!this.#isServed(entry, now)) return undefined
    entry.usedAt = now
    return entry.key
  }

  #share(name: string): Promise<Key> {
    const running = this.#flights.get(name)
    if (running !== undefined) return running
    const fetch = this.#load(name, () => this.#flights.get(name) === flight)
    const flight = this.#orServed(name, fetch)
    this.#flights.set(name, flight)
    const land = (): void => {
      if (this.#flights.get(name) === flight) this.#flights.delete(name)
    }
    // Who waits may have been served before.
    fetch.then(land, land)
    return flight
  }

  /** @param isWanted false once the key was evicted meanwhile. */
  async #load(name: string, isWanted: () => boolean): Promise<Key> {
    try {
      const key = await this.#fetch(name)
      const now = performance.now()
      if (isWanted())
        this.#entries.set(name, { key, fetchedAt: now, usedAt: now, isInDoubt: false })
      return key
    } catch (error) {
      // A key that is gone or damaged must not be served from memory, not even when the store goes down next.
      if (isWanted() && isVerdict(error)) this.#entries.delete(name)
      throw error
    }
  }

  /** The key from the keystore; or from memory, as soon as it turns out that the keystore is down. */
  async #orServed(name: string, fetch: Promise<Key>): Promise<Key> {
    if (this.#entries.has(name)) await this.#patience(fetch)
    const key = this.#useWhenDown(name)
    if (key !== undefined) return key
    try {
      return await fetch
    } catch (error) {
      const key = isVerdict(error) ? undefined : this.#useWhenDown(name)
      if (key === undefined) throw error
      return key
    }
  }

  /** Waits for the fetch; a keystore that hangs is found out by a probe long before the fetch is given up. */
  async #patience(fetch: Promise<Key>): Promise<void> {
    const done = fetch.then(
      () => true,
      () => true,
    )
    const isSlow = !(await Promise.race([done, sleep(SLOW, false, { ref: false })]))
    if (isSlow && this.#health.downSince === undefined)
      await Promise.race([done, this.#health.probe()])
  }

  #useWhenDown(name: string): Key | undefined {
    return this.#health.downSince === undefined ? undefined : this.#use(name)
  }

  #sweepAtTimes(): NodeJS.Timeout {
    const { any, unused } = this.#expiry
    const interval = Math.min(Math.max(Math.min(any, unused) / 2, MIN_SWEEP), MAX_SWEEP)
    return setInterval(() => void this.#sweep(), interval).unref()
  }

  /** Drops what expired; but where an offline time is configured, only once the keystore is known to be up. */
  async #sweep(): Promise<void> {
    const expired = (now: number): string[] =>
      [...this.#entries].filter(([, entry]) => !this.#isFresh(entry, now)).map(([name]) => name)
    if (this.#expiry.offline > 0 && expired(performance.now()).length > 0)
      await this.#health.probe()
    const now = performance.now()
    if (this.#isOffline(now)) return
    for (const name of expired(now)) this.#entries.delete(name)
  }
}

/** The store has answered, and there is no such key any more. */
function isVerdict(error: unknown): boolean {
  return (
    error instanceof KesError &&
    (error.code === 'KEY_NOT_FOUND' || error.cause instanceof DamagedKeyError)
  )
}
