/** HTTP by Node's classes: an `https.Server` owns the port, and with it Node's time limits for slow heads. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server as HttpsServer } from 'node:https'
import type { TLSSocket } from 'node:tls'

import { HEAD_TIMEOUT, HEADER_LIMIT, IDLE_TIMEOUT, REQUEST_TIMEOUT } from '../wire/limits.ts'
import type { Connection } from './connection.ts'
import { Http1Exchange } from './http1.ts'
import { Http2Exchange, refuseStream, serveHttp2 } from './http2.ts'
import { endPolitely, type Stack, type StackOptions } from './stack.ts'

export class NodeStack implements Stack {
  readonly server: HttpsServer
  readonly #options: StackOptions
  readonly #connections = new WeakMap<object, Connection>()
  readonly #speakHttp1: (socket: TLSSocket) => void

  constructor(options: StackOptions) {
    this.#options = options
    this.server = createServer({
      ...options.tls,
      noDelay: true,
      maxHeaderSize: HEADER_LIMIT,
      headersTimeout: HEAD_TIMEOUT,
      requestTimeout: REQUEST_TIMEOUT,
      keepAliveTimeout: IDLE_TIMEOUT,
      connectionsCheckingInterval: 2000,
    })
    // Node's own handler would speak HTTP/1.1 at once. The listener looks at the certificate first.
    const [speakHttp1] = this.server.listeners('secureConnection') as ((
      socket: TLSSocket,
    ) => void)[]
    if (speakHttp1 === undefined) throw new Error('bug: https.Server has no handler to take off')
    this.#speakHttp1 = speakHttp1
    this.server.removeAllListeners('secureConnection')
    this.server.on('request', (request, response) => this.#onRequest(request, response, false))
    this.server.on('checkContinue', (request, response) => this.#onRequest(request, response, true))
  }

  speak(socket: TLSSocket, connection: Connection): void {
    if (socket.alpnProtocol === 'h2') return this.#speakHttp2(socket, connection)
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
