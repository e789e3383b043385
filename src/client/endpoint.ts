/** One server: its connection, made when needed, and how it was doing lately. */

import { within } from '../deadline.ts'
import type { Connector } from './connect.ts'
import { connectionError, timeoutError } from './failures.ts'
import type { Address, Settings } from './options.ts'
import { Scope } from './scope.ts'
import type { Connection, HttpAnswer, HttpRequest, SendOptions } from './transport.ts'

const FIRST_PENALTY = 1000
const LONGEST_PENALTY = 30_000
const NEVER = new AbortController().signal

interface Opening {
  readonly scope: Scope
  readonly connection: Promise<Connection>
  /** Who wants it; without anybody it is given up. */
  waiting: number
}

export class Endpoint {
  readonly address: Address
  readonly #settings: Settings
  readonly #connector: () => Promise<Connector>
  #connection: Connection | undefined
  #opening: Opening | undefined
  /** All that are not closed yet, also those that take no more requests. */
  readonly #connections = new Set<Connection>()
  #failures = 0
  #downUntil = 0

  constructor(address: Address, settings: Settings, connector: () => Promise<Connector>) {
    this.address = address
    this.#settings = settings
    this.#connector = connector
  }

  /** Milliseconds of performance.now(); 0 when it is well. Before that time others are to be preferred. */
  get downUntil(): number {
    return this.#downUntil
  }

  succeeded(): void {
    this.#failures = 0
    this.#downUntil = 0
  }

  /** Leaves it alone for longer with each failure; many calls that fail together are one. */
  failed(): void {
    const now = performance.now()
    if (now < this.#downUntil) return
    const penalty = Math.min(FIRST_PENALTY * 2 ** this.#failures++, LONGEST_PENALTY)
    this.#downUntil = now + penalty * (0.5 + Math.random() / 2)
  }

  /** @param wait milliseconds for which the server asked to be left alone */
  busy(wait: number): void {
    this.#downUntil = performance.now() + Math.min(wait, LONGEST_PENALTY)
  }

  /** Finds out whether a server that was down is back, at nobody's cost. */
  probe(): void {
    if (this.#opening !== undefined) return
    this.#connect(NEVER).then(
      // That it answers calls in time is not proven yet.
      () => (this.#downUntil = 0),
      () => this.failed(),
    )
  }

  /** @throws ConnectionError; KesClientError BAD_OPTIONS; the signal's reason */
  async send(request: HttpRequest, options: SendOptions): Promise<HttpAnswer> {
    const connection = await this.#connect(options.signal)
    return connection.send(request, options)
  }

  /** Ends everything that runs; resolves when nothing is left. */
  async close(reason: Error): Promise<void> {
    this.#opening?.scope.end(reason)
    await this.#opening?.connection.catch(() => {})
    await Promise.all([...this.#connections].map((connection) => connection.close()))
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    if (this.#connection?.isUsable) return this.#connection
    const opening = (this.#opening ??= this.#open())
    opening.waiting++
    try {
      return await within(opening.connection, { signal })
    } finally {
      if (--opening.waiting === 0) opening.scope.end(signal.reason)
    }
  }

  #open(): Opening {
    const scope = new Scope()
    const { connectTimeout } = this.#settings
    scope.limit(connectTimeout, () => timeoutError(this.address, connectTimeout, 'connect'))
    const connection = this.#newConnection(scope.signal)
    const opening = { scope, connection, waiting: 0 }
    connection
      .then((made) => {
        this.#connection = made
        this.#connections.add(made)
        made.onClose = () => this.#connections.delete(made)
      })
      .catch(() => {}) // whoever waits hears of it
      .finally(() => {
        scope[Symbol.dispose]()
        if (this.#opening === opening) this.#opening = undefined
      })
    return opening
  }

  async #newConnection(signal: AbortSignal): Promise<Connection> {
    const { http } = this.#settings
    const protocols = http === 'h2' ? ['h2'] : http === 'h1' ? ['http/1.1'] : ['h2', 'http/1.1']
    const connector = await this.#connector()
    const [{ openHttp2 }, { Http1Pool }] = await Promise.all([
      import('./http2.ts'),
      import('./http1.ts'),
    ])
    const socket = await connector.connect(this.address, protocols, signal)
    if (socket.alpnProtocol === 'h2') return openHttp2(socket, this.address, this.#settings, signal)
    if (http !== 'h2') {
      const connect = (ended: AbortSignal) => connector.connect(this.address, ['http/1.1'], ended)
      return new Http1Pool(this.address, connect, socket)
    }
    socket.destroy()
    throw connectionError(new Error('no HTTP/2'), this.address, 'connecting')
  }
}
