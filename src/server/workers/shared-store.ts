/**
 * A keystore in the memory of the process that opened it, when there are several processes: the primary has it, and
 * workers ask there. Only for kinds that are nowhere else, so keys cross the channel between processes in clear text.
 */

import { type ErrorCode, KesError } from '../../errors.ts'
import type { Config } from '../../config/config.ts'
import { type KeyStore, KeyStoreError } from '../../keystore/keystore.ts'
import type { Listing, Page } from '../../names.ts'
import type { StoreCall, StoreOutcome } from './messages.ts'

/** In the primary: each keystore that was opened, by its number. */
export class StoreHost {
  readonly #stores = new Map<number, Promise<KeyStore>>()

  /** Opened at once if it is of a kind that lives in one process; else workers open it themselves. */
  offer(epoch: number, { kind, settings }: Config['keystore']): void {
    if (kind.isLocal !== true || this.#stores.has(epoch)) return
    this.#stores.set(epoch, kind.open(settings, new AbortController().signal))
  }

  /** Forgets one that nobody asks any more. */
  drop(epoch: number): void {
    void this.#stores.get(epoch)?.then((store) => store.close())
    this.#stores.delete(epoch)
  }

  async serve({ epoch, method, args }: StoreCall): Promise<StoreOutcome> {
    try {
      const store = await this.#stores.get(epoch)
      if (store === undefined) throw new KeyStoreError('failed', 'it was replaced by another one')
      const { signal } = new AbortController()
      return { value: await (store[method] as (...all: unknown[]) => unknown)(...args, signal) }
    } catch (error) {
      const { message } = error as Error
      return { code: error instanceof KesError ? error.code : undefined, message }
    }
  }
}

/** In a worker. */
export class SharedStore implements KeyStore {
  readonly #call: (method: StoreCall['method'], args: readonly unknown[]) => Promise<unknown>

  /** @param ask resolves with what the primary says */
  constructor(epoch: number, ask: (call: StoreCall) => Promise<StoreOutcome>) {
    this.#call = async (method, args) => {
      const outcome = await ask({ epoch, method, args })
      if ('value' in outcome) return outcome.value
      if (outcome.code !== undefined) throw new KesError(outcome.code as ErrorCode)
      throw new KeyStoreError('failed', outcome.message)
    }
  }

  async status(): Promise<void> {
    await this.#call('status', [])
  }

  async create(name: string, value: Uint8Array): Promise<void> {
    await this.#call('create', [name, value])
  }

  async get(name: string): Promise<Uint8Array> {
    return (await this.#call('get', [name])) as Uint8Array
  }

  async delete(name: string): Promise<void> {
    await this.#call('delete', [name])
  }

  async list(listing: Listing, limit: number): Promise<Page> {
    return (await this.#call('list', [listing, limit])) as Page
  }

  /** The primary closes it when nobody can ask any more. */
  async close(): Promise<void> {}
}
