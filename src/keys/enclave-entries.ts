/**
 * The entries of enclaves in a keystore (kes-dialects.md, "Enclaves"): that one is there, that it is deleted, and its
 * keys. Who may do what in it, and which of its keys are cached, is not in here.
 */

import { setMaxListeners } from 'node:events'

import type { Identity } from '../crypto/identity.ts'
import type { Deadline } from '../deadline.ts'
import { type ErrorCode, isCode, KesError, unless } from '../errors.ts'
import type { KeyStore } from '../keystore/keystore.ts'
import { PAGE } from '../names.ts'
import { inDays, now, rfc3339 } from '../time.ts'
import { ask } from './ask.ts'
import {
  decodeDeletedMark,
  decodeEnclaveEntry,
  DELETED_MARK,
  type DeletedMark,
  ENCLAVE_ENTRY,
  type EnclaveEntry,
} from './enclave-entry.ts'
import { enclavePrefix } from './enclave-store.ts'
import type { KeyStoreHealth } from './health.ts'

/** Entries that are deleted at the same time. */
const AT_ONCE = 16

/** All methods throw KesError KEYSTORE_… for trouble with the keystore, the deadline's reason, and what they name. */
export class EnclaveEntries {
  readonly #store: KeyStore
  readonly #health: KeyStoreHealth

  constructor(store: KeyStore, health: KeyStoreHealth) {
    this.#store = store
    this.#health = health
  }

  /** The enclave's own entry, whether or not it is deleted; undefined when there is none. */
  async read(name: string, deadline: Deadline): Promise<EnclaveEntry | undefined> {
    const value = await this.#get(entryName(name), deadline)
    return value && decodeEntry(name, value)
  }

  /** @throws KesError ENCLAVE_EXISTS */
  async create(name: string, admin: Identity, deadline: Deadline): Promise<void> {
    const entry = Buffer.from(JSON.stringify({ name, admin, created_at: rfc3339(now()) }))
    try {
      const created = this.#store.create(entryName(name), entry, deadline.signal)
      await this.#ask(created, 'KEYSTORE_CREATE', deadline)
    } catch (error) {
      throw isCode(error, 'KEY_EXISTS') ? new KesError('ENCLAVE_EXISTS') : error
    }
  }

  /** What says that it is deleted; undefined when it is not. */
  async mark(name: string, deadline: Deadline): Promise<DeletedMark | undefined> {
    const value = await this.#get(DELETED_MARK + name, deadline)
    return value && decodeDeletedMark(value)
  }

  async isDeleted(name: string, deadline: Deadline): Promise<boolean> {
    return (await this.mark(name, deadline)) !== undefined
  }

  /** Nothing happens when there is a mark. @param days that its keys are kept for */
  async putMark(name: string, days: number, deadline: Deadline): Promise<void> {
    const at = now()
    const mark = {
      name,
      deleted_at: rfc3339(at),
      destroy_at: days === 0 ? undefined : rfc3339(inDays(days, at)),
    }
    const value = Buffer.from(JSON.stringify(mark))
    const marked = this.#store.create(DELETED_MARK + name, value, deadline.signal)
    await unless('KEY_EXISTS', this.#ask(marked, 'KEYSTORE_DELETE', deadline))
  }

  /** Of one that is marked: keys first, then the enclave's entry, and last the mark that says that it is being deleted. */
  async destroy(name: string, deadline: Deadline): Promise<void> {
    // Each of the deletions that run at the same time, and the keystore's own work for it, listens to the signal.
    setMaxListeners(4 * AT_ONCE, deadline.signal)
    const prefix = enclavePrefix(name)
    for (let from: string | undefined = prefix; from !== undefined;) {
      const listed = this.#store.list({ prefix, from }, PAGE, deadline.signal)
      const { names, next } = await this.#ask(listed, 'KEYSTORE_DELETE', deadline)
      for (let at = 0; at < names.length; at += AT_ONCE) {
        // Another server may have done it, and somebody have made an enclave of the same name.
        if (!(await this.isDeleted(name, deadline))) return
        await Promise.all(names.slice(at, at + AT_ONCE).map((key) => this.#remove(key, deadline)))
      }
      from = next
    }
    await this.#remove(entryName(name), deadline)
    await this.#remove(DELETED_MARK + name, deadline)
  }

  #get(name: string, deadline: Deadline): Promise<Uint8Array | undefined> {
    const value = this.#store.get(name, deadline.signal)
    return unless('KEY_NOT_FOUND', this.#ask(value, 'KEYSTORE_READ', deadline))
  }

  async #remove(name: string, deadline: Deadline): Promise<void> {
    const removed = this.#store.delete(name, deadline.signal)
    await unless('KEY_NOT_FOUND', this.#ask(removed, 'KEYSTORE_DELETE', deadline))
  }

  #ask<T>(work: Promise<T>, code: ErrorCode, deadline: Deadline): Promise<T> {
    return ask(work, code, deadline, this.#health)
  }
}

function entryName(enclave: string): string {
  return ENCLAVE_ENTRY + enclave
}

/** @throws KesError KEYSTORE_READ */
function decodeEntry(name: string, value: Uint8Array): EnclaveEntry {
  const entry = decodeEnclaveEntry(value)
  if (entry !== undefined) return entry
  const cause = new Error(`keystore entry '${entryName(name)}' is damaged`)
  throw new KesError('KEYSTORE_READ', { cause })
}
