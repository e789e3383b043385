/** One request over HTTP/1.1, and the bytes of its answer. */

import { type AnswerHead, httpDate } from './answer.ts'
import type { Http1Head } from './http1-head.ts'
import type { Http1Session } from './http1-session.ts'
import { AHEAD_LIMIT, IDLE_TIMEOUT } from './limits.ts'
import type { Receiver, RequestHead, Stream } from './request.ts'

const KEEP_ALIVE = `Connection: keep-alive\r\nKeep-Alive: timeout=${IDLE_TIMEOUT / 1000}\r\n`
const CLOSE = 'Connection: close\r\n'
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const LAST_CHUNK = '0\r\n\r\n'

export class Http1Stream implements Stream {
  readonly head: RequestHead
  readonly hasNoBody: boolean
  receiver: Receiver | undefined
  isReceived: boolean
  #isWanted = false
  isAnswered = false
  isOpen = false
  isGone = false
  /** Another request may follow. */
  keepsAlive: boolean
  /** The client has said that none will. */
  readonly isLast: boolean
  #whenTaken: (() => void) | undefined
  readonly #session: Http1Session
  readonly #expectsContinue: boolean
  readonly #isHttp10: boolean

  constructor(session: Http1Session, head: Http1Head, hasNoBody: boolean) {
    this.#session = session
    this.head = head.request
    this.hasNoBody = hasNoBody
    this.isReceived = hasNoBody
    this.keepsAlive = head.keepsAlive
    this.isLast = !head.keepsAlive
    this.#expectsContinue = head.expectsContinue
    this.#isHttp10 = head.isHttp10
  }

  /** Until somebody wants it, or nobody does, the body waits. */
  get takesBody(): boolean {
    return this.#isWanted || this.isAnswered || this.isOpen
  }

  refuse(): void {
    this.#session.refuse()
  }

  accept(): void {
    this.#isWanted = true
    if (this.#expectsContinue) this.#session.send(CONTINUE, 'latin1', CONTINUE.length)
    this.#session.wanted()
  }

  respond(head: AnswerHead, body: string | Buffer | undefined, close: boolean): void {
    if (this.isGone) return
    const length = body === undefined ? 0 : Buffer.byteLength(body)
    // Node's classes say it before the date when they are told to, and after it when they find out.
    const early = close ? CLOSE : ''
    if (close) this.keepsAlive = false
    const late = close ? '' : this.keepsAlive ? KEEP_ALIVE : CLOSE
    const lines = `${head.http1Start}Content-Length: ${length}\r\n${head.http1Rest}${early}Date: ${httpDate()}\r\n${late}\r\n`
    this.receiver = undefined
    this.isAnswered = true
    const sent = this.head.method === 'HEAD' ? undefined : body
    if (sent === undefined) this.#session.send(lines, 'latin1', lines.length)
    else if (typeof sent !== 'string') {
      this.#session.send(lines, 'latin1', lines.length)
      this.#session.sendBytes(sent)
    }
    // ASCII leaves in one piece with the head.
    else if (length === sent.length) {
      this.#session.send(lines + sent, 'latin1', lines.length + length)
    } else {
      this.#session.send(lines, 'latin1', lines.length)
      this.#session.send(sent, 'utf8', length)
    }
    this.#session.answered(this)
  }

  open(head: AnswerHead): void {
    this.isOpen = true
    // Without chunks, the end of the connection is the end of the answer.
    if (this.#isHttp10) this.keepsAlive = false
    const connection = this.keepsAlive ? KEEP_ALIVE : CLOSE
    const coding = this.#isHttp10 ? '' : 'Transfer-Encoding: chunked\r\n'
    const lines = `${head.http1Start}${head.http1Rest}Date: ${httpDate()}\r\n${connection}${coding}\r\n`
    this.#session.send(lines, 'latin1', lines.length)
  }

  get backlog(): number {
    return this.#session.backlog
  }

  write(text: string): void {
    const length = Buffer.byteLength(text)
    const chunk = this.#isHttp10 ? text : `${length.toString(16)}\r\n${text}\r\n`
    this.#session.send(chunk, 'utf8', chunk.length - text.length + length)
  }

  whenTaken(act: () => void): void {
    if (this.isGone || this.backlog < AHEAD_LIMIT) act()
    else this.#whenTaken = act
  }

  /** The socket is empty. */
  taken(): void {
    const act = this.#whenTaken
    this.#whenTaken = undefined
    act?.()
  }

  end(): void {
    if (this.isGone) return
    this.isOpen = false
    this.isAnswered = true
    if (!this.#isHttp10) this.#session.send(LAST_CHUNK, 'latin1', LAST_CHUNK.length)
    this.gone()
    this.#session.answered(this)
  }

  cut(): void {
    this.#session.cut()
  }

  gone(): void {
    this.isGone = true
    const { receiver } = this
    this.receiver = undefined
    receiver?.closed()
    this.taken()
  }
}
