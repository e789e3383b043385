/**
 * A keystore as a command calls it that would rather wait than fail: each call has a limit, and one that got no answer
 * is made again. What it throws says which of the two keystores it is about.
 */

import { setTimeout as sleep } from 'node:timers/promises'

import { within } from '../deadline.ts'
import { unless } from '../errors.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { type Listing, PAGE, type Page } from '../names.ts'

const TRIES = 4

export interface Patience {
  /** Milliseconds for one call. */
  readonly limit: number
  /** Milliseconds before the second try; doubled for each further one. */
  readonly pause: number
}

export const PATIENCE: Patience = { limit: 15_000, pause: 500 }

/** What a keystore has of an entry whose value is known. */
export type Found = 'missing' | 'same' | 'other'

/** All methods throw KeyStoreError, after as many tries as make sense. */
export class PatientStore {
  readonly #store: KeyStore
  readonly #side: string
  readonly #patience: Patience

  /** @param side what messages call it */
  constructor(store: KeyStore, side: string, patience: Patience) {
    this.#store = store
    this.#side = side
    this.#patience = patience
  }

  /** All names that begin with `prefix`, from `from` on, in order. @param isOver no more pages are wanted */
  async list(prefix: string, from: string, isOver: () => boolean): Promise<string[]> {
    const names: string[] = []
    for (let next: string | undefined = from; next !== undefined && !isOver();) {
      const listing: Listing = { prefix, from: next }
      const page: Page = await this.#call((signal) => this.#store.list(listing, PAGE, signal))
      for (const name of page.names) names.push(name)
      next = page.next
    }
    return names
  }

  /** Undefined when there is none. The bytes are the caller's, to be wiped. */
  read(name: string): Promise<Uint8Array | undefined> {
    const reading = this.#call((signal) => this.#store.get(name, signal))
    return unless('KEY_NOT_FOUND', reading)
  }

  /** Whether it has that value. */
  async compare(name: string, value: Uint8Array): Promise<Found> {
    const found = await this.read(name)
    if (found === undefined) return 'missing'
    const isEqual = isSame(value, found)
    found.fill(0)
    return isEqual ? 'same' : 'other'
  }

  /** False when there is one already: of somebody else, or ours if the answer to an earlier try was lost. */
  async make(name: string, value: Uint8Array): Promise<boolean> {
    const making = this.#call(async (signal) => {
      // A try that was given up may still be at work when the caller wipes the value: it has a copy of its own.
      const copy = Uint8Array.from(value)
      try {
        await this.#store.create(name, copy, signal)
        return true
      } finally {
        copy.fill(0)
      }
    })
    return (await unless('KEY_EXISTS', making)) ?? false
  }

  /** Nothing happens when there is none. */
  async remove(name: string): Promise<void> {
    const removing = this.#call((signal) => this.#store.delete(name, signal))
    await unless('KEY_NOT_FOUND', removing)
  }

  async #call<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#limited(work)
      } catch (error) {
        if (!(error instanceof KeyStoreError)) throw error
        if (error.failure !== 'unreachable' || attempt === TRIES) {
          const message = `the ${this.#side}: ${error.message}`
          throw new KeyStoreError(error.failure, message, { cause: error })
        }
        await sleep(this.#patience.pause * 2 ** (attempt - 1))
      }
    }
  }

  async #limited<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { limit } = this.#patience
    const aborter = new AbortController()
    const timer = setTimeout(() => {
      aborter.abort(new KeyStoreError('unreachable', `no answer within ${limit / 1000} s`))
    }, limit)
    try {
      return await within(work(aborter.signal), aborter)
    } finally {
      clearTimeout(timer)
    }
  }
}

export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
