/**
 * TLS connections without a server of Node's around each, where whose certificate it is matters and not who signed it: Node's server
 * makes an error, with a stack, of each certificate that signs itself, has a timer for each handshake, and does not say
 * which TCP connection it was on.
 */

import { createServer, type Server as NetServer, type Socket } from 'node:net'
import {
  createSecureContext,
  createServer as createTlsServer,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls'

import { coarseNow, type Ticking, unwatch, watch } from '../wire/clock.ts'
import { HANDSHAKE_TIMEOUT } from '../wire/limits.ts'
import { type Acceptor, NodeAcceptor, type Terms, type Watcher } from './acceptor.ts'

// Half-open: who has said all that he wants to say still gets his answers.
export const TCP_OPTIONS = { noDelay: true, allowHalfOpen: true }

export class LeanAcceptor implements Acceptor {
  readonly server: NetServer = createServer(TCP_OPTIONS)
  #terms: Terms
  #ticketKeys: Buffer | undefined
  /** Made when there are ticket keys, or somebody connects: a start has no time for those that nobody uses. */
  #options: TLSSocketOptions | undefined
  /** Node says whether a certificate is good, but only to a server of its own. */
  #verifying: NodeAcceptor | undefined

  constructor(terms: Terms) {
    this.#terms = terms
  }

  watch<Handshake>(watcher: Watcher<Handshake>): void {
    this.server.on('connection', (socket: Socket) => {
      if (!this.#terms.verify) {
        this.#options ??= socketOptions(this.#terms, this.#ticketKeys)
        new Attempt(socket, watcher).start(this.#options)
      } else {
        this.#verifying ??= this.#startVerifying(watcher)
        this.#verifying.server.emit('connection', socket)
      }
    })
  }

  use(terms: Terms, ticketKeys?: Buffer): void {
    this.#terms = terms
    this.#ticketKeys = ticketKeys
    this.#options = socketOptions(terms, ticketKeys)
    this.#verifying?.use(terms, ticketKeys)
  }

  useTicketKeys(ticketKeys: Buffer): void {
    this.use(this.#terms, ticketKeys)
  }

  #startVerifying<Handshake>(watcher: Watcher<Handshake>): NodeAcceptor {
    const server = createTlsServer({ ...this.#terms.options, ticketKeys: this.#ticketKeys })
    const acceptor = new NodeAcceptor(server)
    acceptor.watch(watcher)
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    return acceptor
  }
}

/** One handshake. */
class Attempt<Handshake> implements Ticking {
  readonly #tcp: Socket
  readonly #watcher: Watcher<Handshake>
  readonly #handshake: Handshake
  readonly #startedAt: number
  #isOver = false

  constructor(tcp: Socket, watcher: Watcher<Handshake>) {
    this.#tcp = tcp
    this.#watcher = watcher
    this.#handshake = watcher.begin(tcp)
    watch(this)
    this.#startedAt = coarseNow()
  }

  start(options: TLSSocketOptions): void {
    const socket = new TLSSocket(this.#tcp, options)
    socket.on('secure', () => this.#succeed(socket))
    // Without a server of Node's, what OpenSSL finds wrong comes by a name of Node's own, before the handshake's end and after it.
    for (const event of ['error', '_tlsError']) {
      socket.on(event, (error: Error) => this.#fail(socket, error))
    }
    socket.on('close', () => this.#finish())
  }

  tick(now: number): void {
    if (now - this.#startedAt >= HANDSHAKE_TIMEOUT) this.#tcp.destroy()
  }

  #succeed(socket: TLSSocket): void {
    if (this.#finish() && !socket.destroyed) this.#watcher.end(this.#handshake, socket)
  }

  #fail(socket: TLSSocket, error: Error): void {
    if (this.#finish()) this.#watcher.fail(this.#handshake, error)
    socket.destroy()
  }

  /** @returns whether it was not over */
  #finish(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    unwatch(this)
    return true
  }
}

function socketOptions({ options }: Terms, ticketKeys: Buffer | undefined): TLSSocketOptions {
  const { requestCert, ALPNProtocols } = options
  return {
    isServer: true,
    requestCert,
    rejectUnauthorized: false,
    ALPNProtocols,
    // As a server of Node's would have it.
    secureContext: createSecureContext({ ...options, honorCipherOrder: true, ticketKeys }),
  }
}
