/**
 * What becomes due with time, once a minute (key-lifecycle.md): keys whose deletion was scheduled are destroyed, keys
 * that are old enough are rotated. Any number of servers may do it beside each other. It trusts no clock that disagrees
 * with itself, and destroys nothing at first sight.
 */

import { type Deadline, within } from '../deadline.ts'
import { isCode } from '../errors.ts'
import type { KeyStore } from '../keystore/keystore.ts'
import { PAGE } from '../names.ts'
import type { ErrorLog } from '../telemetry/log.ts'
import { fromMillis, type Timestamp } from '../time.ts'
import { DamagedKeyError } from './codec.ts'
import { decodeDeletedMark, DELETED_MARK } from './enclave-entry.ts'
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
  /** Of one that was deleted: as `Enclaves.destroy`. */
  readonly destroyEnclave: (name: string, at: Timestamp, deadline: Deadline) => Promise<boolean>
  /** false: nothing can become due. */
  readonly hasRecords: boolean
  readonly log: Pick<ErrorLog, 'write'>
  readonly clock?: Clock
}

/** What is to be rotated by age. */
export interface Rotations {
  readonly keys: readonly { readonly name: string; readonly rotateEvery: number }[]
  /** In whose name. */
  readonly by: string
}

/** What may become due. */
interface Candidate {
  /** For the log. */
  readonly what: string
  /** A key of the server itself. */
  readonly key?: string | undefined
  /** Whether it was done here. */
  readonly destroy: (at: Timestamp, deadline: Deadline) => Promise<boolean>
}

/** What was found in the entry of one. */
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
  #isSpared: (key: string) => boolean = () => false
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

  /** Keys of the server that are not destroyed, whatever their date: somebody still refers to them. */
  spare(isSpared: (key: string) => boolean): void {
    this.#isSpared = isSpared
  }

  /** From now on once a minute. */
  start(): void {
    if (!this.#options.hasRecords) return
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
      if (rotateEvery > 0) await this.#attempt(`key ${name}`, () => this.#rotate(name, rotateEvery))
    await this.#attempt('the keystore', () => this.#destroyDue())
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
      this.#options.log.write('INFO', 'rotated, by age', { what: `key ${name}`, version })
    })
  }

  async #destroyDue(): Promise<void> {
    const candidates = await this.#candidates()
    for (const name of this.#seen.keys()) if (!candidates.has(name)) this.#seen.delete(name)
    const fresh = [...candidates].filter(([name]) => !this.#seen.has(name))
    for (let at = 0; at < fresh.length; at += AT_ONCE) {
      const some = fresh.slice(at, at + AT_ONCE)
      await Promise.all(some.map(([name, { what }]) => this.#attempt(what, () => this.#look(name))))
    }
    for (const [name, candidate] of candidates) {
      if (!this.#isDue(name)) continue
      const { what, key } = candidate
      if (key !== undefined && this.#isSpared(key)) this.#tellSpared(key)
      else await this.#attempt(what, () => this.#destroy(candidate))
    }
  }

  /** By the names of the entries that say when: the last record of each key that has one, marks of deleted enclaves. */
  async #candidates(): Promise<Map<string, Candidate>> {
    const last = new Map<string, { readonly name: string; readonly record: RecordName }>()
    const candidates = new Map<string, Candidate>()
    for (let from: string | undefined = '-'; from !== undefined;) {
      const deadline = this.#deadline()
      const listed = this.#options.store.list({ prefix: '-', from }, PAGE, deadline.signal)
      const page = await within(listed, deadline)
      for (const name of page.names) {
        if (name.startsWith(DELETED_MARK)) candidates.set(name, this.#enclave(name))
        const record = parseRecordName(name)
        if (record === undefined) continue
        const id = `${record.prefix}${record.owner}-${record.key}`
        if ((last.get(id)?.record.number ?? 0) < record.number) last.set(id, { name, record })
      }
      from = page.next
    }
    for (const { name, record } of last.values()) candidates.set(name, this.#key(record))
    return candidates
  }

  #key({ prefix, key: name }: RecordName): Candidate {
    return {
      what: `key ${prefix}${name}`,
      key: prefix === '' ? name : undefined,
      destroy: (at, deadline) =>
        this.#options.withKeys(prefix, (keys) => keys.destroy(name, at, deadline)),
    }
  }

  #enclave(mark: string): Candidate {
    const name = mark.slice(DELETED_MARK.length)
    const { destroyEnclave } = this.#options
    return {
      what: `enclave ${name}`,
      destroy: (at, deadline) => destroyEnclave(name, at, deadline),
    }
  }

  async #look(name: string): Promise<void> {
    const since = this.#clock.monotonic()
    const deadline = this.#deadline()
    const entry = await within(this.#options.store.get(name, deadline.signal), deadline)
    const date = name.startsWith(DELETED_MARK) ? decodeDeletedMark(entry).destroyAt : dateOf(entry)
    entry.fill(0)
    this.#seen.set(name, { due: date && date.seconds * 1000, since })
  }

  #isDue(name: string): boolean {
    const { due, since } = this.#seen.get(name) ?? {}
    if (due === undefined || since === undefined) return false
    return due <= this.#clock.wall() && this.#clock.monotonic() - since >= MIN_SIGHT
  }

  async #destroy({ what, destroy }: Candidate): Promise<void> {
    const isDone = await destroy(fromMillis(this.#clock.wall()), this.#deadline())
    if (isDone) this.#options.log.write('INFO', 'destroyed, as scheduled', { what })
  }

  #tellSpared(key: string): void {
    const message =
      'a key is not destroyed on its date: it is the default key of the RustFS KMS API'
    if (this.#isNews(`${key} ${message}`)) this.#options.log.write('WARN', message, { key })
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

  /** Trouble with one thing ends nothing; it is told, but not every minute. */
  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await work()
    } catch (error) {
      // Gone already: deleted at once, or by another server.
      if (this.#stop.signal.aborted || isCode(error, 'KEY_NOT_FOUND')) return
      const { message, cause } = error as Error
      if (!this.#isNews(`${what} ${message}`)) return
      const why = cause instanceof Error ? `: ${cause.message}` : ''
      this.#options.log.write('WARN', `what is due cannot be done: ${message}${why}`, { what })
    }
  }

  #deadline(): Deadline {
    return { signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(STEP_LIMIT)]) }
  }
}

/** When a key may be destroyed, as its last record says; undefined: never. */
function dateOf(entry: Uint8Array): Timestamp | undefined {
  try {
    const { snapshot, changedAt } = decodeRecord(entry)
    for (const { secret, hmacKey } of snapshot.later)
      for (const part of [secret, hmacKey]) part.fill(0)
    return snapshot.isDestroying ? changedAt : snapshot.deletionDate
  } catch (error) {
    if (!(error instanceof DamagedKeyError)) throw error
    // Whoever uses the key is told.
    return undefined
  }
}
