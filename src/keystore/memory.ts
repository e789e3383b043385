/** Keystore in this process's memory: for tests and `kes server --dev`. Everything is lost at exit. */

import * as v from 'valibot'

import { KesError } from '../errors.ts'
import { type Listing, type Page, pageOf } from '../names.ts'
import { defineKeyStore, type KeyStore } from './keystore.ts'

export const memory = defineKeyStore({
  name: 'memory',
  title: 'In memory; all keys are lost when the server stops',
  config: v.strictObject({}),
  isLocal: true,
  describe: () => 'in memory; all keys are lost when the server stops',
  open: async () => new MemoryStore(),
})

class MemoryStore implements KeyStore {
  readonly #entries = new Map<string, Uint8Array>()

  async status(): Promise<void> {}

  async create(name: string, value: Uint8Array): Promise<void> {
    if (this.#entries.has(name)) throw new KesError('KEY_EXISTS')
    this.#entries.set(name, Uint8Array.from(value))
  }

  async get(name: string): Promise<Uint8Array> {
    const value = this.#entries.get(name)
    if (value === undefined) throw new KesError('KEY_NOT_FOUND')
    return Uint8Array.from(value)
  }

  async delete(name: string): Promise<void> {
    if (!this.#entries.delete(name)) throw new KesError('KEY_NOT_FOUND')
  }

  async list(listing: Listing, limit: number): Promise<Page> {
    return pageOf(this.#entries.keys(), listing, limit)
  }

  async close(): Promise<void> {
    this.#entries.clear()
  }
}
