/** A service of others, played by a test: HTTP or HTTPS on a free port, with faults on demand. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

import type { Owner } from './server.ts'

export interface FakeRequest {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface FakeAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON. */
  readonly body?: unknown
}

/**
 * What happens to a request instead of its answer: never an answer, a broken connection, another answer; `lost`: it
 * has its effect, then the connection breaks; `half`: amid the answer.
 */
export type Fault = 'hang' | 'reset' | 'lost' | 'half' | FakeAnswer

export type Handler = (request: FakeRequest) => FakeAnswer | Promise<FakeAnswer>

export class FakeHttp {
  readonly port: number
  readonly url: string
  readonly requests: FakeRequest[] = []
  /** One for each of the next requests. */
  faults: Fault[] = []
  /** For all requests, once the queue of faults is empty. */
  fault: Fault | undefined
  /** For one request, once the queue is empty. */
  choose: (request: FakeRequest) => Fault | undefined = () => undefined
  readonly #sockets = new Set<Socket>()
  readonly #handle: Handler
  /** What was wrong with requests. */
  readonly #complaints: unknown[] = []

  private constructor(url: string, port: number, handle: Handler) {
    this.url = url
    this.port = port
    this.#handle = handle
  }

  /** @param handle throws where a request is not as it must be: then the owner's end fails, too */
  static async start(
    t: Owner,
    handle: Handler,
    tls?: { readonly key: string; readonly cert: string },
  ): Promise<FakeHttp> {
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      void fake.#answer(request, response)
    const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const scheme = tls === undefined ? 'http' : 'https'
    const fake: FakeHttp = new FakeHttp(`${scheme}://127.0.0.1:${port}`, port, handle)
    server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      fake.#sockets.add(socket)
      socket.on('close', () => fake.#sockets.delete(socket))
    })
    t.after(async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
      if (fake.#complaints.length > 0) throw fake.#complaints[0]
    })
    return fake
  }

  /** Connections that clients have open. */
  get connections(): number {
    return this.#sockets.size
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    incoming.on('error', () => {})
    response.on('error', () => {})
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    await once(incoming, 'end')
    const request: FakeRequest = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString(),
    }
    this.requests.push(request)
    const fault = this.faults.shift() ?? this.choose(request) ?? this.fault
    if (fault === 'hang') return
    if (fault === 'reset') return void incoming.socket.destroy()
    let answer = typeof fault === 'object' ? fault : undefined
    try {
      answer ??= await this.#handle(request)
    } catch (error) {
      this.#complaints.push(error)
      answer = { status: 400, body: { message: String(error) } }
    }
    if (fault === 'lost') return void incoming.socket.destroy()
    const { status, headers = {}, body } = answer
    const isText = typeof body === 'string' || body === undefined
    const text = isText ? (body ?? '') : JSON.stringify(body)
    response.writeHead(status, {
      ...(!isText && { 'content-type': 'application/json' }),
      ...(status !== 204 && { 'content-length': Buffer.byteLength(text) }),
      ...headers,
    })
    if (fault !== 'half') return void response.end(text)
    response.write(text.slice(0, -1))
    setTimeout(() => response.destroy(), 10)
  }
}
