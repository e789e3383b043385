/** A request as either protocol brings it, and what the server and the framing tell each other about it. */

import type { AnswerHead } from './answer.ts'
import type { Field } from './field.ts'

/** Most fields that are asked for are not there. */
const NONE: readonly string[] = []

/** What came before the body. Both protocols have refused it already if it was not well-formed. */
export class RequestHead {
  readonly method: string
  /** As it was sent; '' where there is none. */
  readonly target: string
  /** As they were sent, one by one: none is joined, none is left out. */
  readonly fields: readonly Field[]
  /** Undefined when the client did not announce it. */
  readonly contentLength: number | undefined

  constructor(
    method: string,
    target: string,
    fields: readonly Field[],
    contentLength: number | undefined,
  ) {
    this.method = method
    this.target = target
    this.fields = fields
    this.contentLength = contentLength
  }

  /** Every value of a field, in the order in which they came. @param name in lower case */
  values(name: string): readonly string[] {
    let values: string[] | undefined
    for (const field of this.fields) if (field.name === name) (values ??= []).push(field.value)
    return values ?? NONE
  }
}

/** Told about one request. */
export interface Receiver {
  data(chunk: Buffer): void
  /** The body is complete. */
  end(): void
  /** The exchange has ended: not told of one that was answered by `respond`. */
  closed(): void
}

/** One request, and the way to answer it. */
export interface Stream {
  readonly head: RequestHead
  /** No body follows. */
  readonly hasNoBody: boolean
  /** Reset, cut, or gone with its connection: what is sent goes nowhere. */
  readonly isGone: boolean
  /** Set by the server while `Serve` runs, if it wants to hear more. */
  receiver: Receiver | undefined
  /** Nothing of it was looked at: the client may ask again on another connection. */
  refuse(): void
  /** The body is wanted: `data` and `end` are told from now on. @param limit bytes that the server will take */
  accept(limit: number): void
  /** The whole answer. @param close the connection shall end after it, where it has only one request at a time */
  respond(head: AnswerHead, body: string | Buffer | undefined, close: boolean): void
  /** The head of an answer that goes on. */
  open(head: AnswerHead): void
  /** Bytes of it that the client has not taken yet. */
  readonly backlog: number
  /** More of it. */
  write(text: string): void
  /** Calls once most of it was taken, or nobody is there to take it: perhaps at once. */
  whenTaken(act: () => void): void
  /** It is whole. */
  end(): void
  /** It will never be. */
  cut(): void
}

export type Serve = (stream: Stream) => void
