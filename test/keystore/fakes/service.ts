/**
 * What the fakes of keystore services share: real HTTPS on a free loopback port, requests that are checked by the fake
 * and remembered, and the ways in which services fail.
 */

import { AssertionError } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Certificate, certificate } from '../../support/certificates.ts'
import { type Owner, tempDir } from '../../support/server.ts'

export interface FakeRequest {
  readonly method: string
  readonly path: string
  /** With its question mark; '' when there is none. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  /** As it came; '' when there is none. */
  readonly text: string
  /** The JSON value; undefined when there is no body. */
  readonly body: unknown
}

export interface FakeAnswer {
  readonly status: number
  readonly json?: unknown
  readonly text?: string
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * `error`: 500 before anything is done. `lost`: done, and the connection is reset before the answer. `reset`: before
 * anything is done. `half`: done, and the answer ends in the middle. `type`: nothing is done, the answer is a web page.
 * `hang`: no answer.
 */
export type Fault = 'error' | 'lost' | 'reset' | 'half' | 'type' | 'hang'

export interface FakeOptions {
  /** Demands a client certificate that this one signed. */
  readonly clients?: Certificate
}

export class FakeService {
  readonly url: string
  readonly port: number
  /** Path of the PEM file with the certificate. */
  readonly ca: string
  /** What was asked so far. */
  readonly requests: FakeRequest[] = []
  readonly #handle: (request: FakeRequest) => FakeAnswer
  readonly #mismatches: string[] = []
  #fault: Fault | undefined
  #times = 0
  #skip = 0
  #only = /./

  private constructor(port: number, ca: string, handle: (request: FakeRequest) => FakeAnswer) {
    this.url = `https://127.0.0.1:${port}`
    this.port = port
    this.ca = ca
    this.#handle = handle
  }

  /** @param handle may fail an assertion: then the owner's end fails, too. */
  static async start(
    t: Owner,
    handle: (request: FakeRequest) => FakeAnswer,
    { clients }: FakeOptions = {},
  ): Promise<FakeService> {
    const made = await certificate({
      // Two with one name would be taken for one another.
      subject: `fake ${randomUUID()}`,
      dns: ['keys.test'],
      ip: ['127.0.0.1'],
    })
    const ca = join(tempDir(t), 'ca.pem')
    writeFileSync(ca, made.cert)
    const server = createServer({
      key: made.key,
      cert: made.cert,
      ...(clients && { ca: clients.cert, requestCert: true }),
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const service = new FakeService((server.address() as AddressInfo).port, ca, handle)
    server.on('request', (request, response) => void service.#serve(request, response))
    t.after(() => {
      server.close()
      server.closeAllConnections()
      const [mismatch] = service.#mismatches
      if (mismatch !== undefined) throw new Error(mismatch)
    })
    return service
  }

  /** The next requests whose method and path match `only` fail so, after the first `skip` of them. */
  fail(
    fault: Fault,
    {
      times = Infinity,
      skip = 0,
      only = /./,
    }: { times?: number; skip?: number; only?: RegExp } = {},
  ): void {
    this.#fault = fault
    this.#times = times
    this.#skip = skip
    this.#only = only
  }

  heal(): void {
    this.#fault = undefined
  }

  /** Method, path and query of each request so far, and forgets them. */
  taken(): string[] {
    return this.requests.splice(0).map(({ method, path, query }) => `${method} ${path}${query}`)
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await read(incoming).catch(() => undefined)
    if (request === undefined) return
    this.requests.push(request)
    const fault = this.#nextFault(request)
    if (fault === 'hang') return
    if (fault === 'reset') return void incoming.socket.destroy()
    if (fault === 'error') return send(response, { status: 500, text: 'out of order' })
    if (fault === 'type') {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Sign in</h1>')
      return
    }
    const answer = this.#answer(request)
    if (fault === 'lost') return void incoming.socket.destroy()
    if (fault === 'half') {
      const text = answer.text ?? JSON.stringify(answer.json ?? {})
      response
        .writeHead(answer.status, { 'content-length': text.length + 10 })
        .write(text.slice(0, 9))
      await sleep(10)
      response.destroy()
    } else send(response, answer)
  }

  #nextFault({ method, path }: FakeRequest): Fault | undefined {
    if (this.#times === 0 || !this.#only.test(`${method} ${path}`)) return undefined
    if (this.#skip > 0) {
      this.#skip--
      return undefined
    }
    this.#times--
    return this.#fault
  }

  #answer(request: FakeRequest): FakeAnswer {
    try {
      return this.#handle(request)
    } catch (error) {
      const { method, path, query, text } = request
      const what = `${method} ${path}${query} ${text}: ${String(error)}`
      if (!(error instanceof AssertionError)) throw error
      this.#mismatches.push(what)
      return { status: 418, text: `not what the fake expects: ${what}` }
    }
  }
}

async function read(incoming: IncomingMessage): Promise<FakeRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  const { method = '', url = '', headers } = incoming
  const cut = url.indexOf('?')
  return {
    method,
    path: cut < 0 ? url : url.slice(0, cut),
    query: cut < 0 ? '' : url.slice(cut),
    headers,
    text,
    body: text === '' ? undefined : JSON.parse(text),
  }
}

function send(response: ServerResponse, { status, json, text = '', headers }: FakeAnswer): void {
  response.writeHead(status, {
    ...(json !== undefined && { 'content-type': 'application/json' }),
    ...headers,
  })
  response.end(json === undefined ? text : JSON.stringify(json))
}
