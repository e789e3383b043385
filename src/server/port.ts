/**
 * A port and who is connected to it, in a TLS handshake or after it. It begins and ends in the same way whoever may connect:
 * that is the listeners' to say.
 */

import type { AddressInfo, Server, Socket } from 'node:net'

import type { Peer } from '../auth/peer.ts'
import type { Address } from '../fields.ts'
import { Connection } from './connection.ts'
import { endPolitely } from './stack.ts'

/** A TCP connection whose TLS handshake has not ended. */
export interface Handshake<Rules> {
  readonly socket: Socket
  /** Under which it goes on, whatever comes meanwhile. */
  readonly rules: Rules
}

/** @typeParam Rules what is noted when a handshake begins */
export class Port<Rules> {
  readonly #server: Server
  readonly #connections = new Map<Socket, Connection>()
  readonly #handshakes = new Set<Handshake<Rules>>()
  #onEmpty = (): void => {}

  constructor(server: Server) {
    this.#server = server
  }

  get connections(): Iterable<Connection> {
    return this.#connections.values()
  }

  /** @throws the errors of listen(2) */
  async listen({ host, port }: Address): Promise<AddressInfo> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // Without a host, every address of the machine, over IPv6 and IPv4.
      server.listen({ host: host === '' ? '::' : host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    return server.address() as AddressInfo
  }

  /** A TCP connection is there. */
  beginHandshake(socket: Socket, rules: Rules): Handshake<Rules> {
    const handshake = { socket, rules }
    this.#handshakes.add(handshake)
    socket.on('close', () => this.#handshakes.delete(handshake))
    return handshake
  }

  /** It was successful. */
  endHandshake(handshake: Handshake<Rules>): void {
    this.#handshakes.delete(handshake)
  }

  /** Requests may come on it from now on. @param ip the client's */
  track(socket: Socket, ip: string | undefined, peer?: Peer): Connection {
    const connection = new Connection(ip ?? '', peer, () => endPolitely(socket, () => socket.end()))
    this.#connections.set(socket, connection)
    socket.on('close', () => {
      this.#connections.delete(socket)
      if (this.#connections.size === 0) this.#onEmpty()
    })
    socket.on('error', () => socket.destroy())
    return connection
  }

  /**
   * Accepts no more; idle connections end at once, others with their last request, at most `grace` ms from now.
   *
   * @param isShared with other processes: who comes meanwhile is closed, as long as there are connections. Node's cluster keeps a connection
   *   that was on its way to a process that listens no more, until there is another one or the primary ends.
   */
  async close(grace: number, isShared = false): Promise<void> {
    if (isShared) this.#server.on('connection', (socket: Socket) => socket.destroy())
    const closed = isShared ? this.#closeWhenEmpty() : this.#closeNow()
    for (const { socket } of this.#handshakes) socket.destroy()
    for (const connection of this.#connections.values()) connection.drain()
    const timer = setTimeout(() => {
      for (const socket of this.#connections.keys()) socket.destroy()
    }, grace)
    await closed
    clearTimeout(timer)
  }

  async #closeWhenEmpty(): Promise<void> {
    if (this.#connections.size > 0) await new Promise<void>((resolve) => (this.#onEmpty = resolve))
    await this.#closeNow()
  }

  #closeNow(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}
