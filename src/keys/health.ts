/**
 * Whether the keystore answers. Everybody who asks shares one probe, and a poll keeps asking, so that the
 * cache knows when to go offline even if no request does.
 */

import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'

const PROBE_LIMIT = 1500
const PROBE_MAX_AGE = 1000
const POLL_INTERVAL = 10_000

/** What a probe found: milliseconds until the answer, or why there was none. */
export type Probe = { readonly latency: number } | { readonly error: unknown }

export class KeyStoreHealth {
  readonly #store: KeyStore
  readonly #poll: NodeJS.Timeout
  #probe: Promise<Probe> | undefined
  #probedAt = Number.NEGATIVE_INFINITY
  #downSince: number | undefined

  constructor(store: KeyStore) {
    this.#store = store
    this.#poll = setInterval(() => void this.probe(), POLL_INTERVAL).unref()
  }

  /** Since when the store has not answered, by `performance.now()`; undefined while it does. */
  get downSince(): number | undefined {
    return this.#downSince
  }

  /** At most one second old, and done within 1.5 s. Never rejects. */
  probe(): Promise<Probe> {
    if (this.#probe === undefined || performance.now() - this.#probedAt > PROBE_MAX_AGE) {
      this.#probedAt = Number.POSITIVE_INFINITY
      this.#probe = this.#ask()
    }
    return this.#probe
  }

  /** A request found the store unreachable: no need to wait for the next poll. */
  reportDown(): void {
    this.#downSince ??= performance.now()
  }

  close(): void {
    clearInterval(this.#poll)
  }

  async #ask(): Promise<Probe> {
    const start = performance.now()
    let timer: NodeJS.Timeout | undefined
    const aborter = new AbortController()
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new KeyStoreError('unreachable', `no answer within ${PROBE_LIMIT} ms`)
        aborter.abort(error)
        reject(error)
      }, PROBE_LIMIT)
    })
    try {
      await Promise.race([this.#store.status(aborter.signal), limit])
      this.#downSince = undefined
      return { latency: performance.now() - start }
    } catch (error) {
      this.reportDown()
      return { error }
    } finally {
      clearTimeout(timer)
      this.#probedAt = performance.now()
    }
  }
}
