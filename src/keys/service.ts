/** Keys by name, for every dialect: the only way from a request to the keystore. */

import { type Bus, LocalBus } from '../bus.ts'
import type { Cipher } from '../crypto/aead.ts'
import { randomBytes } from '../crypto/random.ts'
import { type Deadline, within } from '../deadline.ts'
import { type ErrorCode, KesError, unless } from '../errors.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { isName, type Listing, PAGE, type Page } from '../names.ts'
import { now, type Timestamp } from '../time.ts'
import { Alterations } from './alterations.ts'
import { ask } from './ask.ts'
import { type CacheCounts, type CacheExpiry, KeyCache } from './cache.ts'
import { KeyEntries, keyOf, type StoredKey } from './entries.ts'
import { KeyStoreHealth } from './health.ts'
import { SECRET_SIZE } from './key-version.ts'
import type { Key } from './key.ts'
import { NO_RECORDS } from './probe.ts'
import { MAX_CHANGES, MAX_SCHEDULES } from './record.ts'
import * as snapshot from './snapshot.ts'

/** How long a fetch that several requests may wait for can take. */
const FETCH_LIMIT = 10_000
/** How often a change is tried when somebody else was faster. */
const CHANGE_TRIES = 3
/** Milliseconds after which whoever began to destroy a key and has not done it is taken to be gone. */
const ABANDONED = 60_000
/** Milliseconds behind the date of a deletion until it is done: clocks differ. */
export const GRACE = 3_600_000

/** Sorts before every valid key name, and behind the server's own entries, which begin with `-`. */
const FIRST_NAME = '0'

export interface Import {
  readonly cipher: Cipher
  /** 32 bytes. */
  readonly secret: Uint8Array
  /** 32 bytes; absent: fresh random ones. */
  readonly hmacKey?: Uint8Array | undefined
}

export interface KeyServiceOptions {
  readonly counts?: CacheCounts
  /** Of the keystore, when somebody else looks after it already. */
  readonly health?: KeyStoreHealth
  /** false: the keystore keeps no change records, as `keepsRecords` (probe.ts) found out. */
  readonly hasRecords?: boolean
  /** How many keys to keep in memory at most; default: all that are used. */
  readonly maxKeys?: number
  /** To those who have the same keys in their caches. */
  readonly bus?: Bus
  /** What the names of the keys' entries begin with, beside the name. */
  readonly scope?: string
}

/**
 * All methods throw KesError: KEYSTORE_… for trouble with the keystore, the deadline's reason when it
 * passes, and what they name. Names are valid names.
 */
export class KeyService {
  readonly health: KeyStoreHealth
  readonly cache: KeyCache
  readonly #store: KeyStore
  readonly #entries: KeyEntries
  readonly #alterations: Alterations
  /** Requests that began and may still ask. */
  #users = 0
  #onIdle = (): void => {}

  constructor(store: KeyStore, expiry: CacheExpiry, options: KeyServiceOptions = {}) {
    const { counts = { hits: 0, misses: 0 }, hasRecords = true } = options
    const { bus = new LocalBus(), scope = '' } = options
    this.#store = store
    this.#entries = new KeyEntries(store, hasRecords)
    this.health = options.health ?? new KeyStoreHealth(store)
    const source = {
      fetch: (name: string, known: Key | undefined) => this.#fetch(name, known),
      isChanged: (name: string, key: Key) => this.#isChanged(name, key),
    }
    this.cache = new KeyCache(source, this.health, expiry, counts, options.maxKeys)
    this.#alterations = new Alterations(bus, scope, this.cache)
  }

  /** A request begins that may ask until it calls `leave`. */
  enter(): void {
    this.#users++
  }

  leave(): void {
    if (--this.#users === 0) this.#onIdle()
  }

  /**
   * A Key at once when it is cached.
   *
   * @param version that a ciphertext names: another server may have made it just now. @throws KesError KEY_NOT_FOUND
   */
  get(name: string, deadline: Deadline, version = 1): Key | Promise<Key> {
    return this.cache.get(name, deadline, version)
  }

  /** The key, without taking a place in the cache. @throws KesError KEY_NOT_FOUND */
  peek(name: string, deadline: Deadline): Key | Promise<Key> {
    return this.cache.peek(name) ?? within(this.#fetch(name), deadline)
  }

  /**
   * Makes a new random key.
   *
   * @param by hex identity, or ''; as in all methods. @param about what is said of it from the beginning
   * @throws KesError KEY_EXISTS; UNSUPPORTED, and BAD_REQUEST beyond the limits, for what is said of it
   */
  async create(name: string, by: string, deadline: Deadline, about?: snapshot.Edit): Promise<Key> {
    const secret = randomBytes(SECRET_SIZE)
    const key = await this.import(name, { cipher: 'AES256', secret }, by, deadline, about)
    secret.fill(0)
    return key
  }

  /** Stores a key with a given secret. @throws KesError as `create` */
  async import(
    name: string,
    { cipher, secret, hmacKey }: Import,
    by: string,
    deadline: Deadline,
    about: snapshot.Edit = {},
  ): Promise<Key> {
    const first = {
      cipher,
      secret: Uint8Array.from(secret),
      hmacKey: hmacKey === undefined ? randomBytes(SECRET_SIZE) : Uint8Array.from(hmacKey),
      createdAt: now(),
      createdBy: by,
    }
    const beginning = snapshot.edit(about)(snapshot.UNCHANGED, first)
    if (beginning !== snapshot.UNCHANGED) this.#needRecords()
    const made = this.#entries.create(name, first, beginning, deadline.signal)
    return keyOf(await this.#altered('KEYSTORE_CREATE', name, deadline, made))
  }

  /** A new version, which seals from now on. @throws KesError KEY_DISABLED, KEY_PENDING, and as `#record` */
  rotate(name: string, by: string, deadline: Deadline): Promise<Key> {
    return this.#change(name, by, snapshot.rotate(by, now()), deadline)
  }

  /**
   * Rotates an enabled key whose newest version is older than so many milliseconds: once, however many ask for it.
   *
   * @param at now. @returns undefined when there was nothing to do (any more)
   */
  async rotateByAge(
    name: string,
    by: string,
    age: number,
    at: Timestamp,
    deadline: Deadline,
  ): Promise<Key | undefined> {
    const rotate = snapshot.rotateByAge(age, by, at)
    const { key, isChanged } = await this.#record(name, by, rotate, deadline, { at })
    return isChanged ? key : undefined
  }

  /** @param denyDecrypt absent: as it is, or false. @throws KesError KEY_PENDING, and as `#record` */
  disable(
    name: string,
    by: string,
    { denyDecrypt }: { readonly denyDecrypt?: boolean | undefined },
    deadline: Deadline,
  ): Promise<Key> {
    return this.#change(name, by, snapshot.disable(denyDecrypt), deadline)
  }

  /** @throws KesError KEY_PENDING, and as `#record` */
  enable(name: string, by: string, deadline: Deadline): Promise<Key> {
    return this.#change(name, by, snapshot.enable(), deadline)
  }

  /** Changes description and tags. @throws KesError BAD_REQUEST beyond the limits, and as `#record` */
  edit(name: string, by: string, edit: snapshot.Edit, deadline: Deadline): Promise<Key> {
    return this.#change(name, by, snapshot.edit(edit), deadline)
  }

  /** Has it destroyed in so many days, 7 to 30. @throws KesError KEY_PENDING, BAD_REQUEST, and as `#record` */
  schedule(name: string, by: string, days: number, deadline: Deadline): Promise<Key> {
    return this.#change(name, by, snapshot.schedule(days, now()), deadline, {
      limit: MAX_SCHEDULES,
    })
  }

  /** Cancels a scheduled deletion. @throws KesError KEY_NOT_PENDING, and as `#record` */
  restore(name: string, by: string, deadline: Deadline): Promise<Key> {
    return this.#change(name, by, snapshot.restore(), deadline, { limit: Infinity })
  }

  /** Destroys it at once: from when it returns, nobody gets the key from this server. @throws KesError KEY_NOT_FOUND */
  async delete(name: string, deadline: Deadline): Promise<void> {
    const { signal } = deadline
    const deleted = this.#entries.delete(name, signal)
    const owner = await this.#altered('KEYSTORE_DELETE', name, deadline, deleted)
    if (owner === undefined) return
    const rest = this.#entries.deleteRecords(name, { owner, records: 0 }, signal)
    await this.#ask('KEYSTORE_DELETE', deadline, rest)
  }

  /**
   * Destroys a key that has been waiting for it for an hour longer than it was to, or whose destruction somebody has begun
   * and not ended. Of several servers one does it.
   *
   * @param at now. @returns whether it was done here. @throws KesError KEY_NOT_FOUND
   */
  async destroy(name: string, at: Timestamp, deadline: Deadline): Promise<boolean> {
    const { signal } = deadline
    const stored = await this.#ask('KEYSTORE_READ', deadline, this.#entries.read(name, signal))
    if (stored.snapshot.isDestroying) {
      if (!isAbandoned(stored, at)) return false
    } else {
      const date = { ...at, seconds: at.seconds - GRACE / 1000 }
      const after = snapshot.claim(date)(stored.snapshot, stored.first)
      if (after === stored.snapshot) return false
      const claimed = this.#entries.append(name, stored, after, { at, by: '' }, signal)
      // Somebody else was faster: to destroy it, or to restore it.
      if ((await this.#ask('KEYSTORE_CHANGE', deadline, claimed)) === undefined) return false
    }
    await this.#finish(name, stored, deadline)
    return true
  }

  /** One page of names; entries that are no keys are left out. */
  async list(listing: Listing, deadline: Deadline): Promise<Page> {
    const names: string[] = []
    let from = listing.from < FIRST_NAME ? FIRST_NAME : listing.from
    for (;;) {
      const part = this.#store.list({ prefix: listing.prefix, from }, PAGE, deadline.signal)
      const page = await this.#ask('KEYSTORE_LIST', deadline, part)
      for (const name of page.names) if (isName(name)) names.push(name)
      const next = names[PAGE]
      if (next !== undefined) return { names: names.slice(0, PAGE), next }
      if (page.next === undefined) return { names }
      // The usual case, without asking for what the next page will ask for again.
      if (names.length === PAGE && isName(page.next)) return { names, next: page.next }
      from = page.next
    }
  }

  /** Closes when the last request has left; after `limit` ms in any case. No request may enter any more. */
  async retire(limit: number): Promise<void> {
    if (this.#users > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, limit).unref()
        this.#onIdle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    await this.close()
  }

  async close(): Promise<void> {
    this.health.close()
    this.forget()
    await this.#store.close()
  }

  /** Caches nothing any more; the keystore stays open. */
  forget(): void {
    this.#alterations.close()
    this.cache.close()
  }

  async #fetch(name: string, known?: Key): Promise<Key> {
    const signal = AbortSignal.timeout(FETCH_LIMIT)
    const read = this.#entries.read(name, signal, known?.origin)
    const stored = await this.#ask('KEYSTORE_READ', { signal }, read)
    if (!stored.snapshot.isDestroying) return keyOf(stored)
    if (isAbandoned(stored, now())) await this.#finish(name, stored, { signal }).catch(() => {}) // it is gone in any case
    throw new KesError('KEY_NOT_FOUND')
  }

  async #isChanged(name: string, { origin }: Key): Promise<boolean> {
    if (origin === undefined) return true
    const signal = AbortSignal.timeout(FETCH_LIMIT)
    const next = this.#entries.hasNext(name, origin, signal)
    return this.#ask('KEYSTORE_READ', { signal }, next)
  }

  async #change(
    name: string,
    by: string,
    change: snapshot.Change,
    deadline: Deadline,
    options?: ChangeOptions,
  ): Promise<Key> {
    return (await this.#record(name, by, change, deadline, options)).key
  }

  /**
   * Puts a change behind those that there are; a change of nothing is none.
   *
   * @throws KesError KEY_NOT_FOUND; CONFLICT when others were faster again and again, or the key is being destroyed;
   *   TOO_MANY_CHANGES; UNSUPPORTED
   */
  async #record(
    name: string,
    by: string,
    change: snapshot.Change,
    deadline: Deadline,
    { at = now(), limit = MAX_CHANGES }: ChangeOptions = {},
  ): Promise<{ readonly key: Key; readonly isChanged: boolean }> {
    this.#needRecords()
    const { signal } = deadline
    for (let attempt = 0; attempt < CHANGE_TRIES; attempt++) {
      const before = await this.#ask('KEYSTORE_READ', deadline, this.#entries.read(name, signal))
      if (before.snapshot.isDestroying) break
      const after = change(before.snapshot, before.first)
      if (after === before.snapshot) return { key: keyOf(before), isChanged: false }
      if (before.records >= limit) throw new KesError('TOO_MANY_CHANGES')
      const appended = this.#entries.append(name, before, after, { at, by }, signal)
      const stored = await this.#altered('KEYSTORE_CHANGE', name, deadline, appended)
      if (stored !== undefined) return { key: keyOf(stored), isChanged: true }
    }
    throw new KesError('CONFLICT')
  }

  #needRecords(): void {
    if (this.#entries.hasRecords) return
    throw new KesError('UNSUPPORTED', { cause: new KeyStoreError('denied', NO_RECORDS) })
  }

  /** Deletes what a destruction has claimed. */
  async #finish(name: string, stored: StoredKey, deadline: Deadline): Promise<void> {
    const { signal } = deadline
    const deleted = this.#entries.delete(name, signal, stored.owner)
    // Somebody else may have done it; records may be left.
    await unless('KEY_NOT_FOUND', this.#altered('KEYSTORE_DELETE', name, deadline, deleted))
    const rest = this.#entries.deleteRecords(name, stored, signal)
    await this.#ask('KEYSTORE_DELETE', deadline, rest)
  }

  /** Waits until entries of a key are made or deleted, and every cache knows. */
  #altered<T>(code: ErrorCode, name: string, deadline: Deadline, work: Promise<T>): Promise<T> {
    return this.#alterations.tell(name, work, (done) => this.#ask(code, deadline, done))
  }

  #ask<T>(code: ErrorCode, deadline: Deadline, work: Promise<T>): Promise<T> {
    return ask(work, code, deadline, this.health)
  }
}

interface ChangeOptions {
  /** Now, unless the caller has a clock of its own. */
  readonly at?: Timestamp
  /** How many records there may be already. */
  readonly limit?: number
}

/** Whoever has claimed it has had time enough. */
function isAbandoned({ changedAt }: StoredKey, at: Timestamp): boolean {
  return changedAt === undefined || at.seconds - changedAt.seconds > ABANDONED / 1000
}
