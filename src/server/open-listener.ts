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
  /** TCP connections whose TLS handshake has not ended, by address and port of the client. */
  readonly #handshakes = new Map<string, Socket>()

  constructor({ tls, stacks, ...options }: OpenListenerOptions) {
    let stack: Stack<NetServer>
    if (tls === undefined) {
      stack = new stacks.Plain(options)
      stack.server.on('connection', (socket) => stack.speak(socket, this.#track(socket)))
    } else {
      const secured = new stacks.Secured({ ...options, tls: openTls(tls) })
      stack = secured
      this.#secured = secured.server
      secured.server.prependListener('connection', (socket: Socket) => this.#shakeHands(socket))
      secured.server.on('secureConnection', (socket) => {
        this.#handshakes.delete(remote(socket))
        stack.speak(socket, this.#track(socket))
      })
    }
    this.#server = stack.server
    this.#server.maxConnections = MAX_CONNECTIONS
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
    for (const socket of this.#handshakes.values()) socket.destroy()
    for (const connection of this.#connections.values()) connection.drain()
    const timer = setTimeout(() => {
      for (const socket of this.#connections.keys()) socket.destroy()
    }, grace)
    await closed
    clearTimeout(timer)
  }

  #shakeHands(socket: Socket): void {
    const key = remote(socket)
    this.#handshakes.set(key, socket)
    socket.once('close', () => this.#handshakes.delete(key))
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
  // Nobody has to renew keys of tickets that there are not; clients of this port come seldom.
  return { ...rest, requestCert: false, secureOptions: constants.SSL_OP_NO_TICKET }
}

function remote({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}
