/** Sends the client's requests, and knows what runs: what is common to all calls. */

import { VERSION } from '../version.ts'
import { parseJson } from './answers.ts'
import { readBody } from './body.ts'
import { Endpoints, type Plan } from './endpoints.ts'
import { AnswerError, errorOfAnswer, KesClientError } from './errors.ts'
import { follow, Log, type LogOptions, type Source } from './log.ts'
import {
  type KesClientOptions,
  millis,
  parseEndpoints,
  type Settings,
  settingsOf,
} from './options.ts'
import { onAbort, Scope } from './scope.ts'
import { header, type HttpAnswer, type HttpRequest } from './transport.ts'

/** Of each call. */
export interface CallOptions {
  /** Takes the call back: it rejects with the signal's reason. What was sent may have been done already. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds, instead of the client's timeout. */
  readonly timeout?: number | undefined
}

/** A call that this class has no method for. */
export interface RequestOptions extends CallOptions {
  /** Sent as JSON, unless it is bytes. */
  readonly body?: unknown
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** May the server act on it twice? Then it is repeated after failures. Default: for GET. */
  readonly isRepeatable?: boolean | undefined
  /** Bytes of the answer at most. Default 16 MiB. */
  readonly maxAnswer?: number | undefined
}

/** An answer of 2xx. */
export interface Answer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: HttpAnswer['headers']
  readonly body: Buffer
  /** Which server answered. */
  readonly endpoint: string
  /** @throws AnswerError when the body is not JSON */
  readonly json: () => unknown
}

const MIB = 1_048_576
const MAX_ANSWER = 16 * MIB
const MAX_ERROR = 64 * 1024

export class Caller {
  readonly endpoints: readonly string[]
  readonly #endpoints: Endpoints
  readonly #settings: Settings
  readonly #enclave: string | undefined
  /** Whatever runs. */
  readonly #scopes = new Set<Scope>()
  #isClosed = false

  /** @throws KesClientError BAD_OPTIONS */
  constructor(options: KesClientOptions) {
    const addresses = parseEndpoints(options.endpoints)
    this.endpoints = addresses.map(({ url }) => url)
    this.#settings = settingsOf(options)
    this.#endpoints = new Endpoints(addresses, this.#settings)
    this.#enclave = options.enclave
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const { body, headers, isRepeatable = method === 'GET', maxAnswer = MAX_ANSWER } = options
    const bytes = body === undefined || body instanceof Uint8Array ? body : json(body)
    const plan: Plan<Answer> = {
      request: this.#request(method, path, bytes, headers),
      isRepeatable,
      read: async (answer, address, { signal }) => {
        await refuse(answer, address, signal)
        const { status, headers } = answer
        const whole = await readBody(answer, address, maxAnswer, signal)
        const type = header(answer, 'content-type')
        const json = () => parseJson(address.url, whole.toString(), type)
        return { status, headers, body: whole, endpoint: address.url, json }
      },
    }
    const timeout = millis('timeout', options.timeout ?? this.#settings.timeout)
    const scope = this.#open(options.signal)
    try {
      return await this.#endpoints.send(plan, timeout, scope.signal)
    } finally {
      scope[Symbol.dispose]()
    }
  }

  /** @param parse makes an event of a line */
  async follow<T>(
    path: string,
    parse: (endpoint: string, line: string) => T,
    options: LogOptions = {},
  ): Promise<Log<T>> {
    const timeout = millis('timeout', options.timeout ?? this.#settings.timeout)
    const scope = this.#open(options.signal)
    const plan: Plan<Source> = {
      request: this.#request('GET', path, undefined, { accept: 'application/x-ndjson' }),
      isRepeatable: true,
      read: async (answer, address, { signal }) => {
        await refuse(answer, address, signal)
        return { answer, address }
      },
    }
    const open = async () => {
      const source = await this.#endpoints.send(plan, timeout, scope.signal)
      const { body } = source.answer
      body.once(
        'close',
        onAbort(scope.signal, () => body.destroy()),
      )
      return source
    }
    try {
      const following = { first: await open(), open, parse, reconnect: options.reconnect }
      return new Log(scope, follow(following, scope))
    } catch (error) {
      scope[Symbol.dispose]()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const scope of this.#scopes) scope.end(closed())
    await this.#endpoints.close(closed())
  }

  /** Lives until the caller, the client or its owner ends it. */
  #open(signal: AbortSignal | undefined): Scope {
    if (this.#isClosed) throw closed()
    signal?.throwIfAborted()
    const scope = new Scope(signal, () => this.#scopes.delete(scope))
    this.#scopes.add(scope)
    return scope
  }

  #request(
    method: string,
    path: string,
    body: Uint8Array | undefined,
    headers: Readonly<Record<string, string>> = {},
  ): HttpRequest {
    return {
      method,
      path,
      body,
      headers: {
        accept: 'application/json',
        'user-agent': `openkes/${VERSION}`,
        ...(body !== undefined && {
          'content-type': 'application/json',
          'content-length': String(body.length),
        }),
        ...(this.#enclave !== undefined && { 'kes-enclave': this.#enclave }),
        ...headers,
      },
    }
  }
}

function closed(): KesClientError {
  return new KesClientError('CLOSED', '', 'the client was closed')
}

/** @throws KesClientError unless the answer is 2xx */
async function refuse(
  answer: HttpAnswer,
  address: Source['address'],
  signal: AbortSignal,
): Promise<void> {
  const { status } = answer
  if (status >= 200 && status < 300) return
  const { url } = address
  if (status < 400) {
    answer.body.destroy()
    const to = header(answer, 'location')
    // Followed, it would show the client's certificate to anybody.
    const where = to === undefined ? '' : ` to ${to.slice(0, 256)}`
    throw new AnswerError(url, `the answer is a redirection${where} (${status})`, { status })
  }
  const body = await readBody(answer, address, MAX_ERROR, signal, true)
  throw errorOfAnswer(url, status, body.toString(), header(answer, 'retry-after'))
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
