/** Keys by name, for every dialect: the only way from a request to the keystore. */

import type { Cipher } from '../crypto/aead.ts'
import { randomBytes } from '../crypto/random.ts'
import { type Deadline, within } from '../deadline.ts'
import { type ErrorCode, KesError } from '../errors.ts'
import type { KeyStore } from '../keystore/keystore.ts'
import { isName, type Listing, PAGE, type Page } from '../names.ts'
import { now } from '../time.ts'
import { ask } from './ask.ts'
import { type CacheCounts, type CacheExpiry, KeyCache } from './cache.ts'
import { DamagedKeyError, decodeKey, encodeKey } from './codec.ts'
import { KeyStoreHealth } from './health.ts'
import { type Key, SECRET_SIZE } from './key.ts'

/** How long a fetch that several requests may wait for can take. */
const FETCH_LIMIT = 10_000

/** Sorts before every valid key name, and behind the server's own entries, which begin with `-`. */
const FIRST_NAME = '0'

export interface Import {
  readonly cipher: Cipher
  /** 32 bytes. */
  readonly secret: Uint8Array
  /** 32 bytes; absent: fresh random ones. */
  readonly hmacKey?: Uint8Array | undefined
}

/**
 * All methods throw KesError: KEYSTORE_… for trouble with the keystore, the deadline's reason when it
 * passes, and what they name. Names are valid names.
 */
export class KeyService {
  readonly health: KeyStoreHealth
  readonly cache: KeyCache
  readonly #store: KeyStore
  /** Requests that began and may still ask. */
  #users = 0
  #onIdle = (): void => {}

  /** @param health of the keystore, when somebody else looks after it already */
  constructor(
    store: KeyStore,
    expiry: CacheExpiry,
    counts: CacheCounts = { hits: 0, misses: 0 },
    health = new KeyStoreHealth(store),
  ) {
    this.#store = store
    this.health = health
    this.cache = new KeyCache((name) => this.#fetch(name), this.health, expiry, counts)
  }

  /** A request begins that may ask until it calls `leave`. */
  enter(): void {
    this.#users++
  }

  leave(): void {
    if (--this.#users === 0) this.#onIdle()
  }

  /** A Key at once when it is cached. @throws KesError KEY_NOT_FOUND */
  get(name: string, deadline: Deadline): Key | Promise<Key> {
    return this.cache.get(name, deadline)
  }

  /** The key, without taking a place in the cache. @throws KesError KEY_NOT_FOUND */
  peek(name: string, deadline: Deadline): Key | Promise<Key> {
    return this.cache.peek(name) ?? within(this.#fetch(name), deadline)
  }

  /** Makes a new random key. @param by hex identity, or ''. @throws KesError KEY_EXISTS */
  async create(name: string, by: string, deadline: Deadline): Promise<void> {
    const secret = randomBytes(SECRET_SIZE)
    await this.import(name, { cipher: 'AES256', secret }, by, deadline)
    secret.fill(0)
  }

  /** Stores a key with a given secret. @throws KesError KEY_EXISTS */
  async import(
    name: string,
    { cipher, secret, hmacKey }: Import,
    by: string,
    deadline: Deadline,
  ): Promise<void> {
    const entry = encodeKey({
      cipher,
      secret,
      hmacKey: hmacKey ?? randomBytes(SECRET_SIZE),
      createdAt: now(),
      createdBy: by,
    })
    await this.#change(
      'KEYSTORE_CREATE',
      name,
      deadline,
      this.#store.create(name, entry, deadline.signal),
    )
    entry.fill(0)
  }

  /** From when it returns, nobody gets the key from this server. @throws KesError KEY_NOT_FOUND */
  async delete(name: string, deadline: Deadline): Promise<void> {
    await this.#change('KEYSTORE_DELETE', name, deadline, this.#store.delete(name, deadline.signal))
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
    this.cache.close()
    await this.#store.close()
  }

  async #fetch(name: string): Promise<Key> {
    const signal = AbortSignal.timeout(FETCH_LIMIT)
    try {
      const entry = await this.#ask('KEYSTORE_READ', { signal }, this.#store.get(name, signal))
      const key = decodeKey(entry)
      entry.fill(0)
      return key
    } catch (error) {
      if (!(error instanceof DamagedKeyError)) throw error
      const cause = new DamagedKeyError(`keystore entry '${name}' is damaged: ${error.message}`)
      throw new KesError('KEYSTORE_READ', { cause })
    }
  }

  /** Waits until the entry of a key is made or deleted: what is cached, or being fetched, is old then. */
  async #change(
    code: ErrorCode,
    name: string,
    deadline: Deadline,
    work: Promise<void>,
  ): Promise<void> {
    // Also when it is done too late for whoever asked.
    const done = work.then(() => this.cache.evict(name))
    try {
      await this.#ask(code, deadline, done)
    } catch (error) {
      if (error instanceof KesError && error.code === 'KEY_NOT_FOUND') this.cache.evict(name)
      // It may have been done all the same.
      else if (!(error instanceof KesError && error.code === 'KEY_EXISTS')) this.cache.doubt(name)
      throw error
    }
  }

  #ask<T>(code: ErrorCode, deadline: Deadline, work: Promise<T>): Promise<T> {
    return ask(work, code, deadline, this.health)
  }
}
