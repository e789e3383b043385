/** A server of one process: from a Config to an open port and back. Several processes are put together in workers/. */

import type { AddressInfo } from 'node:net'

import { LocalBus } from '../bus.ts'
import type { Config } from '../config/config.ts'
import type { Loaded } from '../config/load.ts'
import { Reloads } from './reloads.ts'
import { AT_START } from './reload.ts'
import { type ServerStreams, Serving } from './serving.ts'
import { newTicketKeys, TICKET_LIFETIME } from './tls.ts'

export type { ServerStreams } from './serving.ts'

export class Server {
  readonly address: AddressInfo
  /** Of the RustFS KMS Admin API; undefined when it is off. */
  readonly rustfsAddress: AddressInfo | undefined
  readonly #serving: Serving
  readonly #reloads: Reloads<Loaded>
  readonly #ticketTimer: NodeJS.Timeout
  #closing: Promise<void> | undefined

  private constructor(address: AddressInfo, serving: Serving) {
    this.address = address
    this.rustfsAddress = serving.rustfsAddress
    this.#serving = serving
    this.#reloads = new Reloads({
      get config() {
        return serving.state.config
      },
      log: serving.state.log,
      stage: async (next) => {
        const staged = await serving.stage(next?.config)
        const hasNewCertificates = staged.tls.fingerprint !== serving.fingerprint
        return { hasNewCertificates, use: () => serving.use(staged, newTicketKeys()) }
      },
    })
    this.#ticketTimer = setInterval(
      () => serving.useTicketKeys(newTicketKeys()),
      TICKET_LIFETIME,
    ).unref()
  }

  /**
   * Resolves when requests are answered.
   *
   * @throws TlsFileError, KeyStoreError, and the errors of listen(2): nothing is left open then.
   */
  static async start(config: Config, streams: ServerStreams = {}): Promise<Server> {
    const serving = await Serving.open(config, {
      streams,
      bus: new LocalBus(),
      startedAt: Date.now(),
      patience: AT_START,
    })
    try {
      return new Server(await serving.listen(newTicketKeys()), serving)
    } catch (error) {
      await serving.close()
      throw error
    }
  }

  /**
   * Serves by another configuration, all of it or, when anything is wrong with it, none. Requests that run end under
   * the one that they began with; followers of logs, counts and cached keys stay. Everything changes but `address`
   * and `http`.
   *
   * @param read called when the reloads before are done
   * @throws what `read` throws, TlsFileError, KeyStoreError; the error log has the reason, too
   */
  reload(read: () => Loaded): Promise<void> {
    return this.#reloads.reload(read)
  }

  /** Accepts no more, lets running requests end (at most 10 s), and closes the keystore. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearInterval(this.#ticketTimer)
    this.#serving.beginStop()
    await Promise.all([this.#reloads.close(), this.#serving.close()])
  }
}
