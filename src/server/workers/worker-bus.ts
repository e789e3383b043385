/** The bus as a worker sees it: everything goes by way of the primary's hub. */

import { type Bus, Listeners, type Topic } from '../../bus.ts'
import type { BusFromWorker, BusToWorker } from './messages.ts'

interface Waiting {
  resolve(answers: readonly unknown[]): void
  reject(error: unknown): void
  /** What a listener of this process has thrown; the others throw the same. */
  own?: { readonly error: unknown }
}

export class WorkerBus implements Bus {
  readonly id: number
  readonly isAlone = false
  readonly #send: (message: BusFromWorker) => Promise<void>
  readonly #listeners = new Listeners()
  readonly #waiting = new Map<number, Waiting>()
  readonly #onFirst: (() => void)[] = []
  #lastNumber = 0
  #isFirst = false

  /** @param send resolves when the message has left */
  constructor(id: number, send: (message: BusFromWorker) => Promise<void>) {
    this.id = id
    this.#send = send
  }

  get isFirst(): boolean {
    return this.#isFirst
  }

  whenFirst(act: () => void): void {
    if (this.#isFirst) act()
    else this.#onFirst.push(act)
  }

  ask<Message, Answer>(
    { name }: Topic<Message, Answer>,
    message: Message,
  ): Promise<Awaited<Answer>[]> {
    const number = ++this.#lastNumber
    return new Promise((resolve, reject) => {
      const done = (answers: readonly unknown[]): void => resolve(answers as Awaited<Answer>[])
      this.#waiting.set(number, { resolve: done, reject })
      void this.#send({ kind: 'ask', number, topic: name, message })
    })
  }

  publish<Message>({ name }: Topic<Message>, message: Message): Promise<void> {
    return this.#send({ kind: 'publish', topic: name, message })
  }

  subscribe<Message, Answer>(
    topic: Topic<Message, Answer>,
    listener: (message: Message) => Answer,
  ): () => void {
    return this.#listeners.add(topic, listener)
  }

  /** What the hub says. */
  received(message: BusToWorker): void {
    switch (message.kind) {
      case 'asked':
        return void this.#handle(message)
      case 'answered':
        return this.#settle(message)
      case 'published':
        return void this.#listeners.tell(message.topic, message.message)
      case 'first':
        this.#isFirst = true
        for (const act of this.#onFirst.splice(0)) act()
        return
    }
  }

  async #handle({ id, topic, message, asker, number }: BusToWorker & { kind: 'asked' }) {
    try {
      const answers = await this.#listeners.tell(topic, message)
      await this.#send({ kind: 'handled', id, answers, fault: undefined })
    } catch (error) {
      const waiting = asker === this.id ? this.#waiting.get(number) : undefined
      if (waiting !== undefined) waiting.own = { error }
      const { stack = String(error) } = error as Error
      await this.#send({ kind: 'handled', id, answers: [], fault: stack })
    }
  }

  #settle({ number, answers, fault }: BusToWorker & { kind: 'answered' }): void {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    if (waiting?.own !== undefined) waiting.reject(waiting.own.error)
    else if (fault !== undefined) waiting?.reject(new Error(`another worker failed: ${fault}`))
    else waiting?.resolve(answers)
  }
}
