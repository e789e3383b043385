/**
 * The TLS port: who may connect, and who then speaks HTTP/1.1 or HTTP/2 (kes-api.md, "Connections").
 * Whoever shows no certificate is cut off right after the handshake, before a byte of a request is read, unless some
 * route can do without.
 */

import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { certificateFault, type Peer, peerOf } from '../auth/peer.ts'
import type { Address } from '../fields.ts'
import type { Connection } from './connection.ts'
import { whenPast } from './expiry.ts'
import { Port } from './port.ts'
import type { Stack, StackOptions } from './stack.ts'
import type { Stacks } from './stacks.ts'
import type { Tls } from './tls.ts'

/** Word for word Go's. */
const PLAIN_HTTP =
  'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'

export interface ListenerOptions extends Omit<StackOptions, 'tls'> {
  readonly tls: Tls
  /** The implementation of HTTP. */
  readonly Stack: Stacks['Secured']
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #stack: Stack
  /** Handshakes go on under the rules that they began with. */
  readonly #port: Port<Tls>
  #tls: Tls

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#tls = options.tls
    this.#stack = new options.Stack({
      ...options,
      tls: options.tls.options,
    })
    const { server } = this.#stack
    this.#port = new Port(server)
    server.on('secureConnection', (socket: TLSSocket) => {
      const handshake = this.#port.endHandshake(socket)
      // Not if its certificate was verified, or was not, by rules that are none any more.
      const isJudged = handshake?.rules.trust === this.#tls.trust
      const connection = isJudged ? this.#admit(socket) : undefined
      if (connection === undefined) socket.destroy()
      else this.#stack.speak(socket, connection)
    })
    this.#answerPlainHttp()
  }

  /** @param ticketKeys what sessions are resumed by. @throws the errors of listen(2) */
  async listen(address: Address, ticketKeys: Buffer): Promise<AddressInfo> {
    const bound = await this.#port.listen(address)
    // Now and not before: a worker of a cluster has just been given those that the first worker began with.
    this.#stack.server.setTicketKeys(ticketKeys)
    return bound
  }

  /**
   * Handshakes that begin now go by it. Connections go on, unless it is decided in another way who is let in:
   * then they end with their running requests, since nobody has looked at their certificates in that way.
   *
   * @param ticketKeys none that were used before
   * @returns whether it is any different
   */
  use(tls: Tls, ticketKeys: Buffer): boolean {
    if (tls.fingerprint === this.#tls.fingerprint) return false
    const isTrustChanged = tls.trust !== this.#tls.trust
    this.#tls = tls
    this.#stack.server.setSecureContext({ ...tls.options, ticketKeys })
    if (isTrustChanged) for (const connection of this.#port.connections) connection.drain()
    return true
  }

  /** From now on sessions are resumed by these keys, and by no others. */
  useTicketKeys(ticketKeys: Buffer): void {
    this.#stack.server.setTicketKeys(ticketKeys)
  }

  /** Accepts no more. @param grace milliseconds for requests that run */
  close(grace: number): Promise<void> {
    return this.#port.close(grace)
  }

  /** The connection of a client that may send requests. */
  #admit(socket: TLSSocket): Connection | undefined {
    const certificate = socket.getPeerX509Certificate()
    const state = this.#options.state()
    if (certificate === undefined && !state.admitsAnonymous) return undefined
    const peer = certificate && peerOf(certificate.raw)
    if (this.#tls.verify && certificate !== undefined) {
      const fault = this.#fault(socket, peer)
      if (fault !== undefined) {
        state.log.write('WARN', `client certificate refused: ${fault}`, {
          'req.ip': socket.remoteAddress,
          'req.identity': peer?.identity,
        })
        return undefined
      }
    }
    return this.#track(socket, peer)
  }

  #fault(socket: TLSSocket, peer: Peer | undefined): string | undefined {
    // On a resumed session this is what was found when it began, so the dates are looked at again below.
    if (!socket.authorized) return String(socket.authorizationError)
    return peer && certificateFault(peer, Date.now())
  }

  #track(socket: TLSSocket, peer: Peer | undefined): Connection {
    const connection = this.#port.track(socket, peer)
    if (this.#tls.verify && peer) {
      const forget = whenPast(peer.notAfter, () => connection.drain())
      socket.on('close', forget)
    }
    return connection
  }

  /** Tells a client that speaks no TLS what is wrong, as Go's server does. */
  #answerPlainHttp(): void {
    const { server } = this.#stack
    server.prependListener('connection', (socket: Socket) => {
      this.#port.beginHandshake(socket, this.#tls)
    })
    server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      if (error.code === 'ERR_SSL_HTTP_REQUEST')
        this.#port.handshakeOf(socket)?.socket.end(PLAIN_HTTP)
    })
  }
}
