/** HTTP/1.1 by Node's classes: a pool of connections to one server. Loaded with the first call that needs it. */

import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import type { TLSSocket } from 'node:tls'

import { connectionError } from './failures.ts'
import type { Address } from './options.ts'
import { Places } from './places.ts'
import { onAbort, Scope } from './scope.ts'
import type { Connection, HttpAnswer, HttpRequest, SendOptions } from './transport.ts'

/** Connections at a time; further requests wait. */
const MAX_SOCKETS = 64
/** As in http2.ts. */
const IDLE = 60_000

/** @throws as Connector.connect */
type Connect = (signal: AbortSignal) => Promise<TLSSocket>

export class Http1Pool implements Connection {
  isUsable = true
  onClose = (): void => {}
  readonly #address: Address
  readonly #connect: Connect
  readonly #life = new Scope()
  readonly #agent: PoolAgent
  /** Node's Agent does not count connections that are still being made. */
  readonly #places = new Places(() => MAX_SOCKETS)
  /** All that are not closed yet. */
  readonly #sockets = new Map<TLSSocket, Promise<void>>()

  /** @param first a connection that exists already */
  constructor(address: Address, connect: Connect, first: TLSSocket) {
    this.#address = address
    this.#connect = async (signal) => this.#keep(await connect(signal))
    this.#agent = new PoolAgent(() => this.#connect(this.#life.signal), this.#keep(first))
  }

  async send(request: HttpRequest, { signal, careful }: SendOptions): Promise<HttpAnswer> {
    await this.#places.take(signal)
    let socket: TLSSocket | undefined
    try {
      // One from the pool may be closed by the server at this very moment, and then nobody knows what it has read.
      if (careful) socket = await this.#connect(signal)
      return this.#exchange(this.#request(request, socket), signal)
    } catch (error) {
      socket?.destroy()
      this.#places.leave()
      throw error
    }
  }

  async close(): Promise<void> {
    this.isUsable = false
    this.#life.end(connectionError(undefined, this.#address, 'unsent'))
    for (const socket of this.#sockets.keys()) socket.destroy()
    this.#agent.destroy()
    await Promise.all(this.#sockets.values())
    this.onClose()
  }

  #keep(socket: TLSSocket): TLSSocket {
    const closed = new Promise<void>((resolve) => {
      socket.on('close', () => {
        this.#sockets.delete(socket)
        resolve()
      })
    })
    this.#sockets.set(socket, closed)
    return socket
  }

  /** @throws TypeError for headers that cannot be sent */
  #request({ method, path, headers, body }: HttpRequest, socket?: TLSSocket): ClientRequest {
    const { host, port } = this.#address
    const via = socket === undefined ? { agent: this.#agent } : { createConnection: () => socket }
    const request = httpsRequest({ ...via, host, port, method, path, headers })
    request.end(body)
    return request
  }

  #exchange(request: ClientRequest, signal: AbortSignal): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const phase = () => {
        if (request.socket === null) return 'unsent'
        return request.reusedSocket ? 'sent' : 'first'
      }
      request.on('response', (answer: IncomingMessage) => {
        answer.on('error', () => {})
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: answer,
          isWhole: () => answer.complete,
        })
      })
      const forget = onAbort(signal, () => {
        reject(signal.reason as Error)
        request.destroy()
      })
      request.on('error', (error) => reject(connectionError(error, this.#address, phase())))
      request.on('close', () => {
        forget()
        this.#places.leave()
        reject(connectionError(undefined, this.#address, phase()))
      })
    })
  }
}

class PoolAgent extends Agent {
  readonly #connect: () => Promise<TLSSocket>
  #first: TLSSocket | undefined

  constructor(connect: () => Promise<TLSSocket>, first: TLSSocket) {
    super({ keepAlive: true, timeout: IDLE, scheduling: 'lifo' })
    this.#connect = connect
    this.#first = first
    first.unref()
  }

  /** Called by Node's Agent when the pool has no idle connection. */
  createConnection(
    _options: unknown,
    created: (error: Error | null, socket?: TLSSocket) => void,
  ): TLSSocket | undefined {
    const first = this.#first
    this.#first = undefined
    if (first !== undefined && !first.destroyed) return first.ref()
    this.#connect().then(
      (socket) => created(null, socket),
      (error: Error) => created(error),
    )
    return undefined
  }
}
