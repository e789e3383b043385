/** The door of the RustFS KMS Admin API: a port of its own beside the KES API's, on the same keys, logs and metrics. */

import type { AddressInfo } from 'node:net'

import type { RustfsConfig } from '../config/config.ts'
import { isLoopback } from '../fields.ts'
import { type Change, type ManagedConfig, ManagedKeys } from '../keys/managed.ts'
import type { Admission } from './admission.ts'
import type { InFlight } from './deadlines.ts'
import { OpenListener } from './open-listener.ts'
import { RustfsPipeline } from './rustfs-pipeline.ts'
import type { Stacks } from './stacks.ts'
import type { State } from './state.ts'
import type { Tls } from './tls.ts'

export interface RustfsDoorOptions {
  readonly tls: Tls
  readonly stacks: Stacks
  readonly state: () => State
  readonly inFlight: InFlight
  readonly admission: Admission
}

export class RustfsDoor {
  readonly address: AddressInfo
  readonly #listener: OpenListener
  readonly #managed: ManagedKeys

  private constructor(address: AddressInfo, listener: OpenListener, managed: ManagedKeys) {
    this.address = address
    this.#listener = listener
    this.#managed = managed
  }

  /** @throws the errors of listen(2) */
  static async open(
    rustfs: RustfsConfig,
    { tls, stacks, state, inFlight, admission }: RustfsDoorOptions,
  ): Promise<RustfsDoor> {
    const isPrivate = !isLoopback(rustfs.address)
    const managed = await ManagedKeys.open(managedBy(rustfs), {
      own: () => state().keys,
      log: state().log,
    })
    const pipeline = new RustfsPipeline({ inFlight, admission, state, managed, isPrivate })
    const listener = new OpenListener({ tls: isPrivate ? tls : undefined, stacks, state, pipeline })
    try {
      return new RustfsDoor(await listener.listen(rustfs.address), listener, managed)
    } catch (error) {
      await managed.close()
      throw error
    }
  }

  /** Certificates that have changed. */
  use(tls: Tls): void {
    this.#listener.use(tls)
  }

  /** Opens what a changed configuration runs from the start; nothing has changed yet. @throws KesError */
  prepare(rustfs: RustfsConfig): Promise<Change> {
    return this.#managed.prepare(managedBy(rustfs))
  }

  /** Whether a key of the server's keystore must not be destroyed. */
  refersTo(name: string): boolean {
    return this.#managed.refersTo(name)
  }

  /** The server has another keystore: what is sealed there is sealed anew. */
  reseal(): Promise<void> {
    return this.#managed.reseal()
  }

  /** Accepts no more; running requests end, at most `grace` ms from now. */
  async close(grace: number): Promise<void> {
    await this.#listener.close(grace)
    await this.#managed.close()
  }
}

function managedBy({ start, backends, keyRoot, state }: RustfsConfig): ManagedConfig {
  const { vault: vaults, secretFiles, ca } = backends
  return { start, limits: { vaults, secretFiles, keyRoot }, ca, state }
}
