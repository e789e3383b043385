/**
 * A port whose clients show no certificates: they are known by what they sign. Plain HTTP on a loopback address, else TLS.
 */

import { constants } from 'node:crypto'
import type { AddressInfo, Server, Socket } from 'node:net'

import type { Address } from '../fields.ts'
import type { Acceptor, Terms } from './acceptor.ts'
import { type Handshake, Port } from './port.ts'
import type { Stack, StackOptions } from './stack.ts'
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
  readonly #port: Port<undefined>
  readonly #acceptor: Acceptor | undefined

  constructor({ tls, stacks, ...options }: OpenListenerOptions) {
    if (tls === undefined) {
      const stack = new stacks.Plain(options)
      this.#port = portOf(stack.server)
      stack.server.on('connection', (socket: Socket) => this.#speak(stack, socket, socket))
      return
    }
    const stack = new stacks.Secured({ ...options, tls: openTerms(tls) })
    this.#acceptor = stack.acceptor
    this.#port = portOf(stack.acceptor.server)
    stack.acceptor.watch<Handshake<undefined>>({
      begin: (socket) => this.#port.beginHandshake(socket, undefined),
      end: (handshake, socket) => {
        this.#port.endHandshake(handshake)
        this.#speak(stack, socket, handshake.socket)
      },
      fail: () => {},
    })
  }

  /** @throws the errors of listen(2) */
  listen(address: Address): Promise<AddressInfo> {
    return this.#port.listen(address)
  }

  /** Handshakes that begin now show these certificates. */
  use(tls: Tls): void {
    this.#acceptor?.use(openTerms(tls))
  }

  /** Accepts no more. @param grace milliseconds for requests that run */
  close(grace: number): Promise<void> {
    return this.#port.close(grace)
  }

  #speak(stack: Stack, socket: Socket, tcp: Socket): void {
    stack.speak(socket, this.#port.track(socket, tcp.remoteAddress))
  }
}

function portOf(server: Server): Port<undefined> {
  server.maxConnections = MAX_CONNECTIONS
  return new Port(server)
}

/** The server's certificate, and nothing asked of the client. */
function openTerms({ options }: Tls): Terms {
  const { ca: _, sessionIdContext: __, ...rest } = options
  // Nobody has to renew keys of tickets that there are not; clients of this port come seldom.
  const own = { requestCert: false, secureOptions: constants.SSL_OP_NO_TICKET }
  return { options: { ...rest, ...own }, verify: false }
}
