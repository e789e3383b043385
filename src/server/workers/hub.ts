/**
 * The middle of the bus, in the primary. It sends what is asked to all members at once, so all hear everything in
 * the same order, and brings the answers back. A member that dies has nothing to say; one that does not answer is ended, since
 * the others wait for it with their own answers.
 */

import { DIED, type Topic } from '../../bus.ts'
import type { Changes } from '../serving.ts'
import { type BusFromWorker, CHANGES, type ToWorker } from './messages.ts'

export interface Member {
  readonly id: number
  send(message: ToWorker): void
  /** Ends it. */
  kill(reason: string): void
}

interface Asked {
  readonly waiting: Set<number>
  readonly answers: Map<number, readonly unknown[]>
  fault: string | undefined
  done(): void
}

interface Question {
  readonly topic: string
  readonly message: unknown
  readonly asker: number
  readonly number: number
}

/** Milliseconds that an answer may take. */
const PATIENCE = 10_000
const PRIMARY = 0

export class Hub {
  readonly #members = new Map<number, Member>()
  readonly #asked = new Map<number, Asked>()
  readonly #conclusions = new Map<
    string,
    (answers: ReadonlyMap<number, readonly unknown[]>) => Promise<readonly unknown[]>
  >()
  #lastId = 0
  /** What is asked while somebody joins waits until he is there; undefined when nobody does. */
  #held: (() => void)[] | undefined
  #joining: Promise<unknown> = Promise.resolve()

  get size(): number {
    return this.#members.size
  }

  /** The member that has been there for longest. */
  get oldest(): Member | undefined {
    const [oldest] = this.#members.values()
    return oldest
  }

  /** What the primary makes of all answers to a topic: the asker gets that instead. */
  conclude<Message, Answer>(
    { name }: Topic<Message, Answer>,
    conclusion: (
      answers: ReadonlyMap<number, readonly Awaited<Answer>[]>,
    ) => Promise<readonly unknown[]>,
  ): void {
    this.#conclusions.set(name, conclusion as never)
  }

  /**
   * Asks every member, in the primary's name.
   *
   * @param patience milliseconds after which members that have not answered are ended
   * @throws Error when a listener fails
   */
  async ask<Message, Answer>(
    { name }: Topic<Message, Answer>,
    message: Message,
    patience = PATIENCE,
  ): Promise<Awaited<Answer>[]> {
    const question = { topic: name, message, asker: PRIMARY, number: 0 }
    const { answers, fault } = await this.#put(question, patience)
    if (fault !== undefined) throw new Error(fault)
    return [...answers.values()].flat() as Awaited<Answer>[]
  }

  publish(topic: string, message: unknown, from = PRIMARY): void {
    for (const member of this.#members.values())
      if (member.id !== from) member.send({ kind: 'published', topic, message })
  }

  /** What a member says. */
  received(from: Member, message: BusFromWorker): void {
    switch (message.kind) {
      case 'ask':
        return void this.#forward(from, message)
      case 'publish':
        return this.publish(message.topic, message.message, from.id)
      case 'handled': {
        const asked = this.#asked.get(message.id)
        asked?.answers.set(from.id, message.answers)
        if (asked !== undefined) asked.fault ??= message.fault
        return this.#answered(message.id, from.id)
      }
    }
  }

  /**
   * Lets somebody in, who then agrees with the others: nothing is asked between what he is told of their changes and his
   * first question. Resolves when he is a member.
   *
   * @param greet tells him
   */
  async join(member: Member, greet: (changes: Changes | undefined) => void): Promise<void> {
    const joined = this.#joining.then(() => this.#join(member, greet))
    this.#joining = joined
    await joined
  }

  /** Somebody has died. */
  remove(id: number): void {
    if (!this.#members.delete(id)) return
    this.publish(DIED.name, id)
    for (const [number, asked] of this.#asked) {
      // What he had said of himself is no longer so.
      asked.answers.delete(id)
      this.#answered(number, id)
    }
  }

  async #join(member: Member, greet: (changes: Changes | undefined) => void): Promise<void> {
    this.#held = []
    let changes: Changes | undefined
    while (changes === undefined && this.#members.size > 0) {
      const [first] = this.#members.values()
      changes = first && (await this.#changesOf(first))
    }
    greet(changes)
    this.#members.set(member.id, member)
    const held = this.#held
    this.#held = undefined
    for (const send of held) send()
  }

  /** Undefined when he has died meanwhile. */
  async #changesOf(member: Member): Promise<Changes | undefined> {
    const question = { topic: CHANGES.name, message: undefined, asker: PRIMARY, number: 0 }
    const { answers } = await new Promise<Asked>((resolve) =>
      this.#send(question, [member], PATIENCE, resolve),
    )
    const [changes] = answers.get(member.id) ?? []
    return changes as Changes | undefined
  }

  async #forward(from: Member, { number, topic, message }: BusFromWorker & { kind: 'ask' }) {
    const { answers, fault } = await this.#put({ topic, message, asker: from.id, number }, PATIENCE)
    const conclude = this.#conclusions.get(topic)
    const all = conclude === undefined ? [...answers.values()].flat() : await conclude(answers)
    // Also to one that is no member yet, and makes the keys of the config.
    from.send({ kind: 'answered', number, answers: all, fault })
  }

  #put(question: Question, patience: number): Promise<Asked> {
    return new Promise((resolve) => {
      const send = (): void => this.#send(question, [...this.#members.values()], patience, resolve)
      if (this.#held === undefined) send()
      else this.#held.push(send)
    })
  }

  #send(
    { topic, message, asker, number }: Question,
    members: readonly Member[],
    patience: number,
    done: (asked: Asked) => void,
  ): void {
    const id = ++this.#lastId
    const timer = setTimeout(() => {
      for (const late of asked.waiting)
        this.#members.get(late)?.kill(`it has not answered within ${patience / 1000} s`)
    }, patience)
    const asked: Asked = {
      waiting: new Set(members.map((member) => member.id)),
      answers: new Map(),
      fault: undefined,
      done: () => {
        clearTimeout(timer)
        this.#asked.delete(id)
        done(asked)
      },
    }
    this.#asked.set(id, asked)
    for (const member of members) member.send({ kind: 'asked', id, topic, message, asker, number })
    if (members.length === 0) asked.done()
  }

  #answered(id: number, by: number): void {
    const asked = this.#asked.get(id)
    if (asked?.waiting.delete(by) === true && asked.waiting.size === 0) asked.done()
  }
}
