/**
 * Enclaves: tenants inside one server (kes-dialects.md, "Enclaves"). An enclave and its admin are an entry of the
 * keystore, `-enclave-<name>`; its policies and assignments live as long as the process. Other servers on the same
 * keystore see what is made here at once, and what is deleted within `RECHECK`.
 */

import { Access } from '../auth/access.ts'
import { type AccessRecord, change, type RealmChange } from '../auth/change.ts'
import { type Bus, LocalBus, topic } from '../bus.ts'
import type { Identity } from '../crypto/identity.ts'
import { type Deadline, within } from '../deadline.ts'
import { KesError } from '../errors.ts'
import type { KeyStore } from '../keystore/keystore.ts'
import { isName } from '../names.ts'
import type { Relay } from '../telemetry/relay.ts'
import { EventStream } from '../telemetry/stream.ts'
import { rfc3339, type Timestamp } from '../time.ts'
import type { CacheCounts, CacheExpiry } from './cache.ts'
import { EnclaveEntries } from './enclave-entries.ts'
import type { EnclaveEntry } from './enclave-entry.ts'
import { EnclaveStore, enclavePrefix } from './enclave-store.ts'
import type { KeyStoreHealth } from './health.ts'
import type { Realm } from './realm.ts'
import { GRACE, KeyService } from './service.ts'

const MAX_NAME = 32
/** Milliseconds after which it is looked up again whether an enclave is still there. */
const RECHECK = 10_000
/** Milliseconds that a look-up may take for which several requests may wait. */
const FIND_LIMIT = 10_000
/** An unknown name is not looked up again for so many milliseconds: it is asked for by whoever has a certificate. */
const ABSENT = 1000
const MAX_ABSENT = 1000

/** An enclave was made or deleted: whoever asks for it from now on asks the keystore. */
const CHANGED = topic<string>('enclave')

/** What is known of an enclave's policies, which are in no keystore. */
interface Known {
  readonly entry: EnclaveEntry
  readonly access: Access
}

interface Found {
  readonly realm: Realm
  /** What the keystore says of it. */
  readonly entry: EnclaveEntry
  checkedAt: number
}

/** What another process needs to know of an enclave's policies. */
export interface EnclaveRecord {
  readonly name: string
  readonly entry: EnclaveEntry
  readonly changes: AccessRecord
}

export interface EnclavesOptions {
  readonly store: KeyStore
  readonly health: KeyStoreHealth
  readonly expiry: CacheExpiry
  readonly counts: CacheCounts
  readonly hasRecords: boolean
  /** To those who serve the same enclaves. */
  readonly bus?: Bus
  readonly relay?: Relay | undefined
}

export class Enclaves {
  readonly #store: KeyStore
  readonly #entries: EnclaveEntries
  readonly #health: KeyStoreHealth
  readonly #counts: CacheCounts
  readonly #hasRecords: boolean
  readonly #bus: Bus
  readonly #relay: Relay | undefined
  readonly #unsubscribe: () => void
  #expiry: CacheExpiry
  readonly #found = new Map<string, Found>()
  /** Also of enclaves that only others have found so far. */
  readonly #known = new Map<string, Known>()
  readonly #flights = new Map<string, Promise<Realm | undefined>>()
  /** Names that were not found, and when. */
  readonly #absent = new Map<string, number>()

  constructor(options: EnclavesOptions) {
    const { store, health, expiry, counts, hasRecords, bus = new LocalBus(), relay } = options
    this.#store = store
    this.#entries = new EnclaveEntries(store, health)
    this.#health = health
    this.#expiry = expiry
    this.#counts = counts
    this.#hasRecords = hasRecords
    this.#bus = bus
    this.#relay = relay
    this.#unsubscribe = bus.subscribe(CHANGED, (name) => this.#forget(name))
  }

  /** Undefined when there is none of this name. @throws KesError KEYSTORE_READ */
  find(name: string, deadline: Deadline): Realm | undefined | Promise<Realm | undefined> {
    const found = this.#found.get(name)
    const time = performance.now()
    if (found !== undefined && time - found.checkedAt < RECHECK) return found.realm
    if (!isEnclaveName(name) || time - (this.#absent.get(name) ?? -Infinity) < ABSENT)
      return undefined
    let flight = this.#flights.get(name)
    if (flight === undefined) {
      flight = this.#look(name, () => this.#flights.get(name) === flight)
      this.#flights.set(name, flight)
      const land = (): void => {
        if (this.#flights.get(name) === flight) this.#flights.delete(name)
      }
      flight.then(land, land)
    }
    return within(flight, deadline)
  }

  /**
   * Changes who may do what in an enclave, whether or not it was looked for here.
   *
   * @throws KesError why it is refused
   */
  change({ enclave, admin, createdAt, change: what }: RealmChange): void {
    if (admin === undefined) throw new Error('bug: an enclave without an admin')
    change(this.#accessOf(enclave, { admin, createdAt }), what)
  }

  get records(): EnclaveRecord[] {
    return [...this.#known].map(([name, { entry, access }]) => ({
      name,
      entry,
      changes: access.record,
    }))
  }

  restore(records: readonly EnclaveRecord[]): void {
    for (const { name, entry, changes } of records) this.#accessOf(name, entry).restore(changes)
  }

  /** @throws KesError BAD_NAME, ENCLAVE_EXISTS, KEYSTORE_CREATE */
  async create(name: string, admin: Identity, deadline: Deadline): Promise<void> {
    checkEnclaveName(name)
    const mark = await this.#entries.mark(name, deadline)
    // Its keys wait for their end; whoever took the mark away would have them back.
    if (mark?.destroyAt !== undefined) throw new KesError('ENCLAVE_EXISTS')
    // What a deletion that was cut off has left must not come to life again in a new enclave.
    if (mark !== undefined) await this.#entries.destroy(name, deadline)
    await this.#entries.create(name, admin, deadline)
    await this.#bus.ask(CHANGED, name)
  }

  /**
   * Deletes an enclave with all of its keys. From the beginning on it is gone for everybody; a deletion that is cut off
   * goes on with the next one.
   *
   * @param days that its keys are kept for in the keystore, hidden, until `destroy`; 0: they are deleted now
   * @throws KesError ENCLAVE_NOT_FOUND, KEYSTORE_DELETE
   */
  async delete(name: string, days: number, deadline: Deadline): Promise<void> {
    const isThere = isEnclaveName(name) && (await this.#entries.read(name, deadline)) !== undefined
    const before = isThere ? await this.#entries.mark(name, deadline) : undefined
    const isWaiting = days > 0 && before?.destroyAt !== undefined
    if (!isThere || isWaiting) throw new KesError('ENCLAVE_NOT_FOUND')
    if (before === undefined) await this.#entries.putMark(name, days, deadline)
    await this.#bus.ask(CHANGED, name)
    if (days === 0 || before !== undefined) await this.#entries.destroy(name, deadline)
  }

  /**
   * Deletes the keys of an enclave that was deleted, when they have been kept for an hour longer than they were to be.
   *
   * @param at now. @returns whether it was done
   */
  async destroy(name: string, at: Timestamp, deadline: Deadline): Promise<boolean> {
    const destroyAt = (await this.#entries.mark(name, deadline))?.destroyAt
    if (destroyAt === undefined || destroyAt.seconds >= at.seconds - GRACE / 1000) return false
    await this.#entries.destroy(name, deadline)
    return true
  }

  /** Works on the keys of the enclave whose entries have this prefix, with those that are cached, if any are. */
  async withKeys<T>(prefix: string, work: (keys: KeyService) => Promise<T>): Promise<T> {
    for (const [name, { realm }] of this.#found)
      if (enclavePrefix(name) === prefix) return work(realm.keys)
    const keys = this.#keysOf(prefix)
    try {
      return await work(keys)
    } finally {
      keys.forget()
    }
  }

  /** From now on keys of all enclaves are cached for as long as this says. */
  configure(expiry: CacheExpiry): void {
    this.#expiry = expiry
    for (const { realm } of this.#found.values()) realm.keys.cache.configure(expiry)
  }

  /** Ends timers and follows nobody any more. The keystore is closed by whoever opened it. */
  close(): void {
    this.#unsubscribe()
    for (const name of this.#found.keys()) this.#forget(name)
  }

  /** @param isWanted false once the enclave was made or deleted meanwhile */
  async #look(name: string, isWanted: () => boolean): Promise<Realm | undefined> {
    const found = this.#found.get(name)
    let entry: EnclaveEntry | undefined
    try {
      const deadline = { signal: AbortSignal.timeout(FIND_LIMIT) }
      const isDeleted = await this.#entries.isDeleted(name, deadline)
      entry = isDeleted ? undefined : await this.#entries.read(name, deadline)
    } catch (error) {
      // While the keystore is down an enclave goes on with the keys that it has in its cache.
      if (found !== undefined && this.#health.downSince !== undefined) return found.realm
      throw error
    }
    // What was read may be old.
    if (!isWanted()) return this.find(name, { signal: AbortSignal.timeout(FIND_LIMIT) })
    if (entry === undefined) {
      this.#forget(name)
      if (this.#absent.size >= MAX_ABSENT) this.#absent.clear()
      this.#absent.set(name, performance.now())
      return undefined
    }
    if (found !== undefined && isSame(found.entry, entry)) {
      found.checkedAt = performance.now()
      return found.realm
    }
    const known = this.#known.get(name)
    if (known === undefined || !isSame(known.entry, entry)) this.#forget(name)
    const realm = this.#open(name, this.#accessOf(name, entry))
    this.#found.set(name, { realm, entry, checkedAt: performance.now() })
    return realm
  }

  #open(name: string, access: Access): Realm {
    return {
      enclave: name,
      keys: this.#keysOf(enclavePrefix(name)),
      access,
      events: new EventStream(`audit:${name}`, this.#relay),
    }
  }

  /** Of this very enclave: one that was deleted and made again begins anew. */
  #accessOf(name: string, entry: EnclaveEntry): Access {
    const known = this.#known.get(name)
    if (known !== undefined && isSame(known.entry, entry)) return known.access
    const { admin, createdAt } = entry
    const access = new Access({ admin, policies: [], assignments: new Map(), createdAt })
    // Somebody still speaks of the one from before.
    if (known !== undefined && isOlder(createdAt, known.entry.createdAt)) return access
    this.#forget(name)
    this.#known.set(name, { entry, access })
    return access
  }

  #keysOf(prefix: string): KeyService {
    return new KeyService(new EnclaveStore(this.#store, prefix), this.#expiry, {
      counts: this.#counts,
      health: this.#health,
      hasRecords: this.#hasRecords,
      bus: this.#bus,
      scope: prefix,
    })
  }

  #forget(name: string): void {
    const found = this.#found.get(name)
    this.#found.delete(name)
    this.#known.delete(name)
    this.#flights.delete(name)
    this.#absent.delete(name)
    if (found === undefined) return
    found.realm.events.close()
    found.realm.keys.forget()
  }
}

function isEnclaveName(name: string): boolean {
  return isName(name) && name.length <= MAX_NAME
}

function checkEnclaveName(name: string): void {
  if (isEnclaveName(name)) return
  throw new KesError('BAD_NAME', {
    message: `enclave name '${name}' is empty, too long or contains invalid characters`,
  })
}

function isSame(a: EnclaveEntry, b: EnclaveEntry): boolean {
  return a.admin === b.admin && rfc3339(a.createdAt) === rfc3339(b.createdAt)
}

function isOlder(a: Timestamp, b: Timestamp): boolean {
  return a.seconds < b.seconds || (a.seconds === b.seconds && a.nanos < b.nanos)
}
