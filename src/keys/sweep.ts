/**
 * What becomes due with time, once a minute (key-lifecycle.md): keys whose deletion was scheduled are destroyed, keys
 * that are old enough are rotated. Any number of servers may do it beside each other. It trusts no clock that disagrees
 * with itself, and destroys nothing at first sight.
 */

import { KesError } from '../errors.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import type { ErrorLog } from '../telemetry/log.ts'
import { fromMillis } from '../time.ts'
import { DamagedKeyError } from './codec.ts'
import { decodeRecord } from './record.ts'
import { parseRecordName, type RecordName } from './record-name.ts'
import type { KeyService } from './service.ts'
import { isOlder } from './snapshot.ts'

/** Milliseconds. */
const INTERVAL = 60_000
/** For one key, or one page of names. */
const STEP_LIMIT = 30_000
/** How far wall clock and monotonic clock may drift apart. */
const MAX_DRIFT = 60_000
/** How long a key must have been seen waiting. */
const MIN_SIGHT = 60_000
/** Until trouble that goes on is told of again. */
const SILENCE = 3_600_000
const AT_ONCE = 16
const PAGE = 1024

/** Milliseconds. */
export interface Clock {
  /** Since 1970. */
  wall(): number
  /** Since some time; never set. */
  monotonic(): number
}

const SYSTEM_CLOCK: Clock = { wall: () => Date.now(), monotonic: () => performance.now() }

export interface SweepOptions {
  readonly store: KeyStore
  /** Works on the keys whose entries' names begin with a prefix: those of an enclave, or, for '', the server's. */
  readonly withKeys: <T>(prefix: string, work: (keys: KeyService) => Promise<T>) => Promise<T>
  readonly log: Pick<ErrorLog, 'write'>
  readonly clock?: Clock
}

/** What is to be rotated by age. */
export interface Rotations {
  readonly keys: readonly { readonly name: string; readonly rotateEvery: number }[]
  /** In whose name. */
  readonly by: string
}

/** What was found in the last record of a key. */
interface Sighting {
  /** When it may be destroyed, in milliseconds; undefined: never. */
  readonly due: number | undefined
  /** When it was found, by the monotonic clock. */
  readonly since: number
}

export class Sweep {
  readonly #options: SweepOptions
  readonly #clock: Clock
  /** What the clocks differ by. */
  readonly #offset: number
  /** By the name of the record; records never change, so each is read once. */
  readonly #seen = new Map<string, Sighting>()
  /** When trouble was last told of, by the monotonic clock. */
  readonly #complaints = new Map<string, number>()
  readonly #stop = new AbortController()
  #rotations: Rotations = { keys: [], by: '' }
  #isSteady = true
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(options: SweepOptions) {
    this.#options = options
    this.#clock = options.clock ?? SYSTEM_CLOCK
    this.#offset = this.#clock.wall() - this.#clock.monotonic()
  }

  configure(rotations: Rotations): void {
    this.#rotations = rotations
  }

  /** From now on once a minute. */
  start(): void {
    if (this.#timer !== undefined || this.#stop.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#running = this.run().then(() => {
        this.#timer = undefined
        this.start()
      })
    }, INTERVAL).unref()
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the server is stopping'))
    clearTimeout(this.#timer)
    await this.#running
  }

  /** One round. Never rejects. */
  async run(): Promise<void> {
    if (!this.#checkClock()) return
    for (const { name, rotateEvery } of this.#rotations.keys)
      if (rotateEvery > 0) await this.#attempt(name, () => this.#rotate(name, rotateEvery))
    await this.#attempt('', () => this.#destroyDue())
  }

  /** A clock that was set makes dates worthless: whatever was seen is seen anew once it is right. */
  #checkClock(): boolean {
    const drift = this.#clock.wall() - this.#clock.monotonic() - this.#offset
    const isSteady = Math.abs(drift) <= MAX_DRIFT
    if (!isSteady) this.#seen.clear()
    if (isSteady !== this.#isSteady) {
      const seconds = Math.round(drift / 1000)
      this.#options.log.write(
        'WARN',
        isSteady
          ? 'the clock agrees with the time since the start again: keys are destroyed and rotated when they are due'
          : `the clock was changed by ${seconds} s since the start: no key is destroyed or rotated until it is set ` +
              'back; if it is right now, restart the server',
      )
      this.#isSteady = isSteady
    }
    return isSteady
  }

  async #rotate(name: string, every: number): Promise<void> {
    const at = fromMillis(this.#clock.wall())
    await this.#options.withKeys('', async (keys) => {
      const { versions } = await keys.peek(name, this.#deadline())
      if (!isOlder((versions.at(-1) ?? versions[0]).createdAt, every, at)) return
      const { by } = this.#rotations
      const key = await keys.rotateByAge(name, by, every, at, this.#deadline())
      if (key === undefined) return
      const { version } = key
      this.#options.log.write('INFO', 'a key is old enough and was rotated', { key: name, version })
    })
  }

  async #destroyDue(): Promise<void> {
    const last = await this.#lastRecords()
    for (const name of this.#seen.keys()) if (!last.has(name)) this.#seen.delete(name)
    const names = [...last.keys()]
    const fresh = names.filter((name) => !this.#seen.has(name))
    for (let at = 0; at < fresh.length; at += AT_ONCE)
      await Promise.all(fresh.slice(at, at + AT_ONCE).map((name) => this.#look(name)))
    for (const [name, record] of last) {
      if (this.#isDue(name)) await this.#attempt(name, () => this.#destroy(record))
    }
  }

  /** The last record of each key that has one, by its whole name. */
  async #lastRecords(): Promise<Map<string, RecordName>> {
    const last = new Map<string, { readonly name: string; readonly record: RecordName }>()
    for (let from: string | undefined = '-'; from !== undefined;) {
      const { signal } = this.#deadline()
      const page = await this.#options.store.list({ prefix: '-', from }, PAGE, signal)
      for (const name of page.names) {
        const record = parseRecordName(name)
        if (record === undefined) continue
        const id = `${record.prefix}${record.owner}-${record.key}`
        if ((last.get(id)?.record.number ?? 0) < record.number) last.set(id, { name, record })
      }
      from = page.next
    }
    return new Map([...last.values()].map(({ name, record }) => [name, record]))
  }

  async #look(name: string): Promise<void> {
    const since = this.#clock.monotonic()
    await this.#attempt(name, async () => {
      const entry = await this.#options.store.get(name, this.#deadline().signal)
      try {
        const { snapshot, changedAt } = decodeRecord(entry)
        for (const { secret, hmacKey } of snapshot.later)
          for (const part of [secret, hmacKey]) part.fill(0)
        const date = snapshot.isDestroying ? changedAt : snapshot.deletionDate
        this.#seen.set(name, { due: date && date.seconds * 1000, since })
      } catch (error) {
        if (!(error instanceof DamagedKeyError)) throw error
        // Whoever uses the key is told.
        this.#seen.set(name, { due: undefined, since })
      } finally {
        entry.fill(0)
      }
    })
  }

  #isDue(name: string): boolean {
    const { due, since } = this.#seen.get(name) ?? {}
    if (due === undefined || since === undefined) return false
    return due <= this.#clock.wall() && this.#clock.monotonic() - since >= MIN_SIGHT
  }

  async #destroy({ prefix, key: name }: RecordName): Promise<void> {
    const at = fromMillis(this.#clock.wall())
    const isDone = await this.#options.withKeys(prefix, (keys) =>
      keys.destroy(name, at, this.#deadline()),
    )
    if (isDone)
      this.#options.log.write('INFO', 'a key was destroyed, as scheduled', { key: prefix + name })
  }

  /** Whether it was not said within the hour. */
  #isNews(complaint: string): boolean {
    const at = this.#clock.monotonic()
    for (const [old, time] of this.#complaints)
      if (at - time >= SILENCE) this.#complaints.delete(old)
    if (this.#complaints.has(complaint)) return false
    this.#complaints.set(complaint, at)
    return true
  }

  /** Trouble with one key ends nothing; it is told, but not every minute. */
  async #attempt(key: string, work: () => Promise<void>): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await work()
    } catch (error) {
      if (this.#stop.signal.aborted) return
      // Gone already: deleted at once, or by another server.
      if (error instanceof KesError && error.code === 'KEY_NOT_FOUND') return
      if (!(error instanceof KesError || error instanceof KeyStoreError)) throw error
      if (!this.#isNews(`${key} ${error.message}`)) return
      const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
      this.#options.log.write('WARN', `what is due cannot be done: ${error.message}${cause}`, {
        key: key || undefined,
      })
    }
  }

  #deadline(): { readonly signal: AbortSignal } {
    return { signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(STEP_LIMIT)]) }
  }
}
