/** HTTP by our own framing (wire/): exchanges on its streams, over `node:tls` or `node:net`. */

import { createServer, type Socket } from 'node:net'

import type { Reply } from '../api/route.ts'
import type { Follower } from '../telemetry/stream.ts'
import { AnswerHead } from '../wire/answer.ts'
import type { Receiver, Stream } from '../wire/request.ts'
import { speak } from '../wire/serve.ts'
import type { Connection } from './connection.ts'
import { Exchange, type Events, FOLLOWER_BACKLOG } from './exchange.ts'
import { LeanAcceptor, TCP_OPTIONS } from './lean-acceptor.ts'
import type { PlainStack, SecuredStack, StackOptions } from './stack.ts'
import type { State } from './state.ts'

abstract class Lean {
  readonly #options: Omit<StackOptions, 'tls'>

  constructor(options: Omit<StackOptions, 'tls'>) {
    this.#options = options
  }

  speak(socket: Socket, connection: Connection): void {
    const { pipeline, state } = this.#options
    const wire = speak(socket, (stream) => {
      if (connection.isDraining) return stream.refuse()
      pipeline.begin(new LeanExchange(stream, connection, state(), pipeline))
    })
    connection.onDrain(() => wire.drain())
    connection.onClose(() => wire.drain())
  }
}

export class LeanStack extends Lean implements SecuredStack {
  readonly acceptor: LeanAcceptor

  constructor(options: StackOptions) {
    super(options)
    this.acceptor = new LeanAcceptor(options.tls)
  }
}

/** Without TLS. */
export class PlainLeanStack extends Lean implements PlainStack {
  readonly server = createServer(TCP_OPTIONS)
}

export class LeanExchange extends Exchange implements Receiver {
  readonly hasNoBody: boolean
  readonly #stream: Stream

  constructor(stream: Stream, connection: Connection, state: State, events: Events) {
    const { method, target, contentLength } = stream.head
    super(method, target, contentLength, connection, state, events)
    this.#stream = stream
    this.hasNoBody = stream.hasNoBody
    stream.receiver = this
  }

  override headerValues(name: string): readonly string[] {
    return this.#stream.head.values(name)
  }

  send(reply: Reply): void {
    const close = reply.status === 408 || this.connection.isDraining
    this.#stream.respond(headOf(reply), reply.body, close)
  }

  open(reply: Reply, onEnd: () => void): Follower {
    const stream = this.#stream
    if (stream.isGone) return { write: () => false, end: onEnd }
    stream.receiver = { data: ignore, end: ignore, closed: onEnd }
    stream.open(headOf(reply))
    return {
      write: (line) => {
        if (!stream.isGone) stream.write(line)
        return !stream.isGone && stream.backlog < FOLLOWER_BACKLOG
      },
      end: () => {
        if (stream.isGone) return
        if (stream.backlog < FOLLOWER_BACKLOG) stream.end()
        else stream.cut()
      },
    }
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#stream.whenTaken(resolve))
  }

  cut(): void {
    this.#stream.cut()
  }

  data(chunk: Buffer): void {
    this.take(chunk)
  }

  end(): void {
    this.complete()
  }

  closed(): void {
    this.abort()
  }

  protected startReceiving(limit: number): void {
    this.#stream.accept(limit)
  }
}

/** Prepared heads, by the object that holds their headers: those that are the same object each time come again. */
const prepared = new WeakMap<object, AnswerHead[]>()
const NO_HEADERS = {}

function headOf({ status, type, headers = NO_HEADERS }: Reply): AnswerHead {
  const known = prepared.get(headers)
  if (known === undefined) {
    // Most are made for one answer, so none is prepared at first sight.
    prepared.set(headers, [])
    return new AnswerHead({ status, type, headers, repeats: false })
  }
  for (const head of known) if (head.status === status && head.type === type) return head
  const head = new AnswerHead({ status, type, headers, repeats: true })
  known.push(head)
  return head
}

function ignore(): void {}
