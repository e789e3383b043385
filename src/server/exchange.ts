/**
 * One request in flight, whatever protocol it came by: its body limit, its deadline and its answer. The
 * protocol's side is in http1.ts and http2.ts, or in lean.ts.
 */

import type { Readable, Writable } from 'node:stream'

import type { Call, Reply, ServedRoute } from '../api/route.ts'
import { type Caller, NOBODY } from '../auth/forwarded.ts'
import type { Generation } from '../auth/policy.ts'
import type { Identity } from '../crypto/identity.ts'
import { KesError } from '../errors.ts'
import type { Realm } from '../keys/realm.ts'
import type { Follower } from '../telemetry/stream.ts'
import { DROP_LIMIT, DROP_TIME } from '../wire/limits.ts'
import type { Connection } from './connection.ts'
import type { State } from './state.ts'

const NO_BYTES = Buffer.alloc(0)

/** Bytes that a follower of a log may be behind before it is cut off. */
export const FOLLOWER_BACKLOG = 1_048_576
/** What happens to an exchange, told to the pipeline. */
export interface Events {
  /** The body is complete, or there is none to wait for. */
  received(exchange: Exchange): void
  /** It cannot go on: a bad body, a deadline, a client that went away. */
  failed(exchange: Exchange, error: KesError): void
}

export abstract class Exchange implements Call {
  readonly method: string
  /** Path and query as they were sent. */
  readonly target: string
  readonly connection: Connection
  readonly services: State
  /** Set by the pipeline where the request names an enclave. */
  realm: Realm
  /** By `performance.now()`. */
  readonly startedAt = performance.now()
  /** Set by the pipeline when it knows, as are the next ones. */
  who: Caller = NOBODY
  served: ServedRoute | undefined
  path = ''
  param = ''
  body: Buffer = NO_BYTES
  /** An answer was given; whatever comes later is ignored. */
  isAnswered = false
  /** When it must be answered, by `performance.now()`. */
  deadline = Number.POSITIVE_INFINITY
  /** Neighbours among the requests in flight: a list needs no hashing. */
  older: Exchange | undefined
  younger: Exchange | undefined
  /** Nothing of the body is to come. */
  protected hasWholeBody = false
  /** The number of bytes that the client announced; undefined if it did not. */
  protected readonly announced: number | undefined
  readonly #events: Events
  #isReceiving = false
  #limit = 0
  #size = 0
  #chunks: Buffer[] = []
  #aborter: AbortController | undefined
  #abortReason: KesError | undefined

  constructor(
    method: string,
    target: string,
    announced: number | undefined,
    connection: Connection,
    state: State,
    events: Events,
  ) {
    this.method = method
    this.target = target
    this.connection = connection
    this.services = state
    this.realm = state
    this.announced = announced
    this.#events = events
  }

  /** A body of length 0 was announced, or none. */
  abstract readonly hasNoBody: boolean
  /** Sends the whole answer. */
  abstract send(reply: Reply): void
  /** Sends the head of an answer that goes on; `onEnd` when the client has gone. */
  abstract open(reply: Reply, onEnd: () => void): Follower
  /** Resolves when what was written after `open` has left, or the client has gone. */
  abstract drained(): Promise<void>
  /** Breaks an answer off that goes on, so that the client sees that it is not whole. */
  abstract cut(): void
  /** Calls `take`, `complete` and `abort` as the body comes in. */
  protected abstract startReceiving(limit: number): void
  /** Every value that was sent under a name, which is in lower case here, one by one. */
  abstract headerValues(name: string): readonly string[]

  header(name: string): string | undefined {
    const values = this.headerValues(name)
    return values.length === 0 ? undefined : values.join(', ')
  }

  query(name: string): readonly string[] {
    const start = this.target.indexOf('?')
    return start < 0 ? [] : new URLSearchParams(this.target.slice(start + 1)).getAll(name)
  }

  get caller(): Identity {
    const { identity, fault } = this.who
    if (fault !== undefined) throw fault
    if (identity === undefined) throw new KesError('NO_CERTIFICATE')
    return identity
  }

  get generation(): Generation {
    const { identity } = this.who
    return (
      (identity && this.realm.access.policyOf(identity)?.generation) ?? this.services.generation
    )
  }

  get signal(): AbortSignal {
    this.#aborter ??= new AbortController()
    if (this.#abortReason !== undefined) this.#aborter.abort(this.#abortReason)
    return this.#aborter.signal
  }

  /** Reads the body, then tells `received`; or `failed` when it is larger than `limit` bytes. */
  receive(limit: number): void {
    if (this.hasNoBody) return this.#events.received(this)
    this.#limit = limit
    if ((this.announced ?? 0) > limit) return this.#events.failed(this, this.#tooLarge())
    this.#isReceiving = true
    this.startReceiving(limit)
  }

  /** The deadline has passed. */
  expire(): void {
    this.#end(new KesError(this.#isReceiving ? 'SLOW_BODY' : 'TIMEOUT'))
  }

  /** The client has gone, or broke off the body. */
  abort(): void {
    // Every request comes here when it has ended; an error is dear, so it is made for those that need one.
    if (this.isAnswered) return
    this.#end(
      new KesError('BAD_REQUEST', {
        message: 'the client ended the request before it was complete',
      }),
    )
  }

  protected take(chunk: Buffer): void {
    if (!this.#isReceiving) return
    this.#size += chunk.length
    if (this.#size > this.#limit) return this.#end(this.#tooLarge())
    this.#chunks.push(chunk)
    // The end of a body of known length is no news, and the event would be a turn away.
    if (this.#size === this.announced) this.complete()
  }

  protected complete(): void {
    if (!this.#isReceiving) return
    this.#isReceiving = false
    this.hasWholeBody = true
    const [first = NO_BYTES] = this.#chunks
    this.body = this.#chunks.length > 1 ? Buffer.concat(this.#chunks, this.#size) : first
    this.#chunks = []
    this.#events.received(this)
  }

  /** Lets the client finish what nobody wants, so that it reads the answer; but not forever. */
  protected drop(rest: Readable, stop: () => void): void {
    let dropped = 0
    rest.on('data', (chunk: Buffer) => {
      dropped += chunk.length
      if (dropped > DROP_LIMIT) stop()
    })
    const timer = setTimeout(stop, DROP_TIME).unref()
    rest.on('close', () => clearTimeout(timer))
  }

  #end(error: KesError): void {
    if (this.isAnswered) return
    this.#isReceiving = false
    this.#chunks = []
    this.#abortReason = error
    this.#aborter?.abort(error)
    this.#events.failed(this, error)
  }

  #tooLarge(): KesError {
    return new KesError('TOO_LARGE', {
      message: `request body is too large: the limit is ${this.#limit} bytes`,
    })
  }
}

/** Resolves at the first of these events. */
export function nextOf(emitter: Writable, ...events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const seen = (): void => {
      for (const event of events) emitter.off(event, seen)
      resolve()
    }
    for (const event of events) emitter.on(event, seen)
  })
}

/** As `headerValues`. @param raw names and values in turn, as Node's classes give them */
export function valuesOf(raw: readonly string[], name: string): string[] {
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name)
}

/** What a Content-Length says. */
export function lengthOf(header: string | undefined): number | undefined {
  return header === undefined ? undefined : Number(header)
}
