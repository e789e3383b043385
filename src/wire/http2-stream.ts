/** One request over HTTP/2 (RFC 9113, 5.1), from its head to its end. */

import type { AnswerHead } from './answer.ts'
import type { Http2Session } from './http2-session.ts'
import { AHEAD_LIMIT, STREAM_WINDOW } from './limits.ts'
import type { Receiver, RequestHead, Stream } from './request.ts'

export class Http2Stream implements Stream {
  readonly id: number
  readonly head: RequestHead
  readonly hasNoBody: boolean
  receiver: Receiver | undefined
  /** The client has sent all of it. */
  isReceived: boolean
  /** We have sent all of it. */
  isSent = false
  /** Its answer goes on: nobody knows how long. */
  isOpen = false
  isGone = false

  /** Bytes that may still come, that have come, that are wanted in all, and that were granted. */
  receiveWindow = STREAM_WINDOW
  received = 0
  wanted = 0
  grant = 0

  /** What came of the body before somebody wanted it: no more than its first window. */
  #early: Buffer[] | undefined = []

  sendWindow: number
  readonly pending: Buffer[] = []
  pendingLength = 0
  endsAfterPending = false

  #whenTaken: (() => void) | undefined
  readonly #session: Http2Session

  constructor(
    session: Http2Session,
    id: number,
    head: RequestHead,
    isReceived: boolean,
    sendWindow: number,
  ) {
    this.#session = session
    this.id = id
    this.head = head
    this.isReceived = isReceived
    this.hasNoBody = isReceived || head.contentLength === 0
    this.sendWindow = sendWindow
  }

  accept(limit: number): void {
    const { contentLength } = this.head
    // One more than the limit, or the client would stop there and never be told.
    this.wanted = contentLength ?? limit + 1
    if (contentLength !== undefined && contentLength > STREAM_WINDOW) {
      this.#session.inflow.request(this)
    }
    const early = this.#early ?? []
    this.#early = undefined
    for (const chunk of early) this.receiver?.data(chunk)
    if (early.length > 0 && this.isReceived) this.receiver?.end()
  }

  /** Part of the body has come. */
  take(chunk: Buffer): void {
    if (this.#early === undefined) this.receiver?.data(chunk)
    else this.#early.push(chunk)
  }

  /** All of it has come. */
  complete(): void {
    if (this.#early === undefined) this.receiver?.end()
    // An empty one is told as such when somebody wants it.
    else this.#early.push(NO_BYTES)
  }

  refuse(): void {
    this.#session.refuse(this)
  }

  respond(head: AnswerHead, body: string | Buffer | undefined): void {
    if (this.isGone) return
    const length = body === undefined ? 0 : Buffer.byteLength(body)
    const { outflow } = this.#session
    this.receiver = undefined
    const isHeadOnly = body === undefined || this.head.method === 'HEAD'
    outflow.sendHead(this, head, length, isHeadOnly)
    if (!this.isReceived) this.#session.drops.begin(this)
    if (isHeadOnly) this.sent()
    else if (typeof body === 'string') outflow.sendBody(this, body, length)
    else outflow.send(this, body, true)
  }

  open(head: AnswerHead): void {
    this.isOpen = true
    this.#session.outflow.sendHead(this, head, undefined, false)
    if (!this.isReceived) this.#session.drops.begin(this)
  }

  get backlog(): number {
    return this.pendingLength
  }

  write(text: string): void {
    this.#session.outflow.send(this, Buffer.from(text), false)
  }

  whenTaken(act: () => void): void {
    if (this.isGone || this.pendingLength < AHEAD_LIMIT) act()
    else this.#whenTaken = act
  }

  /** Nothing is pending any more. */
  taken(): void {
    const act = this.#whenTaken
    this.#whenTaken = undefined
    act?.()
  }

  end(): void {
    this.#session.outflow.send(this, NO_BYTES, true)
  }

  cut(): void {
    if (!this.isGone) this.#session.cut(this)
  }

  /** The last frame of the answer is written. */
  sent(): void {
    this.isSent = true
    if (this.isReceived) this.#session.finished(this)
    if (!this.isOpen) return
    this.isGone = true
    this.#tellClosed()
  }

  /** Nothing comes or goes any more. */
  gone(): void {
    this.isGone = true
    this.#tellClosed()
  }

  #tellClosed(): void {
    const { receiver } = this
    this.receiver = undefined
    receiver?.closed()
    this.taken()
  }
}

const NO_BYTES = Buffer.alloc(0)
