/** An implementation of HTTP. The listener decides who may connect; a stack speaks with them. */

import type { Server as NetServer, Socket } from 'node:net'

import { LINGER } from '../wire/limits.ts'
import type { Acceptor, Terms } from './acceptor.ts'
import type { Connection } from './connection.ts'
import type { Pipeline } from './pipeline.ts'
import type { State } from './state.ts'

export interface StackOptions {
  readonly tls: Terms
  /** What requests that begin now are served by. */
  readonly state: () => State
  readonly pipeline: Pipeline
}

export interface Stack {
  /** Serves a connection, from the end of its handshake on. Errors of the socket are the listener's. */
  speak(socket: Socket, connection: Connection): void
}

export interface SecuredStack extends Stack {
  readonly acceptor: Acceptor
}

export interface PlainStack extends Stack {
  /** Not listening yet, and without a listener for `connection`. */
  readonly server: NetServer
}

/** Ends a connection politely; by force when the client has got everything and does not follow. */
export function endPolitely(socket: Socket, politely: () => void): void {
  politely()
  if (socket.destroyed) return
  const timer = setInterval(() => {
    if (socket.writableLength === 0) socket.destroy()
  }, LINGER)
  socket.on('close', () => clearInterval(timer))
}
