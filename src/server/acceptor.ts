/** Makes TLS connections of TCP connections, and tells what becomes of each handshake. */

import type { Server as NetServer, Socket } from 'node:net'
import type { Server as TlsServer, TLSSocket } from 'node:tls'

import type { Tls } from './tls.ts'

/** What handshakes go by. */
export type Terms = Pick<Tls, 'options' | 'verify'>

/** Who is told of handshakes. @typeParam Handshake what is noted from the beginning to the end of one */
export interface Watcher<Handshake> {
  /** A TCP connection is there, and nothing was read from it. */
  begin(socket: Socket): Handshake
  /** Requests may come. Errors of the socket are the watcher's from now on. */
  end(handshake: Handshake, socket: TLSSocket): void
  /** Called before the TCP connection is closed. */
  fail(handshake: Handshake, error: NodeJS.ErrnoException): void
}

export interface Acceptor {
  /** Accepts the TCP connections; not listening yet. */
  readonly server: NetServer
  /** To be called once, before the server listens. */
  watch<Handshake>(watcher: Watcher<Handshake>): void
  /** Handshakes that begin now go by it. Without keys, sessions are not resumed any more. */
  use(terms: Terms, ticketKeys?: Buffer): void
  /** Sessions are resumed by these keys, and by no others. */
  useTicketKeys(ticketKeys: Buffer): void
}

/** By a server of Node's, which owns the port, or is given connections one by one. */
export class NodeAcceptor implements Acceptor {
  readonly server: TlsServer

  /** @param server without listeners for handshakes that go well */
  constructor(server: TlsServer) {
    this.server = server
  }

  watch<Handshake>(watcher: Watcher<Handshake>): void {
    const { server } = this
    // Node does not say which TCP connection a TLS socket is on: it is told by the client's address and port.
    const handshakes = new Map<string, Handshake>()
    server.prependListener('connection', (socket: Socket) => {
      const key = remote(socket)
      handshakes.set(key, watcher.begin(socket))
      socket.once('close', () => handshakes.delete(key))
    })
    server.on('secureConnection', (socket: TLSSocket) => {
      const key = remote(socket)
      const handshake = handshakes.get(key)
      handshakes.delete(key)
      if (handshake === undefined) socket.destroy()
      else watcher.end(handshake, socket)
    })
    server.prependListener('tlsClientError', (error: Error, socket: TLSSocket) => {
      const handshake = handshakes.get(remote(socket))
      if (handshake !== undefined) watcher.fail(handshake, error)
    })
  }

  use({ options }: Terms, ticketKeys?: Buffer): void {
    this.server.setSecureContext({ ...options, ...(ticketKeys && { ticketKeys }) })
  }

  useTicketKeys(ticketKeys: Buffer): void {
    this.server.setTicketKeys(ticketKeys)
  }
}

function remote({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}
