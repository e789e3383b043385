/**
 * The process that looks after the workers (docs/adr/0011). It owns the port, gives connections away in turn, and serves
 * none; it decides on reloads and ends, and starts workers anew that have died. It holds no keys but those of a keystore
 * that lives in one process's memory.
 */

import cluster from 'node:cluster'
import type { AddressInfo } from 'node:net'

import type { Config } from '../../config/config.ts'
import { ConfigError } from '../../config/load.ts'
import { TlsFileError } from '../../pem.ts'
import { ErrorLog } from '../../telemetry/log.ts'
import { FIGURES } from '../../telemetry/metrics.ts'
import { LineSink } from '../../telemetry/sink.ts'
import { AT_START, isSameKeyStore, LATER, type Patience } from '../reload.ts'
import { type Change, Reloads } from '../reloads.ts'
import { GRACE, type ServerStreams } from '../serving.ts'
import { newTicketKeys, TICKET_LIFETIME } from '../tls.ts'
import { type Addresses, Child, type Outlets } from './child.ts'
import { Departed } from './departed.ts'
import { Hub } from './hub.ts'
import { Outlet } from './lines.ts'
import {
  DISCARD,
  type Business,
  type Source,
  STAGE,
  type StageAnswer,
  TICKET_KEYS,
  USE,
} from './messages.ts'
import { StoreHost } from './shared-store.ts'

/** Milliseconds in which each worker has opened another keystore and made its keys, or never will. */
const STAGE_LIMIT = 120_000
/** Milliseconds after which nobody asks a keystore any more that was replaced. */
const STORE_LIMIT = 90_000
/** Milliseconds that workers may take longer than a server of one process for its end. */
const STOP_MARGIN = 3000
/** A worker that lived for so many milliseconds is replaced at once; else, after a while that grows. */
const STABLE = 10_000
const [FIRST_DELAY, MAX_DELAY] = [250, 30_000]
/** Starts in a row that may fail while there is no worker left. */
const TRIES = 5

export interface PrimaryOptions {
  readonly workers: number
  readonly streams?: ServerStreams
}

/** What a reload leads to. */
interface Next {
  readonly source: Source
  readonly config: Config
  readonly epoch: number
}

export class Primary {
  readonly #count: number
  readonly #outlets: Outlets
  readonly #sink: LineSink
  readonly #log: ErrorLog
  readonly #startedAt = Date.now()
  readonly #hub = new Hub()
  readonly #departed = new Departed()
  readonly #stores = new StoreHost()
  readonly #children = new Map<number, Child>()
  readonly #reloads: Reloads<Source>
  readonly #ticketTimer: NodeJS.Timeout
  /** What workers serve by. */
  #current: Next
  #ticketKeys = newTicketKeys()
  #fingerprint: string | undefined
  #lastEpoch = 0
  #addresses: Addresses | undefined
  #first: Child | undefined
  /** Starts in a row that were of no use. */
  #failures = 0
  /** It keeps the process going when there is no worker. */
  #refillTimer: NodeJS.Timeout | undefined
  #isStopping = false
  #giveUp: (error: Error) => void = () => {}
  /** Rejects when there is no worker, and none can be started. */
  readonly failed: Promise<never>
  #closing: Promise<void> | undefined

  private constructor(source: Source, { workers, streams }: PrimaryOptions) {
    this.#count = workers
    const { stdout = process.stdout, stderr = process.stderr } = streams ?? {}
    this.#outlets = { stdout: new Outlet(stdout), stderr: new Outlet(stderr) }
    this.#sink = new LineSink(stderr)
    this.#log = new ErrorLog(this.#sink, source.config.log)
    this.#current = { source, config: source.config, epoch: 0 }
    this.#stores.offer(0, source.config.keystore)
    this.failed = new Promise((_, reject) => (this.#giveUp = reject))
    this.failed.catch(() => {})
    const current = (): Config => this.#current.config
    this.#reloads = new Reloads<Source>({
      get config() {
        return current()
      },
      log: this.#log,
      stage: (next) => this.#stage(next),
    })
    this.#hub.conclude(FIGURES, (answers) => this.#departed.withThem(answers))
    this.#ticketTimer = setInterval(() => {
      this.#ticketKeys = newTicketKeys()
      void this.#hub.ask(TICKET_KEYS, this.#ticketKeys)
    }, TICKET_LIFETIME).unref()
  }

  /**
   * Resolves when all workers answer requests.
   *
   * @throws StartError when one cannot: no process is left then
   */
  static async start(source: Source, options: PrimaryOptions): Promise<Primary> {
    // Balances better than to let workers compete for connections, and the default of most platforms only.
    cluster.schedulingPolicy = cluster.SCHED_RR
    cluster.setupPrimary({ stdio: ['ignore', 'pipe', 'pipe', 'ipc'], serialization: 'advanced' })
    const primary = new Primary(source, options)
    try {
      await primary.#reloads.inTurn(async () => {
        // Whatever is wrong, one of them finds it out.
        await primary.#launch(AT_START)
        await Promise.all(primary.#missing().map(() => primary.#launch(LATER)))
      })
      return primary
    } catch (error) {
      await primary.close()
      throw error
    }
  }

  get address(): AddressInfo {
    if (this.#addresses === undefined) throw new Error('bug: no worker has listened yet')
    return this.#addresses.address
  }

  get rustfsAddress(): AddressInfo | undefined {
    return this.#addresses?.rustfsAddress
  }

  /** As a server of one process, in all workers or in none. @throws what `read` throws, or why it is refused */
  reload(read: () => Source): Promise<void> {
    return this.#reloads.reload(read)
  }

  /** Resolves when all workers have ended, each as a server of one process does. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#isStopping = true
    clearInterval(this.#ticketTimer)
    clearTimeout(this.#refillTimer)
    const children = [...this.#children.values()]
    for (const child of children) child.send({ kind: 'stop' })
    const timer = setTimeout(() => {
      for (const child of this.#children.values()) child.kill('it did not stop')
    }, GRACE + STOP_MARGIN)
    await Promise.all([this.#reloads.close(), ...children.map(({ stopped }) => stopped)])
    for (const child of children) child.send({ kind: 'leave' })
    await Promise.all(children.map(({ exited }) => exited))
    clearTimeout(timer)
    this.#stores.drop(this.#current.epoch)
    this.#sink.flush()
  }

  /** One for each worker that is not there. */
  #missing(): undefined[] {
    return Array.from({ length: Math.max(0, this.#count - this.#children.size) })
  }

  /** Resolves when one more worker serves. @throws StartError */
  async #launch(patience: Patience): Promise<void> {
    const child = new Child(
      {
        message: (from, message) => this.#received(from, message),
        ended: (...how) => this.#ended(...how),
      },
      this.#outlets,
    )
    this.#children.set(child.id, child)
    await child.ready
    const { source, epoch } = this.#current
    child.send({
      kind: 'start',
      file: source.file,
      startedAt: this.#startedAt,
      patience,
      // Whatever was made then may have been deleted since.
      leavesKeys: this.#addresses !== undefined,
      epoch,
    })
    const fingerprint = await child.opened
    await this.#hub.join(child, (changes) => {
      // Before it listens, so that what goes wrong with what only one does is found at the start.
      if (this.#hub.size === 0) this.#appoint(child)
      child.send({ kind: 'listen', changes, ticketKeys: this.#ticketKeys })
    })
    // It may have died meanwhile.
    if (!this.#children.has(child.id)) this.#hub.remove(child.id)
    const addresses = await child.listening
    this.#addresses ??= addresses
    this.#fingerprint ??= fingerprint
    // The files have changed, and this one came first to see it.
    if (fingerprint !== this.#fingerprint) this.#reloads.takeCertificates().catch(() => {})
  }

  #received(child: Child, message: Business): void {
    if (message.kind !== 'store') return this.#hub.received(child, message)
    const { number, call } = message
    void this.#stores.serve(call).then((outcome) => child.send({ kind: 'stored', number, outcome }))
  }

  #ended(child: Child, how: string): void {
    this.#children.delete(child.id)
    this.#hub.remove(child.id)
    this.#departed.left(child.id)
    if (this.#first === child) {
      this.#first = undefined
      const { oldest } = this.#hub
      this.#appoint(oldest && this.#children.get(oldest.id))
    }
    if (this.#isStopping || child.since === undefined) return
    const reason = child.reason === undefined ? how : `${how}: ${child.reason}`
    this.#log.write('ERROR', `worker ${child.pid} has ended (${reason}); another one is started`)
    this.#failures = performance.now() - child.since < STABLE ? this.#failures + 1 : 0
    this.#refill()
  }

  /** One of them does what only one may do. */
  #appoint(child: Child | undefined): void {
    if (this.#first !== undefined) return
    this.#first = child
    child?.send({ kind: 'first' })
  }

  /** Starts workers for those that have ended, sooner or later. */
  #refill(): void {
    const delay =
      this.#failures === 0 ? 0 : Math.min(FIRST_DELAY * 2 ** (this.#failures - 1), MAX_DELAY)
    this.#refillTimer ??= setTimeout(() => {
      this.#refillTimer = undefined
      this.#reloads.inTurn(() => this.#launchMissing()).catch(() => {})
    }, delay)
  }

  async #launchMissing(): Promise<void> {
    const patience = this.#hub.size === 0 ? AT_START : LATER
    const launches = await Promise.allSettled(this.#missing().map(() => this.#launch(patience)))
    const failed = launches.find((launch) => launch.status === 'rejected')
    if (failed === undefined || this.#isStopping) return
    this.#failures++
    const error = failed.reason as Error
    this.#log.write('ERROR', `a worker cannot start: ${error.message}`)
    if (this.#hub.size === 0 && this.#failures >= TRIES) this.#giveUp(error)
    else this.#refill()
  }

  async #stage(next?: { readonly config: Config; readonly source: Source }): Promise<Change> {
    const { config: before, epoch: sameEpoch } = this.#current
    const isSame = next === undefined || isSameKeyStore(before, next.config)
    const epoch = isSame ? sameEpoch : ++this.#lastEpoch
    if (next !== undefined) this.#stores.offer(epoch, next.config.keystore)
    const answers = await this.#hub.ask(STAGE, { file: next?.source.file, epoch }, STAGE_LIMIT)
    try {
      const fingerprint = agreed(answers) ?? this.#fingerprint
      const hasNewCertificates = fingerprint !== this.#fingerprint
      return {
        hasNewCertificates,
        use: async () => {
          if (hasNewCertificates) this.#ticketKeys = newTicketKeys()
          this.#fingerprint = fingerprint
          if (next !== undefined) this.#current = { ...next, epoch }
          if (!isSame) setTimeout(() => this.#stores.drop(sameEpoch), STORE_LIMIT).unref()
          if (next !== undefined) this.#log.configure(next.config.log)
          await this.#hub.ask(USE, { ticketKeys: this.#ticketKeys })
        },
      }
    } catch (error) {
      await this.#hub.ask(DISCARD, undefined)
      if (!isSame) this.#stores.drop(epoch)
      throw error
    }
  }
}

/** What all workers have read; undefined when there is none just now. @throws why it is refused */
function agreed(answers: readonly StageAnswer[]): string | undefined {
  const reasons = answers.flatMap((answer) => ('reasons' in answer ? answer.reasons : []))
  if (reasons.length > 0) throw new ConfigError([...new Set(reasons)])
  const fingerprints = answers.flatMap((answer) =>
    'fingerprint' in answer ? answer.fingerprint : [],
  )
  if (new Set(fingerprints).size > 1)
    throw new TlsFileError('certificate files have changed while they were read; try again')
  return fingerprints[0]
}
