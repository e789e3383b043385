/**
 * The TLS port: who may connect, and who then speaks HTTP/1.1 or HTTP/2 (kes-api.md, "Connections").
 * Whoever shows no certificate is cut off right after the handshake, before a byte of a request is read, unless some
 * route can do without.
 */

import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { certificateFault, type Peer, peerOf } from '../auth/peer.ts'
import type { Address } from '../fields.ts'
import type { Acceptor } from './acceptor.ts'
import type { Connection } from './connection.ts'
import { whenPast } from './expiry.ts'
import { type Handshake, Port } from './port.ts'
import type { StackOptions } from './stack.ts'
import type { Stacks } from './stacks.ts'
import type { Tls } from './tls.ts'

/** What a client is told that speaks no TLS: word for word Go's. */
const PLAIN_HTTP =
  'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'

export interface ListenerOptions extends Omit<StackOptions, 'tls'> {
  readonly tls: Tls
  /** The implementation of HTTP. */
  readonly Stack: Stacks['Secured']
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #acceptor: Acceptor
  /** Handshakes go on under the rules that they began with. */
  readonly #port: Port<Tls>
  #tls: Tls

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#tls = options.tls
    const stack = new options.Stack(options)
    this.#acceptor = stack.acceptor
    this.#port = new Port(stack.acceptor.server)
    stack.acceptor.watch<Handshake<Tls>>({
      begin: (socket) => this.#port.beginHandshake(socket, this.#tls),
      end: (handshake, socket) => {
        this.#port.endHandshake(handshake)
        // Not if its certificate was verified, or was not, by rules that are none any more.
        const isJudged = handshake.rules.trust === this.#tls.trust
        const connection = isJudged ? this.#admit(socket, handshake.socket) : undefined
        if (connection === undefined) socket.destroy()
        else stack.speak(socket, connection)
      },
      fail: ({ socket }, { code }) => {
        if (code === 'ERR_SSL_HTTP_REQUEST') socket.end(PLAIN_HTTP)
      },
    })
  }

  /** @param ticketKeys what sessions are resumed by. @throws the errors of listen(2) */
  async listen(address: Address, ticketKeys: Buffer): Promise<AddressInfo> {
    const bound = await this.#port.listen(address)
    // Now and not before: a worker of a cluster has just been given those that the first worker began with.
    this.#acceptor.useTicketKeys(ticketKeys)
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
    this.#acceptor.use(tls, ticketKeys)
    if (isTrustChanged) for (const connection of this.#port.connections) connection.drain()
    return true
  }

  /** From now on sessions are resumed by these keys, and by no others. */
  useTicketKeys(ticketKeys: Buffer): void {
    this.#acceptor.useTicketKeys(ticketKeys)
  }

  /** Accepts no more. @param grace milliseconds for requests that run @param isShared as for `Port` */
  close(grace: number, isShared: boolean): Promise<void> {
    return this.#port.close(grace, isShared)
  }

  /** The connection of a client that may send requests. */
  #admit(socket: TLSSocket, tcp: Socket): Connection | undefined {
    const certificate = socket.getPeerX509Certificate()
    const state = this.#options.state()
    if (certificate === undefined && !state.admitsAnonymous) return undefined
    const peer = certificate && peerOf(certificate.raw)
    if (this.#tls.verify && certificate !== undefined) {
      const fault = this.#fault(socket, peer)
      if (fault !== undefined) {
        state.log.write('WARN', `client certificate refused: ${fault}`, {
          'req.ip': tcp.remoteAddress,
          'req.identity': peer?.identity,
        })
        return undefined
      }
    }
    return this.#track(socket, tcp, peer)
  }

  #fault(socket: TLSSocket, peer: Peer | undefined): string | undefined {
    // On a resumed session this is what was found when it began, so the dates are looked at again below.
    if (!socket.authorized) return String(socket.authorizationError)
    return peer && certificateFault(peer, Date.now())
  }

  #track(socket: TLSSocket, tcp: Socket, peer: Peer | undefined): Connection {
    const connection = this.#port.track(socket, tcp.remoteAddress, peer)
    if (this.#tls.verify && peer) {
      const forget = whenPast(peer.notAfter, () => connection.drain())
      socket.on('close', forget)
    }
    return connection
  }
}
