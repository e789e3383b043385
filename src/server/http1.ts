/** HTTP/1.1 by Node's classes: the only file that knows them. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Reply } from '../api/route.ts'
import type { Follower } from '../telemetry/stream.ts'
import type { Connection } from './connection.ts'
import { Exchange, type Events, FOLLOWER_BACKLOG, lengthOf, nextOf, valuesOf } from './exchange.ts'
import type { State } from './state.ts'

export class Http1Exchange extends Exchange {
  readonly hasNoBody: boolean
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  /** The client waits for `100 Continue` before it sends the body. */
  readonly #expectsContinue: boolean

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    connection: Connection,
    state: State,
    events: Events,
  ) {
    const announced = lengthOf(request.headers['content-length'])
    super(request.method ?? '', request.url ?? '', announced, connection, state, events)
    this.#request = request
    this.#response = response
    this.#expectsContinue = expectsContinue
    this.hasNoBody = request.headers['transfer-encoding'] === undefined && !this.announced
    response.on('close', () => this.abort())
  }

  override headerValues(name: string): readonly string[] {
    return valuesOf(this.#request.rawHeaders, name)
  }

  send({ status, type, body, headers }: Reply): void {
    const response = this.#response
    const length = body === undefined ? 0 : Buffer.byteLength(body)
    const fields: string[] = ['Content-Length', String(length)]
    if (type !== undefined) fields.push('Content-Type', type)
    for (const name in headers) fields.push(name, headers[name] ?? '')
    if (status === 408 || this.connection.isDraining) fields.push('Connection', 'close')
    response.writeHead(status, fields)
    // As a string, head and body leave in one piece.
    response.end(body)
    const request = this.#request
    if (!this.hasWholeBody && !request.complete) this.drop(request, () => request.destroy())
  }

  open({ status, type, headers }: Reply, onEnd: () => void): Follower {
    const response = this.#response
    response.writeHead(status, { 'Content-Type': type, ...headers })
    response.flushHeaders()
    response.on('close', onEnd)
    return {
      // One that was ended may still have to send what it was told before.
      write: (line) =>
        !response.writableEnded &&
        !response.destroyed &&
        (response.write(line) || response.writableLength < FOLLOWER_BACKLOG),
      end: () => {
        if (response.writableLength < FOLLOWER_BACKLOG) response.end()
        else response.destroy()
      },
    }
  }

  async drained(): Promise<void> {
    if (this.#response.writableNeedDrain) await nextOf(this.#response, 'drain', 'close')
  }

  cut(): void {
    this.#response.destroy()
  }

  protected startReceiving(): void {
    this.#request.on('data', (chunk: Buffer) => this.take(chunk))
    if (this.announced === undefined) this.#request.on('end', () => this.complete())
    if (this.#expectsContinue) this.#response.writeContinue()
  }
}
