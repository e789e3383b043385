/**
 * A port whose clients show no certificates: they are known by what they sign. Plain HTTP on a loopback address, else TLS.
 */

import { constants } from 'node:crypto'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { Server as TlsServer, TlsOptions } from 'node:tls'

import type { Address } from '../fields.ts'
import { Connection } from './connection.ts'
import { endPolitely, type Stack, type StackOptions } from './stack.ts'
import type { Stacks } from './stacks.ts'
import type { Tls } from './tls.ts'

/** Handshakes and connections at a time. */
const MAX_CONNECTIONS = 4096

export interface OpenListenerOptions extends Omit<StackOptions, 'tls'> {
  /** Undefined: plain HTTP. */
  readonly tls: Tls | undefined
  /** The implementations of HTTP. */
  readonly stacks: Stacks
}

export class OpenListener {
  readonly #server: NetServer
  readonly #secured: TlsServer | undefined
  readonly #connections = new Map<Socket, Connection>()
  /** Every TCP connection, those in their handshake, too. */
  readonly #sockets = new Set<Socket>()

  constructor({ tls, stacks, ...options }: OpenListenerOptions) {
    let stack: Stack<NetServer>
    if (tls === undefined) {
      stack = new stacks.Plain(options)
    } else {
      const secured = new stacks.Secured({ ...options, tls: openTls(tls) })
      this.#secured = secured.server
      stack = secured
    }
    this.#server = stack.server
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.prependListener('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
      stack.speak(socket, this.#track(socket)),
    )
  }

  async listen({ host, port }: Address): Promise<AddressInfo> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: host === '' ? '::' : host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    return server.address() as AddressInfo
  }

  /** Handshakes that begin now show these certificates. */
  use(tls: Tls): void {
    this.#secured?.setSecureContext(openTls(tls))
  }

  /** Accepts no more; idle connections end at once, others with their last request, at most `grace` ms from now. */
  async close(grace: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const isPlain = this.#secured === undefined
    for (const socket of this.#sockets) {
      const connection = this.#connections.get(socket)
      // Over TLS these are the sockets below: the connections are drained by themselves.
      if (isPlain && connection === undefined) socket.destroy()
    }
    for (const connection of this.#connections.values()) connection.drain()
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, grace)
    await closed
    clearTimeout(timer)
  }

  #track(socket: Socket): Connection {
    const connection = new Connection(socket.remoteAddress ?? '', undefined, () =>
      endPolitely(socket, () => socket.end()),
    )
    this.#connections.set(socket, connection)
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    return connection
  }
}

/** The server's certificate, and nothing asked of the client. */
function openTls({ options }: Tls): TlsOptions {
  const { ca: _, sessionIdContext: __, ...rest } = options
  // Without resumption, nothing but the connection itself can decrypt it.
  return { ...rest, requestCert: false, secureOptions: constants.SSL_OP_NO_TICKET }
}
