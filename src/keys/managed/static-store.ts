/** A keystore with exactly one key, given in the config file: nothing can be added, changed or deleted. */

import { KesError } from '../../errors.ts'
import type { KeyStore } from '../../keystore/keystore.ts'
import { type Listing, type Page, pageOf } from '../../names.ts'

export class StaticStore implements KeyStore {
  readonly #name: string
  readonly #entry: () => Uint8Array

  /** @param entry makes the stored form of the key, anew for every reader */
  constructor(name: string, entry: () => Uint8Array) {
    this.#name = name
    this.#entry = entry
  }

  async status(): Promise<void> {}

  async create(name: string): Promise<void> {
    if (name === this.#name) throw new KesError('KEY_EXISTS')
    throw readOnly()
  }

  async get(name: string): Promise<Uint8Array> {
    if (name !== this.#name) throw new KesError('KEY_NOT_FOUND')
    return this.#entry()
  }

  async delete(name: string): Promise<void> {
    throw name === this.#name ? readOnly() : new KesError('KEY_NOT_FOUND')
  }

  async list(listing: Listing, limit: number): Promise<Page> {
    return pageOf([this.#name], listing, limit)
  }

  async close(): Promise<void> {}
}

function readOnly(): KesError {
  return new KesError('NOT_IMPLEMENTED', {
    message: 'the backend static has one key, which cannot be changed',
  })
}
