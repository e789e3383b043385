/** A keystore in memory that a test can slow down, break and count. */

import { KesError } from '#src/errors.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { type Listing, type Page, pageOf } from '#src/names.js'

export class FakeStore implements KeyStore {
  readonly entries = new Map<string, Uint8Array>()
  /** What every method throws, while it is set. */
  failure: Error | undefined
  /** Every method waits for it before it looks at anything. */
  gate: Promise<void> | undefined
  /** As `gate`, but between looking and answering: a slow answer that is old when it arrives. */
  answerGate: Promise<void> | undefined
  /** `record`: a read of an entry that is no key's own. */
  readonly calls = { status: 0, create: 0, get: 0, record: 0, delete: 0, list: 0 }
  isClosed = false

  async status(): Promise<void> {
    await this.#call('status', () => {})
  }

  create(name: string, value: Uint8Array): Promise<void> {
    const copy = Uint8Array.from(value)
    return this.#call('create', () => {
      if (this.entries.has(name)) throw new KesError('KEY_EXISTS')
      this.entries.set(name, copy)
    })
  }

  get(name: string): Promise<Uint8Array> {
    return this.#call(name.startsWith('-') ? 'record' : 'get', () => {
      const value = this.entries.get(name)
      if (value === undefined) throw new KesError('KEY_NOT_FOUND')
      return Uint8Array.from(value)
    })
  }

  delete(name: string): Promise<void> {
    return this.#call('delete', () => {
      if (!this.entries.delete(name)) throw new KesError('KEY_NOT_FOUND')
    })
  }

  list(listing: Listing, limit: number): Promise<Page> {
    return this.#call('list', () => pageOf(this.entries.keys(), listing, limit))
  }

  async close(): Promise<void> {
    this.isClosed = true
  }

  async #call<T>(method: keyof FakeStore['calls'], work: () => T): Promise<T> {
    this.calls[method]++
    const { gate: before, answerGate: after } = this
    await before
    if (this.failure !== undefined) throw this.failure
    let outcome: () => T
    try {
      const value = work()
      outcome = () => value
    } catch (error) {
      outcome = () => {
        throw error
      }
    }
    await after
    return outcome()
  }
}

/** One that remembers every value that it gave out: whoever asked for it has to wipe it. */
export class WatchedStore extends FakeStore {
  readonly given: Uint8Array[] = []

  override async get(name: string): Promise<Uint8Array> {
    const value = await super.get(name)
    this.given.push(value)
    return value
  }
}

/** A promise and the function that resolves it. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open: () => open() }
}
