/** A log that is followed over the API: events as they happen, until somebody ends it. */

import { ConnectionError, KesClientError, ServerError } from './errors.ts'
import { readLines } from './ndjson.ts'
import type { Address } from './options.ts'
import { type Scope, sleep } from './scope.ts'
import type { HttpAnswer } from './transport.ts'

/** Milliseconds between the attempts to open a log again, each with its own retries. */
const PAUSE = 1000

export interface LogOptions {
  /** Ends the log: its iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds until the server answers. Default: the client's timeout. */
  readonly timeout?: number | undefined
  /**
   * Opens the log again when the server ends it or the connection breaks, for as long as it takes. Events in between
   * are not seen. A function is told each time why. Refusals end the iteration as ever.
   */
  readonly reconnect?: boolean | ((lost: KesClientError) => void) | undefined
}

export interface Source {
  readonly answer: HttpAnswer
  readonly address: Address
}

/**
 * The events of a log: to be iterated over once, and closed (leaving `for await` does it).
 *
 * Rejects with ConnectionError when the connection breaks, with AnswerError for what is no event. Ends without an
 * error when the server ends the log, as it does when it stops. Who reads too slowly is cut off by the server.
 */
export class Log<T> implements AsyncIterableIterator<T>, AsyncDisposable {
  readonly #scope: Scope
  readonly #events: AsyncGenerator<T, void>

  /** @param scope is ours, and ended with the log */
  constructor(scope: Scope, events: AsyncGenerator<T, void>) {
    this.#scope = scope
    this.#events = events
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.#events.next()
  }

  /** Also ends a `next` that waits. */
  async return(): Promise<IteratorResult<T, void>> {
    this.#scope.end(STOPPED)
    return this.#events.return()
  }

  async close(): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

const STOPPED = new Error('the log was closed')

export interface Following<T> {
  readonly first: Source
  /** Opens the log again. */
  readonly open: () => Promise<Source>
  readonly parse: (endpoint: string, line: string) => T
  readonly reconnect: LogOptions['reconnect']
}

export async function* follow<T>(
  { first, open, parse, reconnect }: Following<T>,
  scope: Scope,
): AsyncGenerator<T, void> {
  const { signal } = scope
  let source: Source | undefined = first
  try {
    while (source !== undefined) {
      const { url } = source.address
      let lost: KesClientError
      try {
        for await (const line of readLines(source.answer, source.address)) yield parse(url, line)
        signal.throwIfAborted()
        if (!reconnect) return
        lost = new ConnectionError('closed', url, `${url}: the server ended the log`, {
          isUnprocessed: false,
        })
      } catch (error) {
        signal.throwIfAborted()
        if (!reconnect || !(error instanceof ConnectionError)) throw error
        lost = error
      }
      if (typeof reconnect === 'function') reconnect(lost)
      source = await reopen(open, signal)
    }
  } catch (error) {
    if (signal.reason !== STOPPED) throw error
  } finally {
    scope[Symbol.dispose]()
  }
}

async function reopen(open: () => Promise<Source>, signal: AbortSignal): Promise<Source> {
  for (;;) {
    try {
      return await open()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof ConnectionError || error instanceof ServerError)) throw error
    }
    await sleep(PAUSE, signal)
  }
}
