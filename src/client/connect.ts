/** TLS connections to the servers. Loaded with the first call. */

import { isIP } from 'node:net'
import { connect, type SecureContext, type TLSSocket } from 'node:tls'

import { within } from '../deadline.ts'
import { Contexts, type Trust } from './contexts.ts'
import { ConnectionError } from './errors.ts'
import { connectionError } from './failures.ts'
import type { Address, Settings } from './options.ts'

/** Makes connections of one client, to any of its servers. */
export class Connector {
  readonly #insecure: boolean
  readonly #contexts: Contexts
  /** Who has signed which server's certificate, as far as it is known. */
  readonly #trust = new Map<string, Trust>()

  constructor(settings: Settings) {
    this.#insecure = settings.insecure
    this.#contexts = new Contexts(settings)
  }

  /**
   * Resolves when TLS stands and the server's certificate is good. Whether the server likes the client's, only
   * its first words tell.
   *
   * @throws ConnectionError; KesClientError BAD_OPTIONS; the signal's reason
   */
  async connect(
    address: Address,
    protocols: readonly string[],
    signal: AbortSignal,
  ): Promise<TLSSocket> {
    const attempt = async (trust: Trust) =>
      this.#dial(address, protocols, await this.#contexts.get(trust), signal)
    const { url } = address
    try {
      return await attempt(this.#trust.get(url) ?? 'given')
    } catch (error) {
      const isUntrusted = error instanceof ConnectionError && error.reason === 'untrusted'
      if (!isUntrusted || this.#trust.has(url) || !this.#contexts.hasOther) throw error
      // Node knows the public CAs; the operating system may know the company's, too, and Go's clients ask it. It is
      // asked second, since its list takes long to read.
      const socket = await attempt('system').catch(() => undefined)
      if (socket === undefined) throw error
      this.#trust.set(url, 'system')
      return socket
    }
  }

  async #dial(
    address: Address,
    protocols: readonly string[],
    secureContext: SecureContext,
    signal: AbortSignal,
  ): Promise<TLSSocket> {
    signal.throwIfAborted()
    const socket = connect({
      host: address.host,
      port: address.port,
      // RFC 6066 knows no addresses as server names.
      servername: isIP(address.host) === 0 ? address.host : '',
      secureContext,
      rejectUnauthorized: !this.#insecure,
      ALPNProtocols: [...protocols],
    })
    socket.setNoDelay(true)
    // HTTP/1.1 has no ping of its own.
    socket.setKeepAlive(true, 15_000)
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve)
      const fail = (error?: unknown) => reject(connectionError(error, address, 'connecting'))
      socket.on('error', fail)
      socket.on('close', () => fail())
    })
    try {
      await within(connected, { signal })
      return socket
    } catch (error) {
      socket.destroy()
      throw error
    }
  }
}
