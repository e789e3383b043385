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
  /** How long until it is looked whether somebody else has changed it; 0 = not before it is fetched again. */
  readonly changes: number
}

/** Where keys come from; each call has a limit of its own. */
export interface KeySource {
  /** @param known the key as it was before, which may be another one now */
  fetch(name: string, known: Key | undefined): Promise<Key>
  /** Whether a key was changed since it was fetched; a deletion need not count. */
  isChanged(name: string, key: Key): Promise<boolean>
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
  /** When it was last asked whether it was changed. */
  checkedAt: number
  /** Whether it still is the key of this name is to be asked as soon as the keystore answers. */
  isInDoubt: boolean
}

/** A key in use is checked before it must be, so that nobody waits for that: this share of `changes` earlier. */
const AHEAD = 1 / 5
const MIN_SWEEP = 1000
const MAX_SWEEP = 30_000
/** Milliseconds that expired keys are kept where there is an offline time: the keystore may go just before they are fetched again. */
const SPARE = 3000
/** Milliseconds after which a fetch is slow enough to ask whether the keystore is there at all. */
const SLOW = 500

export class KeyCache {
  readonly #source: KeySource
  readonly #health: KeyStoreHealth
  readonly #counts: CacheCounts
  readonly #limit: number
  readonly #entries = new Map<string, Entry>()
  readonly #flights = new Map<string, Promise<Key>>()
  #expiry: CacheExpiry
  /** Milliseconds after which a key in use is, and must be, checked. */
  #checkAfter = Infinity
  #checkUntil = Infinity
  #sweeper: NodeJS.Timeout
  #evictions = 0

  /** @param limit how many keys it holds at most */
  constructor(
    source: KeySource,
    health: KeyStoreHealth,
    expiry: CacheExpiry,
    counts: CacheCounts,
    limit = Infinity,
  ) {
    this.#limit = limit
    this.#source = source
    this.#health = health
    this.#counts = counts
    this.#expiry = expiry
    this.#sweeper = this.#sweepAtTimes()
    this.#setChecks()
  }

  /** From now on keys are kept for as long as this says, those that are there already, too. */
  configure(expiry: CacheExpiry): void {
    clearInterval(this.#sweeper)
    this.#expiry = expiry
    this.#sweeper = this.#sweepAtTimes()
    this.#setChecks()
  }

  get expiry(): CacheExpiry {
    return this.#expiry
  }

  /** Keys that had to make room for others. */
  get evictions(): number {
    return this.#evictions
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * A Key at once when it is cached.
   *
   * @param version it is to know this one, if it has it: a key that does not is asked for once more
   * @throws what the source throws, or the deadline's reason.
   */
  get(name: string, deadline: Deadline, version = 1): Key | Promise<Key> {
    const key = this.#use(name)
    if (key !== undefined && key.version >= version) {
      this.#counts.hits++
      return key
    }
    this.#counts.misses++
    return within(key === undefined ? this.#share(name) : this.#catchUp(name, version), deadline)
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

  /** Forgets all keys; those that the keystore cannot be asked for just now only as `doubt` does. */
  clear(): void {
    for (const name of this.#entries.keys()) {
      if (this.#health.downSince === undefined) this.evict(name)
      else this.doubt(name)
    }
  }

  close(): void {
    clearInterval(this.#sweeper)
    this.#entries.clear()
    this.#flights.clear()
  }

  #isFresh(entry: Entry, now: number): boolean {
    return now - entry.fetchedAt < this.#expiry.any && now - entry.usedAt < this.#expiry.unused
  }

  /** Nothing speaks against its being what the keystore has. */
  #isKnown(entry: Entry, now: number): boolean {
    return !entry.isInDoubt && now - entry.checkedAt < this.#checkUntil
  }

  #isOffline(now: number): boolean {
    const since = this.#health.downSince
    return since !== undefined && now - since < this.#expiry.offline
  }

  /** Whether it may be used without asking the keystore. */
  #isServed(entry: Entry, now: number): boolean {
    const isKnown = this.#isKnown(entry, now) || this.#health.downSince !== undefined
    return (isKnown && this.#isFresh(entry, now)) || this.#isOffline(now)
  }

  #use(name: string): Key | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    const now = performance.now()
    if (!this.#isServed(entry, now)) return undefined
    entry.usedAt = now
    if (now - entry.checkedAt >= this.#checkAfter && !this.#flights.has(name))
      this.#share(name).catch(() => {}) // who needs it soon will see why
    return entry.key
  }

  /** The key as it is in the keystore at some time from now on. */
  async #catchUp(name: string, version: number): Promise<Key> {
    const running = this.#flights.get(name)
    const key = running && (await running)
    return key !== undefined && key.version >= version ? key : this.#share(name)
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
    const entry = this.#entries.get(name)
    const checkedAt = performance.now()
    try {
      const isSame =
        entry !== undefined &&
        !entry.isInDoubt &&
        this.#isFresh(entry, checkedAt) &&
        !(await this.#source.isChanged(name, entry.key))
      const key = isSame ? entry.key : await this.#source.fetch(name, entry?.key)
      const now = performance.now()
      const fetchedAt = isSame ? entry.fetchedAt : now
      if (isWanted()) this.#keep(name, { key, fetchedAt, usedAt: now, checkedAt, isInDoubt: false })
      return key
    } catch (error) {
      // A key that is gone or damaged must not be served from memory, not even when the store goes down next.
      if (isWanted() && isVerdict(error)) this.#entries.delete(name)
      throw error
    }
  }

  /** One that is in use comes here again and again, so the first is one that was not used for long. */
  #keep(name: string, entry: Entry): void {
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    if (this.#entries.size <= this.#limit) return
    const [first = name] = this.#entries.keys()
    this.#entries.delete(first)
    this.#evictions++
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

  #setChecks(): void {
    const { changes } = this.#expiry
    this.#checkUntil = changes > 0 ? changes : Infinity
    this.#checkAfter = this.#checkUntil * (1 - AHEAD)
  }

  #sweepAtTimes(): NodeJS.Timeout {
    const { any, unused } = this.#expiry
    const interval = Math.min(Math.max(Math.min(any, unused) / 2, MIN_SWEEP), MAX_SWEEP)
    return setInterval(() => void this.#sweep(), interval).unref()
  }

  /** Drops what expired; but where an offline time is configured, only once the keystore is known to be up. */
  async #sweep(): Promise<void> {
    const hasOffline = this.#expiry.offline > 0
    const expired = (now: number): string[] => {
      const since = hasOffline ? now - SPARE : now
      return [...this.#entries]
        .filter(([, entry]) => !this.#isFresh(entry, since))
        .map(([name]) => name)
    }
    if (hasOffline && expired(performance.now()).length > 0) await this.#health.probe()
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
