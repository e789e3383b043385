/**
 * The TLS port: who may connect, and who then speaks HTTP/1.1 or HTTP/2 (kes-api.md, "Connections").
 * Whoever shows no certificate is cut off right after the handshake, before a byte of a request is read, unless some
 * route can do without.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server as HttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'

import { certificateFault, type Peer, peerOf } from '../auth/peer.ts'
import { Connection } from './connection.ts'
import { HEADER_LIMIT } from './exchange.ts'
import { whenPast } from './expiry.ts'
import { Http1Exchange } from './http1.ts'
import { Http2Exchange, refuseStream, serveHttp2 } from './http2.ts'
import type { Pipeline } from './pipeline.ts'
import type { State } from './state.ts'
import { newTicketKeys, type Tls } from './tls.ts'

/** Longer than the 90 s after which Go's clients drop an idle connection: the client shall be first. */
const IDLE = 120_000
const HEAD_TIMEOUT = 10_000
const REQUEST_TIMEOUT = 60_000
/** How long a client may take to end its side of a connection that we have ended. */
const LINGER = 2000
const TICKET_LIFETIME = 3_600_000

/** Word for word Go's. */
const PLAIN_HTTP =
  'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'

export interface ListenerOptions {
  readonly tls: Tls
  /** What requests that begin now are served by. */
  readonly state: () => State
  readonly pipeline: Pipeline
}

/** A TCP connection whose TLS handshake has not ended. */
interface Handshake {
  readonly socket: Socket
  /** Under whose rules it goes on, whatever comes meanwhile. */
  readonly tls: Tls
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: HttpsServer
  readonly #connections = new Map<TLSSocket, Connection>()
  /** By address and port of the client. */
  readonly #handshakes = new Map<string, Handshake>()
  #tls: Tls
  readonly #ticketTimer: NodeJS.Timeout

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#tls = options.tls
    this.#server = createServer({
      ...options.tls.options,
      ticketKeys: newTicketKeys(),
      noDelay: true,
      maxHeaderSize: HEADER_LIMIT,
      headersTimeout: HEAD_TIMEOUT,
      requestTimeout: REQUEST_TIMEOUT,
      keepAliveTimeout: IDLE,
      connectionsCheckingInterval: 2000,
    })
    // Node's own handler would speak HTTP/1.1 at once. Ours looks at the certificate first.
    const [speakHttp1] = this.#server.listeners('secureConnection') as ((
      socket: TLSSocket,
    ) => void)[]
    this.#server.removeAllListeners('secureConnection')
    this.#server.on('secureConnection', (socket: TLSSocket) => {
      const handshake = this.#handshakes.get(remote(socket))
      this.#handshakes.delete(remote(socket))
      // Not if its certificate was verified, or was not, by rules that are none any more.
      const isJudged = handshake?.tls.trust === this.#tls.trust
      const connection = isJudged ? this.#admit(socket) : undefined
      if (connection === undefined) socket.destroy()
      else if (socket.alpnProtocol === 'h2') this.#speakHttp2(socket, connection)
      else speakHttp1?.call(this.#server, socket)
    })
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false))
    this.#server.on('checkContinue', (request, response) =>
      this.#onRequest(request, response, true),
    )
    this.#answerPlainHttp()
    this.#ticketTimer = setInterval(
      () => this.#server.setTicketKeys(newTicketKeys()),
      TICKET_LIFETIME,
    ).unref()
  }

  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return this.#server.address() as AddressInfo
  }

  /**
   * Handshakes that begin now go by it. Connections go on, unless it is decided in another way who is let in:
   * then they end with their running requests, since nobody has looked at their certificates in that way.
   *
   * @returns whether it is any different
   */
  use(tls: Tls): boolean {
    if (isDeepStrictEqual(tls, this.#tls)) return false
    const isTrustChanged = tls.trust !== this.#tls.trust
    this.#tls = tls
    // Without new ticket keys Node would go back to those of the start.
    this.#server.setSecureContext({ ...tls.options, ticketKeys: newTicketKeys() })
    if (isTrustChanged) for (const connection of this.#connections.values()) connection.drain()
    return true
  }

  /** Accepts no more; idle connections end at once, others with their last request, at most `grace` ms from now. */
  async close(grace: number): Promise<void> {
    clearInterval(this.#ticketTimer)
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const { socket } of this.#handshakes.values()) socket.destroy()
    for (const connection of this.#connections.values()) connection.drain()
    const timer = setTimeout(() => {
      for (const socket of this.#connections.keys()) socket.destroy()
    }, grace)
    await closed
    clearTimeout(timer)
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
    const connection = new Connection(socket.remoteAddress ?? '', peer, () =>
      end(socket, () => socket.end()),
    )
    this.#connections.set(socket, connection)
    const forget =
      this.#tls.verify && peer ? whenPast(peer.notAfter, () => connection.drain()) : undefined
    socket.on('close', () => {
      forget?.()
      this.#connections.delete(socket)
    })
    socket.on('error', () => socket.destroy())
    return connection
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket as TLSSocket)
    if (connection === undefined) throw new Error('bug: a request on an unknown connection')
    // Sent before the client knew of the end. It gets no answer, so it can ask again on another connection.
    if (connection.isDraining) return
    const { pipeline, state } = this.#options
    pipeline.begin(
      new Http1Exchange(request, response, expectsContinue, connection, state(), pipeline),
    )
  }

  #speakHttp2(socket: TLSSocket, connection: Connection): void {
    const { pipeline, state } = this.#options
    const session = serveHttp2(socket, IDLE, (stream, headers, flags) => {
      if (connection.isDraining) return refuseStream(stream)
      pipeline.begin(new Http2Exchange(stream, headers, flags, connection, state(), pipeline))
    })
    connection.onDrain(() => session.close())
    connection.onClose(() => end(socket, () => session.close()))
    session.on('timeout', () => {
      // Followers of a log may hear nothing for long; who asked for nothing has no such reason.
      if (connection.active === 0) session.destroy()
    })
  }

  /** Tells a client that speaks no TLS what is wrong, as Go's server does. */
  #answerPlainHttp(): void {
    this.#server.prependListener('connection', (socket: Socket) => {
      const key = remote(socket)
      this.#handshakes.set(key, { socket, tls: this.#tls })
      socket.once('close', () => this.#handshakes.delete(key))
    })
    this.#server.prependListener(
      'tlsClientError',
      (error: NodeJS.ErrnoException, socket: TLSSocket) => {
        if (error.code === 'ERR_SSL_HTTP_REQUEST')
          this.#handshakes.get(remote(socket))?.socket.end(PLAIN_HTTP)
      },
    )
  }
}

function remote(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${socket.remoteAddress}:${socket.remotePort}`
}

/** Politely; by force when the client has got everything and does not follow. */
function end(socket: TLSSocket, politely: () => void): void {
  politely()
  if (socket.destroyed) return
  const timer = setInterval(() => {
    if (socket.writableLength === 0) socket.destroy()
  }, LINGER)
  socket.on('close', () => clearInterval(timer))
}
