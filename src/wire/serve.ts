/**
 * HTTP/1.1 and HTTP/2 on a connection, for what this server needs of them. This folder knows bytes, not KES:
 * `Serve` is told of requests whose heads have come, and answers them.
 */

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

import { unwatch, watch } from './clock.ts'
import { Http1Session } from './http1-session.ts'
import { Http2Session } from './http2-session.ts'
import type { Serve } from './request.ts'

/** What whoever owns the connection may do with it. */
export interface Wire {
  /** Begins no request any more, and ends the connection with the last one. */
  drain(): void
}

/** Speaks the protocol that was agreed on, HTTP/1.1 without TLS, from now on and until the socket closes. Errors of the socket are the caller's. */
export function speak(socket: Socket, serve: Serve): Wire {
  const isHttp2 = socket instanceof TLSSocket && socket.alpnProtocol === 'h2'
  const Session = isHttp2 ? Http2Session : Http1Session
  const session = new Session(socket, serve)
  watch(session)
  socket.on('data', (chunk: Buffer) => session.receive(chunk))
  shortCut(socket, session)
  socket.on('drain', () => session.drained())
  socket.on('end', () => session.ended())
  socket.on('close', () => {
    unwatch(session)
    session.closed()
  })
  return session
}

/**
 * Bytes that come while nothing waits go to the session at once, and not by way of the stream's buffer, its event and a look
 * whether there is more, in a tick of its own: that is a twentieth of a request. Whatever is not the usual case, or comes in another way
 * from Node some day, goes on through the event.
 */
function shortCut(socket: Socket, session: { receive(chunk: Buffer): void }): void {
  const push = socket.push.bind(socket)
  socket.push = (chunk: Buffer | null, encoding?: BufferEncoding): boolean => {
    const isUsual = chunk !== null && socket.readableFlowing === true && socket.readableLength === 0
    if (!isUsual) return push(chunk, encoding)
    session.receive(chunk)
    return true
  }
}
