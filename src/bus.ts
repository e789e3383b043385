/**
 * How the processes of one server tell each other what all of them must know (docs/adr/0011). A server of one process has
 * a plain call here. It is no protocol between servers: those share a keystore, and nothing else.
 */

/** What is told under one name: the message, and what each listener answers. */
export interface Topic<Message, Answer = void> {
  readonly name: string
  /** Never there: it ties the types to the name. */
  readonly types?: (message: Message) => Answer
}

export function topic<Message, Answer = void>(name: string): Topic<Message, Answer> {
  return { name }
}

export interface Bus {
  /** Tells processes apart; never used twice in the life of a server. */
  readonly id: number
  /** Nobody else is listening. */
  readonly isAlone: boolean
  /** This process does what only one of them may do. Once it is the one, it stays it for as long as it lives. */
  readonly isFirst: boolean
  /** Calls `act` as soon as this process is the first one; at once if it is. */
  whenFirst(act: () => void): void
  /**
   * Tells everybody, oneself too. Whatever is asked anywhere, all hear it in the same order. Resolves when everybody has
   * handled it, or has died, with what the listeners answered.
   *
   * @throws what a listener of this process throws
   */
  ask<Message, Answer>(topic: Topic<Message, Answer>, message: Message): Promise<Awaited<Answer>[]>
  /** Tells the others. Resolves when the message has left, which says nothing about its arrival. */
  publish<Message>(topic: Topic<Message>, message: Message): Promise<void>
  /** @returns ends it */
  subscribe<Message, Answer>(
    topic: Topic<Message, Answer>,
    listener: (message: Message) => Answer,
  ): () => void
}

/** A process has died; the others are told its id. */
export const DIED = topic<number>('died')

/** Who listens to what in this process. */
export class Listeners {
  readonly #byTopic = new Map<string, Set<(message: unknown) => unknown>>()

  add<Message, Answer>(
    { name }: Topic<Message, Answer>,
    listener: (message: Message) => Answer,
  ): () => void {
    let set = this.#byTopic.get(name)
    if (set === undefined) this.#byTopic.set(name, (set = new Set()))
    // Whoever tells something under a topic has the topic's type of message.
    const own = (message: unknown): unknown => listener(message as Message)
    set.add(own)
    return () => {
      set.delete(own)
      if (set.size === 0 && this.#byTopic.get(name) === set) this.#byTopic.delete(name)
    }
  }

  /** Calls all at once. @throws what the first one throws that does */
  async tell(name: string, message: unknown): Promise<unknown[]> {
    const answers = [...(this.#byTopic.get(name) ?? [])].map((listener) => listener(message))
    return Promise.all(answers)
  }
}

/** The bus of a server of one process. */
export class LocalBus implements Bus {
  readonly id = 0
  readonly isAlone = true
  readonly isFirst = true
  readonly #listeners = new Listeners()

  whenFirst(act: () => void): void {
    act()
  }

  async ask<Message, Answer>(
    { name }: Topic<Message, Answer>,
    message: Message,
  ): Promise<Awaited<Answer>[]> {
    return (await this.#listeners.tell(name, message)) as Awaited<Answer>[]
  }

  async publish(): Promise<void> {}

  subscribe<Message, Answer>(
    topic: Topic<Message, Answer>,
    listener: (message: Message) => Answer,
  ): () => void {
    return this.#listeners.add(topic, listener)
  }
}
