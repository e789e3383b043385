/** What every call of the client goes through: the way to the servers, and how answers are read. */

import { AnswerFields, type NamePage, readPage } from './answers.ts'
import { type Answer, Caller, type CallOptions, type RequestOptions } from './caller.ts'
import type { Log, LogOptions } from './log.ts'
import type { KesClientOptions } from './options.ts'

export interface PageOptions extends CallOptions {
  /** Of the page before, instead of a prefix. */
  readonly continueAt?: string | undefined
}

export abstract class BaseClient implements AsyncDisposable {
  readonly #caller: Caller

  /** Connects nowhere yet. @throws KesClientError BAD_OPTIONS */
  constructor(options: KesClientOptions) {
    this.#caller = new Caller(options)
  }

  /** As `https://host:port`. */
  get endpoints(): readonly string[] {
    return this.#caller.endpoints
  }

  /**
   * Any call, for those that have no method here.
   *
   * @param path percent-encoded, with the query
   * @throws KesClientError for every answer but 2xx, too
   */
  request(method: string, path: string, options?: RequestOptions): Promise<Answer> {
    return this.#caller.request(method, path, options)
  }

  /** Ends every call and log with CLOSED, and every connection; resolves when nothing is left of them. */
  close(): Promise<void> {
    return this.#caller.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Every line of a log is an event. @param read makes one of a line */
  protected follow<T>(
    path: string,
    read: (endpoint: string, line: string) => T,
    options?: LogOptions,
  ): Promise<Log<T>> {
    return this.#caller.follow(path, read, options)
  }

  protected async get(path: string, options?: CallOptions): Promise<AnswerFields> {
    return fieldsOf(await this.request('GET', path, options))
  }

  /** A call whose repetition does no harm. */
  protected async ask(
    path: string,
    body: unknown,
    options: CallOptions = {},
  ): Promise<AnswerFields> {
    return fieldsOf(await this.request('PUT', path, { ...repeatable(options), body }))
  }

  protected async change(
    method: string,
    path: string,
    body: unknown,
    options: RequestOptions = {},
  ): Promise<void> {
    expectNothing(await this.request(method, path, { ...options, body }))
  }

  protected async page(
    path: string,
    list: string,
    prefix: string,
    { continueAt, ...options }: PageOptions = {},
  ): Promise<NamePage> {
    return readPage(await this.get(path + segment(continueAt ?? prefix), options), list)
  }

  protected async *names(
    list: (page: PageOptions) => Promise<NamePage>,
  ): AsyncGenerator<string, void> {
    let page = await list({})
    for (;;) {
      yield* page.names
      const { continueAt } = page
      if (continueAt === undefined) return
      page = await list({ continueAt })
    }
  }
}

/** A page for people, such as a proxy's, does not mean that anything was done. @throws AnswerError */
export function expectNothing(answer: Answer): void {
  if (answer.body.length > 0) answer.json()
}

/** Done twice it is as if done once. */
export function repeatable(options: CallOptions | undefined): RequestOptions {
  return { ...options, isRepeatable: true }
}

export function fieldsOf(answer: Answer): AnswerFields {
  return new AnswerFields(answer.endpoint, answer.json())
}

/** A name in a path: nothing in it, neither slash nor dots, changes which path it is. */
export function segment(name: string): string {
  // Half a surrogate pair has no UTF-8.
  const text = Buffer.from(name).toString()
  return encodeURIComponent(text).replaceAll('.', '%2E')
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
