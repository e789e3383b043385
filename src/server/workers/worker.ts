/**
 * A worker: serves the connections that the primary gives it, and does what the primary says. It lives no longer than the
 * primary. Signals mean the primary, also those that a terminal or a supervisor sends to all processes of a service.
 */

import cluster from 'node:cluster'

import type { Config } from '../../config/config.ts'
import { loadConfig } from '../../config/load.ts'
import { reasonsOf } from '../reload.ts'
import { withSamePorts } from '../reloads.ts'
import { type Staged, Serving } from '../serving.ts'
import {
  CHANGES,
  type ConfigText,
  DISCARD,
  type FromWorker,
  STAGE,
  type StageAnswer,
  type StageOrder,
  type StoreCall,
  type StoreOutcome,
  TICKET_KEYS,
  type ToWorker,
  USE,
} from './messages.ts'
import { SharedStore } from './shared-store.ts'
import { WorkerBus } from './worker-bus.ts'

export class Worker {
  readonly #bus: WorkerBus
  readonly #stored = new Map<number, (outcome: StoreOutcome) => void>()
  /** Kinds of keystores that live in the primary. The same one is the same keystore. */
  readonly #kinds = new Map<Config['keystore']['kind'], Config['keystore']['kind']>()
  #serving: Serving | undefined
  #staged: Staged | undefined
  /** Of the keystore that is opened next. */
  #epoch = 0
  #lastNumber = 0

  constructor() {
    const { worker } = cluster
    if (worker === undefined) throw new Error('bug: a worker without a primary')
    this.#bus = new WorkerBus(worker.id, send)
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
    process.on('message', (message: ToWorker) => this.#received(message))
    void send({ kind: 'ready' })
  }

  #received(message: ToWorker): void {
    switch (message.kind) {
      case 'start':
        return this.#attempt(() => this.#open(message))
      case 'listen':
        return this.#attempt(() => this.#listen(message))
      case 'stop':
        return void this.#stop()
      case 'leave':
        // Ends the process.
        return process.disconnect()
      case 'stored':
        this.#stored.get(message.number)?.(message.outcome)
        this.#stored.delete(message.number)
        return
      case 'asked':
      case 'answered':
      case 'published':
      case 'first':
        return this.#bus.received(message)
    }
  }

  /** A step of the start. */
  #attempt(step: () => Promise<void>): void {
    step().catch(async (error: unknown) => {
      const { code, port } = error as NodeJS.ErrnoException & { readonly port?: number }
      const message = code === undefined ? reasonsOf(error).join('\n') : (error as Error).message
      await send({ kind: 'failed', message, code, port })
      process.disconnect()
    })
  }

  async #open({
    file,
    startedAt,
    patience,
    leavesKeys,
    epoch,
  }: ToWorker & { kind: 'start' }): Promise<void> {
    this.#epoch = epoch
    const serving = await Serving.open(this.#read(file), {
      streams: {},
      bus: this.#bus,
      startedAt,
      patience,
      leavesKeys,
    })
    this.#serving = serving
    this.#bus.subscribe(CHANGES, () => serving.changes)
    this.#bus.subscribe(STAGE, (order) => this.#stage(serving, order))
    this.#bus.subscribe(USE, ({ ticketKeys }) => {
      if (this.#staged !== undefined) serving.use(this.#staged, Buffer.from(ticketKeys))
      this.#staged = undefined
    })
    this.#bus.subscribe(DISCARD, async () => {
      const staged = this.#staged
      this.#staged = undefined
      if (staged !== undefined) await serving.discard(staged)
    })
    this.#bus.subscribe(TICKET_KEYS, (keys) => serving.useTicketKeys(Buffer.from(keys)))
    await send({ kind: 'opened', fingerprint: serving.fingerprint })
  }

  async #listen({ changes, ticketKeys }: ToWorker & { kind: 'listen' }): Promise<void> {
    const serving = this.#serving
    if (serving === undefined) throw new Error('bug: told to listen before it is open')
    // What is asked from here on builds on it.
    if (changes !== undefined) serving.restore(changes)
    const address = await serving.listen(Buffer.from(ticketKeys))
    await send({ kind: 'listening', address, rustfsAddress: serving.rustfsAddress })
  }

  async #stage(serving: Serving, { file, epoch }: StageOrder): Promise<StageAnswer> {
    try {
      this.#epoch = epoch
      const config = file && withSamePorts(serving.state.config, this.#read(file))
      this.#staged = await serving.stage(config)
      return { fingerprint: this.#staged.tls.fingerprint }
    } catch (error) {
      return { reasons: reasonsOf(error) }
    }
  }

  /** @throws ConfigError */
  #read({ text, path, options }: ConfigText): Config {
    const { config } = loadConfig(text, path, options)
    const { kind, settings } = config.keystore
    if (kind.isLocal !== true) return config
    const shared = this.#kinds.get(kind) ?? {
      ...kind,
      open: async () => new SharedStore(this.#epoch, (call) => this.#askStore(call)),
    }
    this.#kinds.set(kind, shared)
    return { ...config, keystore: { kind: shared, settings } }
  }

  #askStore(call: StoreCall): Promise<StoreOutcome> {
    const number = ++this.#lastNumber
    return new Promise((resolve) => {
      this.#stored.set(number, resolve)
      void send({ kind: 'store', number, call })
    })
  }

  async #stop(): Promise<void> {
    await this.#serving?.close()
    // What it has to say must be said before it ends.
    await Promise.all([flushed(process.stdout), flushed(process.stderr)])
    await send({ kind: 'stopped' })
  }
}

/** Resolves when the message has left, or never will. */
function send(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve())
    else resolve()
  })
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()))
}
