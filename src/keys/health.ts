/**
 * Whether the keystore answers. Everybody who asks shares one probe, and a poll keeps asking, so that the
 * cache knows when to go offline even if no request does.
 */

import { type Bus, LocalBus, topic } from '../bus.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'

/** Milliseconds. */
const PROBE_LIMIT = 1500
/** The limit is counted in these, however late they come: a process that is busy itself says nothing about its keystore. */
const TICK = 100
/** With the limit, less than two seconds until whoever asks again and again knows of an outage. */
const PROBE_MAX_AGE = 400
const POLL_INTERVAL = 10_000
/** While the store is down: its return is news. */
const DOWN_MAX_AGE = 200
const DOWN_INTERVAL = 250

/** Somebody has found that a keystore does not answer: all look for themselves. */
const DOWN = topic<void>('keystore:down')

/** What a probe found: milliseconds until the answer, or why there was none. */
export type Probe = { readonly latency: number } | { readonly error: unknown }

export class KeyStoreHealth {
  readonly #store: KeyStore
  readonly #bus: Bus
  readonly #unsubscribe: () => void
  #poll: NodeJS.Timeout | undefined
  #probe: Promise<Probe> | undefined
  #probedAt = Number.NEGATIVE_INFINITY
  #downSince: number | undefined
  #isClosed = false

  constructor(store: KeyStore, bus: Bus = new LocalBus()) {
    this.#store = store
    this.#bus = bus
    this.#unsubscribe = bus.subscribe(DOWN, () => void this.probe())
    this.#wait()
  }

  /** Since when the store has not answered, by `performance.now()`; undefined while it does. */
  get downSince(): number | undefined {
    return this.#downSince
  }

  /** At most 400 ms old, and done within 1.5 s of a process that is not busy. Never rejects. */
  probe(): Promise<Probe> {
    const maxAge = this.#downSince === undefined ? PROBE_MAX_AGE : DOWN_MAX_AGE
    if (this.#probe === undefined || performance.now() - this.#probedAt > maxAge) {
      this.#probedAt = Number.POSITIVE_INFINITY
      this.#probe = this.#ask()
    }
    return this.#probe
  }

  /** A request found the store unreachable: no need to wait for the next poll. */
  reportDown(): void {
    if (this.#downSince !== undefined) return
    this.#downSince = performance.now()
    void this.#bus.publish(DOWN, undefined)
    this.#wait()
  }

  close(): void {
    this.#isClosed = true
    this.#unsubscribe()
    clearTimeout(this.#poll)
  }

  /** Polls on. */
  #wait(): void {
    clearTimeout(this.#poll)
    if (this.#isClosed) return
    const interval = this.#downSince === undefined ? POLL_INTERVAL : DOWN_INTERVAL
    this.#poll = setTimeout(() => void this.probe().then(() => this.#wait()), interval).unref()
  }

  async #ask(): Promise<Probe> {
    const start = performance.now()
    let timer: NodeJS.Timeout | undefined
    const aborter = new AbortController()
    const limit = new Promise<never>((_, reject) => {
      let waited = 0
      timer = setInterval(() => {
        waited += TICK
        if (waited < PROBE_LIMIT) return
        const error = new KeyStoreError('unreachable', `no answer within ${PROBE_LIMIT} ms`)
        aborter.abort(error)
        reject(error)
      }, TICK)
    })
    try {
      await Promise.race([this.#store.status(aborter.signal), limit])
      this.#downSince = undefined
      return { latency: performance.now() - start }
    } catch (error) {
      // A store that refuses us is there. Whoever takes our rights away does not want keys to be served for longer.
      if (error instanceof KeyStoreError && error.failure === 'denied') this.#downSince = undefined
      else this.reportDown()
      return { error }
    } finally {
      clearInterval(timer)
      this.#probedAt = performance.now()
    }
  }
}
