/** The server: from a Config to an open port and back. The only place where the parts are put together. */

import type { AddressInfo } from 'node:net'

import type { Config } from '../config/config.ts'
import type { Loaded } from '../config/load.ts'
import { AuditLog } from '../telemetry/audit.ts'
import { ErrorLog } from '../telemetry/log.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { LineSink } from '../telemetry/sink.ts'
import { InFlight } from './deadlines.ts'
import { Listener } from './listener.ts'
import { Pipeline } from './pipeline.ts'
import { changedSections, type Plan, prepare, reasonsOf, withSameDoor } from './reload.ts'
import type { RustfsDoor, RustfsDoorOptions } from './rustfs.ts'
import { stacksOf } from './stacks.ts'
import { type State, stateOf, withCertificates } from './state.ts'
import { loadTls, tlsPaths } from './tls.ts'
import { FileWatch } from './watch.ts'

/** How long running requests may take to end when the server stops. */
const GRACE = 10_000
/** How long a line of the audit log may wait for others: under load, a write for each turn would cost more than the lines. */
const AUDIT_PATIENCE = 10
/** How long those of a keystore that was replaced may take. */
const RETIRE_LIMIT = 60_000

/** Where logs go; by default the process's standard streams. */
export interface ServerStreams {
  readonly stdout?: NodeJS.WritableStream
  readonly stderr?: NodeJS.WritableStream
}

interface Parts {
  readonly address: AddressInfo
  readonly listener: Listener
  /** Of the RustFS KMS Admin API, when there is one. */
  readonly door: RustfsDoor | undefined
  readonly pipeline: Pipeline
  readonly inFlight: InFlight
  /** What requests that begin now are served by; a reload swaps it. */
  readonly current: { state: State }
  readonly stdout: LineSink
  readonly stderr: LineSink
}

export class Server {
  readonly address: AddressInfo
  /** Of the RustFS KMS Admin API; undefined when it is off. */
  readonly rustfsAddress: AddressInfo | undefined
  readonly #parts: Parts
  readonly #watch: FileWatch
  readonly #stop = new AbortController()
  /** Ends with the reload that was asked for last. */
  #reloads: Promise<unknown> = Promise.resolve()
  /** Keystores that were replaced and are not closed yet. */
  readonly #retiring = new Set<Promise<void>>()
  #closing: Promise<void> | undefined

  private constructor(parts: Parts) {
    this.address = parts.address
    this.rustfsAddress = parts.door?.address
    this.#parts = parts
    this.#watch = new FileWatch({
      paths: () => tlsPaths(parts.current.state.config.tls),
      take: () => this.#inTurn(() => this.#takeCertificates()),
      complain: (reason) =>
        parts.current.state.log.write(
          'WARN',
          `changed certificate files cannot be used, the old ones stay: ${reason}`,
        ),
    })
  }

  /**
   * Resolves when requests are answered.
   *
   * @throws TlsFileError, KeyStoreError, and the errors of listen(2): nothing is left open then.
   */
  static async start(config: Config, streams: ServerStreams = {}): Promise<Server> {
    const stdout = new LineSink(streams.stdout ?? process.stdout, AUDIT_PATIENCE)
    const stderr = new LineSink(streams.stderr ?? process.stderr)
    const audit = new AuditLog(config.log.audit ? stdout : undefined)
    const lasting = { metrics: new Metrics(), audit, log: new ErrorLog(stderr, config.log) }
    const { stores, tls } = await prepare(config, lasting, new AbortController().signal)
    try {
      const current = { state: stateOf(config, stores, tls, lasting) }
      const inFlight = new InFlight()
      const pipeline = new Pipeline(inFlight, () => current.state)
      const state = (): State => current.state
      const stacks = await stacksOf(config.http)
      const listener = new Listener({ tls, Stack: stacks.Secured, state, pipeline })
      const { host, port } = config.address
      // Without a host, every address of the machine, over IPv6 and IPv4.
      const address = await listener.listen(host === '' ? '::' : host, port)
      const door = await openDoor(config, { tls, stacks, state, inFlight }).catch(
        async (error: unknown) => {
          await listener.close(0)
          throw error
        },
      )
      keepUp(current.state, door)
      return new Server({ address, listener, door, pipeline, inFlight, current, stdout, stderr })
    } catch (error) {
      await stores.keys.close()
      throw error
    }
  }

  /**
   * Serves by another configuration, all of it or, when anything is wrong with it, none. Requests that run end under
   * the one that they began with; followers of logs, counts and cached keys stay. Everything changes but `address`
   * and `http`.
   *
   * @param read called when the reloads before are done
   * @throws what `read` throws, TlsFileError, KeyStoreError; the error log has the reason, too
   */
  reload(read: () => Loaded): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#parts.current.state
      const { log } = before
      try {
        const { config, warnings } = read()
        // What it listens with cannot be changed while it listens.
        const { address, http } = before.config
        const next = withSameDoor(before.config, { ...config, address, http })
        const plan = await this.#prepare(next)
        const changes = [...changedSections(before.config, next), ...this.#apply(plan)]
        for (const warning of warnings) log.write('WARN', warning)
        for (const section of changedSections(next, config))
          log.write('WARN', `${section}: a change needs a restart; the server goes on as before`)
        log.write('INFO', 'the config was reloaded', { changed: changes.join(', ') || 'nothing' })
      } catch (error) {
        for (const reason of reasonsOf(error))
          log.write('ERROR', `the reload is refused, everything stays as it is: ${reason}`)
        throw error
      }
    })
  }

  /** Accepts no more, lets running requests end (at most 10 s), and closes the keystore. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { current, listener, door, inFlight, stdout, stderr } = this.#parts
    this.#stop.abort(new Error('the server is stopping'))
    this.#watch.close()
    current.state.audit.stream.close()
    current.state.log.stream.close()
    await Promise.all([listener.close(GRACE), door?.close(GRACE)])
    inFlight.close()
    await this.#reloads
    await Promise.all(this.#retiring)
    await current.state.sweep.close()
    current.state.enclaves.close()
    await current.state.keys.close()
    for (const sink of [stdout, stderr]) sink.flush()
  }

  /** Reloads never overlap. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#reloads.then(() => {
      this.#stop.signal.throwIfAborted()
      return work()
    })
    this.#reloads = done.catch(() => {})
    return done
  }

  async #prepare(config: Config): Promise<Plan> {
    const { current, door } = this.#parts
    const change = config.rustfs && (await door?.prepare(config.rustfs))
    try {
      return { ...(await prepare(config, current.state, this.#stop.signal, current.state)), change }
    } catch (error) {
      await change?.abandon()
      throw error
    }
  }

  /** In one go, so that no request sees a part of it. @returns what else has changed than the config's text */
  #apply({ config, stores, tls, change }: Plan): string[] {
    const { current, listener, door, pipeline, stdout } = this.#parts
    const before = current.state
    const next = stateOf(config, stores, tls, before, before)
    const hasNewCertificates = listener.use(tls)
    if (hasNewCertificates) door?.use(tls)
    current.state = next
    change?.commit()
    before.access.followedBy(next.access)
    next.audit.configure(config.log.audit ? stdout : undefined)
    next.log.configure(config.log)
    if (stores.keys === before.keys) {
      stores.keys.cache.configure(config.cache)
      stores.enclaves.configure(config.cache)
    } else {
      this.#retire(before)
      void door?.reseal()
    }
    keepUp(next, door)
    pipeline.review()
    return hasNewCertificates ? ['certificates'] : []
  }

  #retire({ keys, enclaves, sweep }: State): void {
    enclaves.close()
    const retired = sweep.close().then(() => keys.retire(RETIRE_LIMIT))
    const closed = retired.catch((error: unknown) => {
      this.#parts.current.state.log.write(
        'WARN',
        `the old keystore was not closed properly: ${(error as Error).message}`,
      )
    })
    this.#retiring.add(closed)
    void closed.then(() => this.#retiring.delete(closed))
  }

  async #takeCertificates(): Promise<void> {
    const { current, listener, door, pipeline } = this.#parts
    const { config, log } = current.state
    const tls = loadTls(config)
    if (!listener.use(tls)) return
    door?.use(tls)
    current.state = withCertificates(current.state, tls)
    pipeline.review()
    log.write('INFO', 'changed certificate files are in use')
  }
}

/** Has what becomes due be done, by this configuration. */
function keepUp({ sweep, config: { keys, admin } }: State, door: RustfsDoor | undefined): void {
  sweep.spare((name) => door?.refersTo(name) === true)
  sweep.configure({ keys, by: admin ?? '' })
  sweep.start()
}

/** Loads what it needs only where there is one. */
async function openDoor(
  { rustfs }: Config,
  options: RustfsDoorOptions,
): Promise<RustfsDoor | undefined> {
  if (rustfs === undefined) return undefined
  const { RustfsDoor } = await import('./rustfs.ts')
  return RustfsDoor.open(rustfs, options)
}
