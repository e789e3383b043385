/**
 * An enclave's share of a keystore: entries whose names begin with `-`, 16 hex digits of the enclave's name's SHA-256,
 * and `-` (kes-dialects.md, "Enclaves"). No key of the server has such a name, nor one of another enclave.
 */

import { createHash } from 'node:crypto'

import type { KeyStore } from '../keystore/keystore.ts'
import type { Listing, Page } from '../names.ts'

const DIGITS = 16

/** What `enclavePrefix` returns for any enclave, at the beginning of a name. */
export const ENCLAVE_PREFIX = /^-[0-9a-f]{16}-/

/** What the names of an enclave's entries begin with. */
export function enclavePrefix(enclave: string): string {
  return `-${createHash('sha256').update(enclave).digest('hex').slice(0, DIGITS)}-`
}

export class EnclaveStore implements KeyStore {
  readonly #store: KeyStore
  readonly #prefix: string

  /** @param prefix what `enclavePrefix` says of the enclave */
  constructor(store: KeyStore, prefix: string) {
    this.#store = store
    this.#prefix = prefix
  }

  status(signal: AbortSignal): Promise<void> {
    return this.#store.status(signal)
  }

  create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#store.create(this.#prefix + name, value, signal)
  }

  get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    return this.#store.get(this.#prefix + name, signal)
  }

  delete(name: string, signal: AbortSignal): Promise<void> {
    return this.#store.delete(this.#prefix + name, signal)
  }

  async list({ prefix, from }: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const own = this.#prefix
    const listing = { prefix: own + prefix, from: own + from }
    const { names, next } = await this.#store.list(listing, limit, signal)
    const inner = names.map((name) => name.slice(own.length))
    return next === undefined ? { names: inner } : { names: inner, next: next.slice(own.length) }
  }

  /** The keystore is the server's; it is not closed with an enclave. */
  async close(): Promise<void> {}
}
