/**
 * What this server, and every process of it, is told when entries of a key are made or deleted: what is cached of the
 * key, or is being fetched, is old then. Other servers are not told; they look for themselves (cache.ts).
 */

import { type Bus, type Topic, topic } from '../bus.ts'
import { isCode } from '../errors.ts'
import type { KeyCache } from './cache.ts'

/** What has happened to a key, or may have. */
interface Alteration {
  readonly name: string
  /** Nobody knows whether it was done. */
  readonly isInDoubt: boolean
}

export class Alterations {
  readonly #bus: Bus
  readonly #topic: Topic<Alteration>
  readonly #unsubscribe: () => void

  /** @param scope of the names. @param cache that follows them until `close` */
  constructor(bus: Bus, scope: string, cache: Pick<KeyCache, 'doubt' | 'evict'>) {
    this.#bus = bus
    this.#topic = topic(`key:${scope}`)
    this.#unsubscribe = bus.subscribe(this.#topic, ({ name, isInDoubt }) =>
      isInDoubt ? cache.doubt(name) : cache.evict(name),
    )
  }

  /**
   * What `work` resolves to, once every cache knows.
   *
   * @param work makes or deletes entries of a key. @param wait may give up on it, and throws why
   */
  async tell<T>(
    name: string,
    work: Promise<T>,
    wait: (work: Promise<T>) => Promise<T>,
  ): Promise<T> {
    let told: Promise<unknown> | undefined
    // Also when it is done too late for whoever asked.
    const done = work.then((result) => {
      told = this.#publish({ name, isInDoubt: false })
      return result
    })
    try {
      const result = await wait(done)
      await told
      return result
    } catch (error) {
      // Without a verdict of the keystore it may have been done all the same.
      if (!isCode(error, 'KEY_EXISTS'))
        await this.#publish({ name, isInDoubt: !isCode(error, 'KEY_NOT_FOUND') })
      throw error
    }
  }

  close(): void {
    this.#unsubscribe()
  }

  /** Resolves when every cache knows. */
  async #publish(alteration: Alteration): Promise<void> {
    await this.#bus.ask(this.#topic, alteration)
  }
}
