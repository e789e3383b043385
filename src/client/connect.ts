/** TLS connections to a server, and what they need: CAs and the client's certificate. Loaded with the first call. */

import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'

import { certificateOf } from '../crypto/certificate.ts'
import { ApiKey } from '../crypto/identity.ts'
import { within } from '../deadline.ts'
import { KesClientError } from './errors.ts'
import { connectionError } from './failures.ts'
import type { Address, CertificateAndKey, Pem, Settings } from './options.ts'

/** The certificate of an API key is valid for 90 days; long before that it is made anew. */
const CERTIFICATE_USE = 30 * 24 * 3_600_000

/** Makes connections of one client, to any of its servers. */
export class Connector {
  readonly #settings: Settings
  #context: Promise<SecureContext> | undefined
  #contextUntil = Infinity

  constructor(settings: Settings) {
    this.#settings = settings
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
    const secureContext = await this.#secureContext()
    signal.throwIfAborted()
    const { insecure } = this.#settings
    const socket = connect({
      host: address.host,
      port: address.port,
      // RFC 6066 knows no addresses as server names.
      servername: isIP(address.host) === 0 ? address.host : '',
      secureContext,
      rejectUnauthorized: !insecure,
      ALPNProtocols: [...protocols],
      minVersion: 'TLSv1.2',
    })
    socket.setNoDelay(true)
    // HTTP/1.1 has no ping of its own.
    socket.setKeepAlive(true, 15_000)
    let failure: unknown
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve)
      const fail = () => reject(connectionError(failure, address, 'connecting'))
      socket.on('error', (error) => {
        failure = error
        fail()
      })
      socket.on('close', fail)
    })
    try {
      await within(connected, { signal })
      // In TLS 1.3 the server's verdict may stand right behind the handshake, and has been told by now.
      if (socket.destroyed) throw connectionError(failure, address, 'greeting')
      return socket
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Parsing PEM takes longer than a handshake: once for all connections. */
  #secureContext(): Promise<SecureContext> {
    if (this.#context === undefined || Date.now() > this.#contextUntil) {
      this.#contextUntil = Date.now() + CERTIFICATE_USE
      const context = this.#newContext()
      this.#context = context
      context.catch(() => (this.#context = undefined))
    }
    return this.#context
  }

  async #newContext(): Promise<SecureContext> {
    const { ca } = this.#settings
    const pair = await this.#certificate()
    try {
      return createSecureContext({
        ...(ca !== undefined && { ca: list(ca).flatMap(certificatesOf) }),
        ...(pair !== undefined && { cert: buffer(pair.cert), key: buffer(pair.key) }),
        ...(pair?.passphrase !== undefined && { passphrase: pair.passphrase }),
      })
    } catch (cause) {
      const said = (cause as Error).message
      throw new KesClientError('BAD_OPTIONS', '', `cert, key, passphrase or ca: ${said}`, { cause })
    }
  }

  async #certificate(): Promise<CertificateAndKey | undefined> {
    const { credentials } = this.#settings
    if (!(credentials instanceof ApiKey)) return credentials
    const { certificate, privateKey } = await certificateOf(credentials)
    return { cert: certificate, key: privateKey, passphrase: undefined }
  }
}

function list(pems: Pem | readonly Pem[]): readonly Pem[] {
  return typeof pems === 'string' || pems instanceof Uint8Array ? [pems] : pems
}

/** Node passes over what is no certificate, and then trusts nobody without saying why. @throws Error */
function certificatesOf(pem: Pem): string[] {
  const blocks = buffer(pem).toString().match(CERTIFICATE) ?? []
  if (blocks.length === 0) throw new Error('ca has no PEM certificate')
  return blocks.map((block) => new X509Certificate(block).toString())
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

function buffer(pem: Pem): Buffer | string {
  return typeof pem === 'string' ? pem : Buffer.from(pem)
}
