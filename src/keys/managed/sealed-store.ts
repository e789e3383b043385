/**
 * A keystore whose values are sealed under one secret before another keystore gets them: `openkes-sealed:v1:` and the
 * base64 of what crypto/aead.ts makes of a value. The name is authenticated, so that no value opens under another one.
 */

import { parseRaw } from '../../crypto/ciphertext.ts'
import type { Secret } from '../../crypto/aead.ts'
import { decodeBase64 } from '../../json.ts'
import type { KeyStore } from '../../keystore/keystore.ts'
import type { Listing, Page } from '../../names.ts'
import { DamagedKeyError } from '../codec.ts'

const PREFIX = 'openkes-sealed:v1:'

export class SealedStore implements KeyStore {
  readonly #store: KeyStore
  readonly #secret: Secret

  /** @param store is closed with this one */
  constructor(store: KeyStore, secret: Secret) {
    this.#store = store
    this.#secret = secret
  }

  status(signal: AbortSignal): Promise<void> {
    return this.#store.status(signal)
  }

  create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const sealed = this.#secret.seal(value, contextOf(name)).toString('base64')
    return this.#store.create(name, Buffer.from(PREFIX + sealed), signal)
  }

  /** @throws DamagedKeyError for a value that was not sealed under this name and secret */
  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const text = Buffer.from(await this.#store.get(name, signal)).toString('latin1')
    const bytes = text.startsWith(PREFIX) ? decodeBase64(text.slice(PREFIX.length)) : undefined
    const sealed = bytes && parseRaw(bytes)
    const value = sealed && this.#secret.open(sealed, contextOf(name))
    if (value !== undefined) return value
    throw new DamagedKeyError('it was not sealed under the master key for this name')
  }

  delete(name: string, signal: AbortSignal): Promise<void> {
    return this.#store.delete(name, signal)
  }

  list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    return this.#store.list(listing, limit, signal)
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

function contextOf(name: string): Buffer {
  return Buffer.from(`${PREFIX}${name}`)
}
