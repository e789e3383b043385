/** HTTP/2 by Node's classes: one connection with many streams. Loaded with the first call. */

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'

import { within } from '../deadline.ts'
import { connectionError, timeoutError } from './failures.ts'
import type { Address, Settings } from './options.ts'
import { Places } from './places.ts'
import { onAbort } from './scope.ts'
import type { Connection, HttpAnswer, HttpRequest, SendOptions } from './transport.ts'

/** Before servers, and what translates addresses on the way, forget an idle connection. */
const IDLE = 60_000
/** After a pause this long, a request with an effect first makes sure that somebody is there. */
const DOUBTFUL = 1000

/**
 * Speaks HTTP/2 on a socket. Resolves with the server's first words: those come after it has accepted the client's
 * certificate, so that no request is sent to a server that will not read it.
 *
 * @throws ConnectionError; the signal's reason
 */
export async function openHttp2(
  socket: TLSSocket,
  address: Address,
  settings: Settings,
  signal: AbortSignal,
): Promise<Connection> {
  const session = connect(address.url, {
    createConnection: () => socket,
    settings: { enablePush: false },
    // MB. What waits to be sent counts, too: beyond the usual 10, Node 24 refuses the answers to what was sent.
    maxSessionMemory: 1024,
  })
  // Of a TLS alert that comes now Node 20 tells the socket only; it would stay open, and the session wait.
  socket.on('error', () => socket.destroy())
  const connection = new Http2Connection(session, socket, address, settings.pingInterval)
  try {
    await within(connection.greeting, { signal })
    return connection
  } catch (error) {
    void connection.close()
    throw error
  }
}

class Http2Connection implements Connection {
  onClose = (): void => {}
  /** The server's first words. @throws ConnectionError */
  readonly greeting: Promise<void>
  readonly #session: ClientHttp2Session
  readonly #address: Address
  readonly #pingInterval: number
  readonly #gone: Promise<void>
  /** Streams. Without limit once there will be none, so that nobody waits for it. */
  readonly #places = new Places(() =>
    this.isUsable ? (this.#session.remoteSettings.maxConcurrentStreams ?? Infinity) : Infinity,
  )
  /** The last stream that the server acts on, once it has said that it goes away. */
  #lastStream = Infinity
  #lastHeard = performance.now()
  #timer: NodeJS.Timeout | undefined
  #isResting = true
  #pinging: Promise<boolean> | undefined

  constructor(
    session: ClientHttp2Session,
    socket: TLSSocket,
    address: Address,
    pingInterval: number,
  ) {
    this.#session = session
    this.#address = address
    this.#pingInterval = pingInterval
    session.on('goaway', (_code: number, lastStream: number) => {
      this.#lastStream = lastStream
      this.#places.wake()
    })
    session.on('remoteSettings', () => this.#places.wake())
    this.greeting = new Promise((resolve, reject) => {
      const fail = (error?: unknown) => reject(connectionError(error, address, 'greeting'))
      session.once('remoteSettings', () => resolve())
      // Later, what goes wrong with the connection goes wrong with each stream, and is told there.
      session.on('error', fail)
      session.on('close', () => fail())
    })
    session.on('close', () => {
      clearTimeout(this.#timer)
      this.#places.wake()
    })
    this.#gone = Promise.all([
      new Promise((resolve) => session.on('close', resolve)),
      new Promise((resolve) => socket.on('close', resolve)),
    ]).then(() => this.onClose())
    this.#rest()
  }

  get isUsable(): boolean {
    const { closed, destroyed } = this.#session
    return !closed && !destroyed && this.#lastStream === Infinity
  }

  async send(request: HttpRequest, { signal, careful }: SendOptions): Promise<HttpAnswer> {
    await this.#enter(signal)
    try {
      if (careful && performance.now() - this.#lastHeard > DOUBTFUL) await this.#makeSure(signal)
    } catch (error) {
      this.#leave()
      throw error
    }
    return this.#exchange(request, signal)
  }

  close(): Promise<void> {
    this.#session.destroy()
    return this.#gone
  }

  /** Waits until the server takes one more. */
  async #enter(signal: AbortSignal): Promise<void> {
    await this.#places.take(signal)
    this.#work()
    if (this.isUsable) return
    this.#leave()
    throw connectionError(undefined, this.#address, 'unsent')
  }

  #leave(): void {
    this.#places.leave()
    if (this.#places.taken === 0) this.#rest()
  }

  /** Nothing to do: the connection does not keep the process alive, and ends after a while. */
  #rest(): void {
    this.#isResting = true
    clearTimeout(this.#timer)
    if (this.#session.destroyed) return
    this.#session.unref()
    this.#timer = setTimeout(() => this.#session.close(), IDLE).unref()
  }

  #work(): void {
    if (!this.#isResting) return
    this.#isResting = false
    this.#session.ref()
    this.#watch()
  }

  /** A peer that is gone without a word is noticed by its silence. */
  #watch(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      void this.#ping().then((isAlive) => isAlive && this.#places.taken > 0 && this.#watch())
    }, this.#pingInterval)
  }

  /** Ends the connection when the answer does not come. Whoever asks meanwhile shares the ping. */
  #ping(): Promise<boolean> {
    this.#pinging ??= new Promise<boolean>((resolve) => {
      let last: NodeJS.Immediate | undefined
      const timer = setTimeout(() => {
        // If it was this process that stood still, what came meanwhile is read first.
        last = setImmediate(() => {
          this.#session.destroy(timeoutError(this.#address, this.#pingInterval, 'ping'))
        })
      }, this.#pingInterval)
      const done = (error: Error | null): void => {
        clearTimeout(timer)
        clearImmediate(last)
        this.#pinging = undefined
        this.#lastHeard = performance.now()
        resolve(error === null)
      }
      if (!this.#session.ping(done)) done(new Error('not sent'))
    })
    return this.#pinging
  }

  async #makeSure(signal: AbortSignal): Promise<void> {
    if (await within(this.#ping(), { signal })) return
    throw timeoutError(this.#address, this.#pingInterval, 'ping', 'unsent')
  }

  #exchange(
    { method, path, headers, body }: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const stream = this.#request({ ':method': method, ':path': path, ...headers }, body)
      let failure: unknown
      stream.on('response', (head: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
        this.#lastHeard = performance.now()
        resolve({
          status: Number(head[':status']),
          headers: head,
          body: stream,
          isWhole: () => stream.rstCode === constants.NGHTTP2_NO_ERROR,
        })
      })
      stream.on('error', (error) => (failure = error))
      const forget = onAbort(signal, () => {
        reject(signal.reason as Error)
        stream.close(constants.NGHTTP2_CANCEL)
      })
      stream.on('close', () => {
        forget()
        this.#leave()
        // No effect once there was an answer.
        reject(connectionError(failure, this.#address, this.#phaseOf(stream)))
      })
    })
  }

  /** @throws ConnectionError when no stream can be opened any more; TypeError for headers that cannot be sent */
  #request(headers: OutgoingHttpHeaders, body: Uint8Array | undefined): ClientHttp2Stream {
    try {
      const stream = this.#session.request(headers, { endStream: body === undefined })
      if (body !== undefined) stream.end(body)
      return stream
    } catch (error) {
      this.#leave()
      if (!/SESSION|STREAMS/.test((error as NodeJS.ErrnoException).code ?? '')) throw error
      this.#session.close()
      throw connectionError(error, this.#address, 'unsent')
    }
  }

  /** How far a request had come on a stream that ended without an answer. */
  #phaseOf({ id, rstCode }: ClientHttp2Stream): 'unsent' | 'sent' {
    const isRefused = rstCode === constants.NGHTTP2_REFUSED_STREAM
    return id === undefined || isRefused || id > this.#lastStream ? 'unsent' : 'sent'
  }
}
