/** The door of the RustFS KMS Admin API: a port of its own beside the KES API's, on the same keys, logs and metrics. */

import type { AddressInfo } from 'node:net'

import type { Config } from '../config/config.ts'
import type { ManagedKeys } from '../keys/managed.ts'
import type { InFlight } from './deadlines.ts'
import { isLoopback, OpenListener } from './open-listener.ts'
import { RustfsPipeline } from './rustfs-pipeline.ts'
import type { State } from './state.ts'
import type { Tls } from './tls.ts'

export interface RustfsDoorOptions {
  readonly tls: Tls
  readonly state: () => State
  readonly inFlight: InFlight
  readonly managed: ManagedKeys
}

export class RustfsDoor {
  readonly address: AddressInfo
  readonly #listener: OpenListener

  private constructor(address: AddressInfo, listener: OpenListener) {
    this.address = address
    this.#listener = listener
  }

  /** Undefined when the config has none. @throws the errors of listen(2) */
  static async open(
    { rustfs, http }: Pick<Config, 'rustfs' | 'http'>,
    { tls, state, inFlight, managed }: RustfsDoorOptions,
  ): Promise<RustfsDoor | undefined> {
    if (rustfs === undefined) return undefined
    const isPrivate = !isLoopback(rustfs.address)
    const pipeline = new RustfsPipeline({ inFlight, state, managed, isPrivate })
    const listener = new OpenListener({ tls: isPrivate ? tls : undefined, http, state, pipeline })
    return new RustfsDoor(await listener.listen(rustfs.address), listener)
  }

  /** Certificates that have changed. */
  use(tls: Tls): void {
    this.#listener.use(tls)
  }

  /** Accepts no more; running requests end, at most `grace` ms from now. */
  close(grace: number): Promise<void> {
    return this.#listener.close(grace)
  }
}

/** What another configuration means for a door that is open, or is not: where it listens cannot be changed. */
export function withSameDoor({ rustfs: before }: Config, after: Config): Config {
  if (before === undefined) return { ...after, rustfs: undefined }
  // Without the section nobody may call it any more.
  const rustfs = after.rustfs ?? { ...before, credentials: [] }
  return { ...after, rustfs: { ...rustfs, address: before.address } }
}
