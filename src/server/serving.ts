/**
 * What serves in one process, under one configuration after the other. It can stage the next one while the current one
 * serves, and change over in one step. When that is done, and who is told, is for others to say: server.ts for a server of
 * one process, workers/ for one of several.
 */

import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { ACCESS_CHANGED, type AccessRecord, change } from '../auth/change.ts'
import type { Bus } from '../bus.ts'
import type { Config } from '../config/config.ts'
import type { EnclaveRecord } from '../keys/enclaves.ts'
import { AuditLog } from '../telemetry/audit.ts'
import { ErrorLog } from '../telemetry/log.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { Relay } from '../telemetry/relay.ts'
import { LineSink } from '../telemetry/sink.ts'
import { Admission } from './admission.ts'
import { InFlight } from './deadlines.ts'
import { Listener } from './listener.ts'
import { Pipeline } from './pipeline.ts'
import { closeStores, type Patience, type Plan, prepare } from './reload.ts'
import type { RustfsDoor } from './rustfs.ts'
import { type Stacks, stacksOf } from './stacks.ts'
import { type Lasting, type State, stateOf, withCertificates } from './state.ts'
import { loadTls, type Tls } from './tls.ts'

/** How long running requests may take to end when the server stops. */
export const GRACE = 10_000
/** How long a line of the audit log may wait for others: under load, a write for each turn would cost more than the lines. */
const AUDIT_PATIENCE = 10
/** How long those of a keystore that was replaced may take. */
const RETIRE_LIMIT = 60_000
/** Milliseconds between two attempts to open the port of the RustFS KMS Admin API, which somebody had until just now. */
const DOOR_INTERVAL = 1000

/** Where logs go; by default the process's standard streams. */
export interface ServerStreams {
  readonly stdout?: NodeJS.WritableStream
  readonly stderr?: NodeJS.WritableStream
}

export interface ServingOptions {
  readonly streams: ServerStreams
  readonly bus: Bus
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** With a keystore that cannot be reached. */
  readonly patience: Patience
  /** Keys of the config are not made: they were, and may have been deleted since. */
  readonly leavesKeys?: boolean
}

/** What was changed over the API since the start. */
export interface Changes {
  readonly access: AccessRecord
  readonly enclaves: readonly EnclaveRecord[]
}

/** What comes next, ready for use: the same configuration with other certificate files, or another one. */
export type Staged = Pick<Plan, 'tls'> | Plan

interface Parts {
  readonly options: ServingOptions
  readonly stacks: Stacks
  readonly listener: Listener
  readonly pipeline: Pipeline
  readonly inFlight: InFlight
  readonly admission: Admission
  readonly relay: Relay | undefined
  /** What requests that begin now are served by; a reload swaps it. */
  readonly current: { state: State }
  readonly tls: Tls
  readonly stdout: LineSink
  readonly stderr: LineSink
}

export class Serving {
  readonly #parts: Parts
  #tls: Tls
  /** Of the RustFS KMS Admin API; of several processes, one has it. */
  #door: RustfsDoor | undefined
  readonly #stop = new AbortController()
  readonly #unsubscribe: () => void
  /** Keystores that were replaced and are not closed yet. */
  readonly #retiring = new Set<Promise<void>>()

  private constructor(parts: Parts) {
    this.#parts = parts
    this.#tls = parts.tls
    const { current, options } = parts
    this.#unsubscribe = options.bus.subscribe(ACCESS_CHANGED, (what) => {
      const { access, enclaves } = current.state
      if (what.enclave === '') change(access, what.change)
      else enclaves.change(what)
      parts.pipeline.review()
    })
  }

  /**
   * Opens everything but the port.
   *
   * @throws TlsFileError, KeyStoreError: nothing is left open then.
   */
  static async open(config: Config, options: ServingOptions): Promise<Serving> {
    const { streams, bus, startedAt, patience, leavesKeys = false } = options
    const stdout = new LineSink(streams.stdout ?? process.stdout, AUDIT_PATIENCE)
    const stderr = new LineSink(streams.stderr ?? process.stderr)
    const relay = bus.isAlone ? undefined : new Relay(bus)
    const lasting: Lasting = {
      metrics: new Metrics(bus, startedAt),
      audit: new AuditLog(config.log.audit ? stdout : undefined, relay),
      log: new ErrorLog(stderr, config.log, relay),
      bus,
      relay,
    }
    const { stores, tls } = await prepare(config, lasting, {
      signal: new AbortController().signal,
      patience,
      leavesKeys,
    })
    const current = { state: stateOf(config, stores, tls, lasting) }
    const state = (): State => current.state
    const inFlight = new InFlight()
    const admission = new Admission()
    const pipeline = new Pipeline({ inFlight, admission, state })
    const stacks = await stacksOf(config.http)
    const listener = new Listener({ tls, Stack: stacks.Secured, state, pipeline })
    return new Serving({
      options,
      stacks,
      listener,
      pipeline,
      inFlight,
      admission,
      relay,
      current,
      tls,
      stdout,
      stderr,
    })
  }

  get state(): State {
    return this.#parts.current.state
  }

  /** Stands for the certificate files that are in use: their contents, and who is let in by them. */
  get fingerprint(): string {
    return this.#tls.fingerprint
  }

  get changes(): Changes {
    const { access, enclaves } = this.state
    return { access: access.record, enclaves: enclaves.records }
  }

  /** Before `listen`. */
  restore({ access, enclaves }: Changes): void {
    this.state.access.restore(access)
    this.state.enclaves.restore(enclaves)
  }

  /** Undefined when it is off, or in another process. */
  get rustfsAddress(): AddressInfo | undefined {
    return this.#door?.address
  }

  /** Resolves when requests are answered. @throws the errors of listen(2) */
  async listen(ticketKeys: Buffer): Promise<AddressInfo> {
    const { relay, listener, options } = this.#parts
    const { bus } = options
    await relay?.start()
    const address = await listener.listen(this.state.config.address, ticketKeys)
    if (bus.isFirst) await this.#openDoor()
    else bus.whenFirst(() => void this.#takeOver())
    this.#keepUp()
    return address
  }

  /**
   * Prepares another configuration while this one serves; without one, takes the certificate files as they are now.
   * What it resolves with is put to use or discarded.
   *
   * @throws TlsFileError, KeyStoreError; when the server stops, its reason
   */
  async stage(config?: Config, patience?: Patience): Promise<Staged> {
    const { signal } = this.#stop
    signal.throwIfAborted()
    if (config === undefined) return { tls: loadTls(this.state.config) }
    const change = config.rustfs && (await this.#door?.prepare(config.rustfs))
    try {
      const options = { signal, patience, before: this.state }
      return { ...(await prepare(config, this.state, options)), change }
    } catch (error) {
      await change?.abandon()
      throw error
    }
  }

  /** In one go, so that no request sees a part of it. @param ticketKeys as for `Listener.use` */
  use(staged: Staged, ticketKeys: Buffer): void {
    const { listener, pipeline } = this.#parts
    const hasNewCertificates = listener.use(staged.tls, ticketKeys)
    if (hasNewCertificates) this.#door?.use(staged.tls)
    this.#tls = staged.tls
    if ('config' in staged) this.#change(staged)
    else if (hasNewCertificates)
      this.#parts.current.state = withCertificates(this.state, staged.tls)
    else return
    pipeline.review()
  }

  /** What was staged is not put to use. */
  async discard(staged: Staged): Promise<void> {
    if (!('config' in staged)) return
    await staged.change?.abandon()
    if (staged.stores.keys !== this.state.keys) await closeStores(staged.stores)
  }

  useTicketKeys(ticketKeys: Buffer): void {
    this.#parts.listener.useTicketKeys(ticketKeys)
  }

  /** Lets nothing more be staged. */
  beginStop(): void {
    this.#stop.abort(new Error('the server is stopping'))
  }

  /** Accepts no more, lets running requests end (at most 10 s), and closes the keystore. */
  async close(): Promise<void> {
    const { listener, inFlight, options, stdout, stderr } = this.#parts
    this.beginStop()
    this.state.audit.stream.close()
    this.state.log.stream.close()
    await Promise.all([listener.close(GRACE, !options.bus.isAlone), this.#door?.close(GRACE)])
    inFlight.close()
    this.#unsubscribe()
    await Promise.all(this.#retiring)
    await closeStores(this.state)
    for (const sink of [stdout, stderr]) sink.flush()
  }

  async #openDoor(): Promise<void> {
    const { current, inFlight, admission, stacks } = this.#parts
    const { rustfs } = current.state.config
    if (rustfs === undefined) return
    // What it needs is loaded only where there is one.
    const { RustfsDoor } = await import('./rustfs.ts')
    const state = (): State => current.state
    const door = await RustfsDoor.open(rustfs, {
      tls: this.#tls,
      stacks,
      state,
      inFlight,
      admission,
    })
    this.#door = door
    // There may have been a reload meanwhile.
    const { rustfs: latest } = current.state.config
    if (latest === undefined || latest === rustfs) return
    door.use(this.#tls)
    const change = await door.prepare(latest)
    change.commit()
  }

  /** The process that did what only one may do has died. */
  async #takeOver(): Promise<void> {
    this.#keepUp()
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      try {
        await this.#openDoor()
        if (this.#stop.signal.aborted) await this.#door?.close(0)
        return
      } catch (error) {
        if (attempt === 0) {
          const reason = (error as Error).message
          this.state.log.write('ERROR', `the RustFS KMS Admin API cannot be opened here: ${reason}`)
        }
        await sleep(DOOR_INTERVAL, undefined, { ref: false })
      }
    }
  }

  /** Has what becomes due be done, by this configuration; of several processes one does it. */
  #keepUp(): void {
    const { sweep, config, bus } = this.state
    // A door that is not open yet may refer to any.
    sweep.spare((name) => this.#door?.refersTo(name) ?? config.rustfs !== undefined)
    sweep.configure({ keys: config.keys, by: config.admin ?? '' })
    if (bus.isFirst) sweep.start()
  }

  #change({ config, stores, tls, change: rustfs }: Plan): void {
    const { current, stdout } = this.#parts
    const before = current.state
    const next = stateOf(config, stores, tls, before, before)
    current.state = next
    rustfs?.commit()
    before.access.followedBy(next.access)
    next.audit.configure(config.log.audit ? stdout : undefined)
    next.log.configure(config.log)
    if (stores.keys === before.keys) {
      stores.keys.cache.configure(config.cache)
      stores.enclaves.configure(config.cache)
    } else {
      this.#retire(before)
      void this.#door?.reseal()
    }
    this.#keepUp()
  }

  #retire({ keys, enclaves, sweep }: State): void {
    enclaves.close()
    const retired = sweep.close().then(() => keys.retire(RETIRE_LIMIT))
    const closed = retired.catch((error: unknown) => {
      this.state.log.write(
        'WARN',
        `the old keystore was not closed properly: ${(error as Error).message}`,
      )
    })
    this.#retiring.add(closed)
    void closed.then(() => this.#retiring.delete(closed))
  }
}
