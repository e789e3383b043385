/**
 * A port whose clients show no certificates: they are known by what they sign. Plain HTTP on a loopback address, else TLS.
 */

import { constants } from 'node:crypto'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { Server as TlsServer, TlsOptions } from 'node:tls'

import type { Address } from '../fields.ts'
import { Port } from './port.ts'
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
  readonly #secured: TlsServer | undefined

  constructor({ tls, stacks, ...options }: OpenListenerOptions) {
    const secured = tls && new stacks.Secured({ ...options, tls: openTls(tls) })
    const stack: Stack<NetServer> = secured ?? new stacks.Plain(options)
    const port = new Port<undefined>(stack.server)
    this.#port = port
    this.#secured = secured?.server
    stack.server.maxConnections = MAX_CONNECTIONS
    const speak = (socket: Socket): void => stack.speak(socket, port.track(socket))
    if (secured === undefined) stack.server.on('connection', speak)
    else {
      secured.server.prependListener('connection', (socket: Socket) =>
        port.beginHandshake(socket, undefined),
      )
      secured.server.on('secureConnection', (socket) => {
        port.endHandshake(socket)
        speak(socket)
      })
    }
  }

  /** @throws the errors of listen(2) */
  listen(address: Address): Promise<AddressInfo> {
    return this.#port.listen(address)
  }

  /** Handshakes that begin now show these certificates. */
  use(tls: Tls): void {
    this.#secured?.setSecureContext(openTls(tls))
  }

  /** Accepts no more. @param grace milliseconds for requests that run */
  close(grace: number): Promise<void> {
    return this.#port.close(grace)
  }
}

/** The server's certificate, and nothing asked of the client. */
function openTls({ options }: Tls): TlsOptions {
  const { ca: _, sessionIdContext: __, ...rest } = options
  // Nobody has to renew keys of tickets that there are not; clients of this port come seldom.
  return { ...rest, requestCert: false, secureOptions: constants.SSL_OP_NO_TICKET }
}
