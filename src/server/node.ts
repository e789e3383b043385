/** HTTP by Node's classes: an `https.Server` or `http.Server` owns the port, and with it Node's time limits for slow heads. */

import {
  createServer as createPlainServer,
  type IncomingMessage,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer } from 'node:https'
import type { Server as NetServer, Socket } from 'node:net'
import { type Server as TlsServer, TLSSocket } from 'node:tls'

import { HEAD_TIMEOUT, HEADER_LIMIT, IDLE_TIMEOUT, REQUEST_TIMEOUT } from '../wire/limits.ts'
import { NodeAcceptor } from './acceptor.ts'
import type { Connection } from './connection.ts'
import { Http1Exchange } from './http1.ts'
import { Http2Exchange, refuseStream, serveHttp2 } from './http2.ts'
import { endPolitely, type PlainStack, type SecuredStack, type StackOptions } from './stack.ts'

const OWN: ServerOptions = {
  noDelay: true,
  maxHeaderSize: HEADER_LIMIT,
  headersTimeout: HEAD_TIMEOUT,
  requestTimeout: REQUEST_TIMEOUT,
  keepAliveTimeout: IDLE_TIMEOUT,
  connectionsCheckingInterval: 2000,
}

abstract class Classes<Server extends NetServer> {
  readonly server: Server
  readonly #options: Omit<StackOptions, 'tls'>
  readonly #connections = new WeakMap<object, Connection>()
  readonly #speakHttp1: (socket: Socket) => void

  /** @param event that tells of connections on which the server would speak HTTP/1.1 at once: the listener looks at them first. */
  constructor(server: Server, event: string, options: Omit<StackOptions, 'tls'>) {
    this.server = server
    this.#options = options
    const [speakHttp1] = server.listeners(event) as ((socket: Socket) => void)[]
    if (speakHttp1 === undefined) throw new Error('bug: the server has no handler to take off')
    this.#speakHttp1 = speakHttp1
    server.removeAllListeners(event)
    server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#onRequest(request, response, false),
    )
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#onRequest(request, response, true),
    )
  }

  speak(socket: Socket, connection: Connection): void {
    if (socket instanceof TLSSocket && socket.alpnProtocol === 'h2')
      return this.#speakHttp2(socket, connection)
    this.#connections.set(socket, connection)
    this.#speakHttp1.call(this.server, socket)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
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
    const session = serveHttp2(socket, {
      idle: IDLE_TIMEOUT,
      // Followers of a log may hear nothing for long; who asked for nothing has no such reason.
      isBusy: () => connection.active > 0,
      onStream: (stream, headers, flags, raw) => {
        if (connection.isDraining) return refuseStream(stream)
        pipeline.begin(
          new Http2Exchange(stream, headers, flags, raw, connection, state(), pipeline),
        )
      },
    })
    connection.onDrain(() => session.close())
    connection.onClose(() => endPolitely(socket, () => session.close()))
  }
}

export class NodeStack extends Classes<TlsServer> implements SecuredStack {
  readonly acceptor: NodeAcceptor

  constructor(options: StackOptions) {
    super(createServer({ ...options.tls.options, ...OWN }), 'secureConnection', options)
    this.acceptor = new NodeAcceptor(this.server)
  }
}

/** Without TLS. */
export class PlainNodeStack extends Classes<NetServer> implements PlainStack {
  constructor(options: Omit<StackOptions, 'tls'>) {
    super(createPlainServer(OWN), 'connection', options)
  }
}
