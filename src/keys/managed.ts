/**
 * Keys whose backend is configured, started, stopped and swapped while the server runs (rustfs-kms-admin.md, 3).
 * Whoever wants a key asks for what runs now, and keeps to that for one request. Nothing here touches the KES API.
 */

import { type Deadline, within } from '../deadline.ts'
import { KesError } from '../errors.ts'
import type { Secret } from '../fields.ts'
import type { ErrorLog } from '../telemetry/log.ts'
import type { StrictFields } from '../strict-json.ts'
import { Turns } from '../turns.ts'
import { type Backend, openBackend, retireBackend } from './managed/backend.ts'
import { wordsFor } from './managed/backend-error.ts'
import {
  type Configuration,
  configurationOfFile,
  merged,
  replaced,
} from './managed/configuration.ts'
import { type BackendType, readDocument } from './managed/document.ts'
import { checkLimits, type Limits } from './managed/limits.ts'
import { pauseAfter } from './managed/retry.ts'
import { loadState, markOf, type SavedState, saveState } from './managed/state-file.ts'
import { startDocument } from './managed/start.ts'
import type { KeyService } from './service.ts'

export type BackendKind = Exclude<BackendType, 'aws'>

export type ManagedStatus = 'NotConfigured' | 'Configured' | 'Running' | { readonly Error: string }

/** One backend while it runs. */
export interface Running {
  readonly keys: KeyService
  readonly kind: BackendKind
  readonly defaultKeyId: string | undefined
}

/** What the config file says. */
export interface ManagedConfig {
  /** What runs from the start: a body of POST /kms/configure. */
  readonly start: Secret | undefined
  readonly limits: Limits
  /** CAs of Vaults: file or directory; '' for the operating system's. */
  readonly ca: string
  /** Path of the state file; '' = what is configured over the API is forgotten at the end. */
  readonly state: string
}

export interface ManagedOptions {
  /** The server's own keys, of its present configuration. */
  readonly own: () => KeyService
  readonly log: Pick<ErrorLog, 'write'>
}

/** What readers see: always whole. */
export interface Snapshot {
  readonly configuration?: Configuration | undefined
  readonly backend?: Backend | undefined
  /** Why it could not start. */
  readonly failure?: string
}

/** A changed config file, whose backend is open already. */
export interface Change {
  /** From now on it counts. */
  commit(): void
  abandon(): Promise<void>
}

/** Milliseconds that the running requests of a backend may take that was replaced. */
const RETIRE_LIMIT = 60_000
const STATE_LIMIT = 10_000
/** How long the start of the server waits for a backend; it goes on trying afterwards. */
const BOOT_PATIENCE = 5000

export class ManagedKeys {
  readonly #own: () => KeyService
  readonly #log: Pick<ErrorLog, 'write'>
  #config: ManagedConfig
  #snapshot: Snapshot = {}
  /** Of changes. */
  readonly #turns = new Turns()
  readonly #retiring = new Set<Promise<void>>()
  #retry: NodeJS.Timeout | undefined
  /** The state file is there, and is ours. */
  #hasState = false

  private constructor(config: ManagedConfig, { own, log }: ManagedOptions) {
    this.#config = config
    this.#own = own
    this.#log = log
  }

  /** Goes on where it was before the restart, else with what the config file says. Never rejects for a backend. */
  static async open(config: ManagedConfig, options: ManagedOptions): Promise<ManagedKeys> {
    const managed = new ManagedKeys(config, options)
    const done = managed.#inTurn({ signal: managed.#turns.signal }, () => managed.#boot())
    const patience = AbortSignal.timeout(BOOT_PATIENCE)
    await within(done, { signal: patience }).catch((error: unknown) => {
      if (!patience.aborted) throw error
    })
    return managed
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }

  get status(): ManagedStatus {
    const { configuration, backend, failure } = this.#snapshot
    if (backend !== undefined) return 'Running'
    if (failure !== undefined) return { Error: failure }
    return configuration === undefined ? 'NotConfigured' : 'Configured'
  }

  /** Of the configuration, whether it runs or not. */
  get kind(): BackendKind | undefined {
    return this.#snapshot.configuration?.settings.backend.kind
  }

  /** What runs now. @param own the server's keys, of the configuration that the request began under */
  running(own: KeyService): Running | undefined {
    const { backend } = this.#snapshot
    if (backend === undefined) return undefined
    const { keys = own, settings } = backend
    return {
      keys,
      kind: settings.backend.kind,
      defaultKeyId: settings.defaultKeyId,
    }
  }

  /** Whether a key of the server's keystore is referred to here, so that it must not be destroyed. */
  refersTo(name: string): boolean {
    const { settings } = this.#snapshot.configuration ?? {}
    return settings?.backend.kind === 'keystore' && settings.defaultKeyId === name
  }

  /** Replaces the configuration of a service that does not run. @throws KesError, JsonError */
  configure(fields: StrictFields, deadline: Deadline): Promise<void> {
    const given = readDocument(fields)
    return this.#inTurn(deadline, async () => {
      const { configuration: before, backend } = this.#snapshot
      if (backend !== undefined)
        throw conflict('KMS already running: use reconfigure to change its configuration')
      const configuration = replaced(before, given)
      await checkLimits(configuration, this.#config.limits)
      await this.#save(configuration, false)
      this.#swap({ configuration })
    })
  }

  /** Changes what is given and nothing else; what runs goes on running. @returns whether it runs @throws KesError, JsonError */
  reconfigure(fields: StrictFields, deadline: Deadline): Promise<boolean> {
    return this.#inTurn(deadline, async () => {
      const { configuration: before, backend: old } = this.#snapshot
      if (before === undefined) throw conflict('KMS not configured: use configure first')
      const configuration = merged(before, readDocument(fields, before.document.backend))
      await checkLimits(configuration, this.#config.limits)
      const backend = old && (await this.#open(configuration, 'Failed to reconfigure KMS'))
      await this.#commit({ configuration, backend })
      return backend !== undefined
    })
  }

  /** @param isForced a service that runs is started anew. @returns whether it ran before @throws KesError */
  start(isForced: boolean, deadline: Deadline): Promise<boolean> {
    return this.#inTurn(deadline, async () => {
      const { configuration, backend: old } = this.#snapshot
      if (configuration === undefined)
        throw conflict('KMS not configured: no configuration was provided to start with')
      if (old !== undefined && !isForced) throw conflict('KMS already running')
      const opening = this.#open(configuration, 'Failed to start or restart KMS service')
      const backend = await opening.catch((error: unknown) => {
        if (old === undefined) this.#swap({ configuration, failure: (error as Error).message })
        throw error
      })
      await this.#commit({ configuration, backend })
      return old !== undefined
    })
  }

  /**
   * The configuration stays. Whoever stops the service wants it to stop, so that it does whether or not that can be saved.
   *
   * @returns whether it was: if not, it runs again after a restart. @throws KesError
   */
  stop(deadline: Deadline): Promise<boolean> {
    return this.#inTurn(deadline, async () => {
      const { configuration } = this.#snapshot
      this.#swap({ configuration })
      try {
        if (configuration !== undefined) await this.#save(configuration, false)
        return true
      } catch (error) {
        this.#complain('rustfs.state still says that the service runs', (error as KesError).cause)
        return false
      }
    })
  }

  /** Opens what a changed config file asks for; until the change is committed or abandoned, nobody makes another one. */
  prepare(config: ManagedConfig): Promise<Change> {
    return new Promise((resolve, reject) => {
      const turn = this.#inTurn({ signal: this.#turns.signal }, async () => {
        const isStarted =
          config.start !== undefined && config.start.mark !== this.#config.start?.mark
        const configuration = isStarted
          ? configurationOfFile(startDocument(config.start))
          : undefined
        const backend = configuration && (await this.#open(configuration, 'rustfs.start', config))
        await new Promise<void>((done) => {
          resolve({
            commit: () => {
              this.#config = config
              if (configuration !== undefined) this.#swap({ configuration, backend })
              done()
            },
            abandon: async () => {
              if (backend !== undefined) await retireBackend(backend, 0)
              done()
            },
          })
        })
      })
      turn.catch(reject)
    })
  }

  /** Saves what there is once more: the server has another keystore now. */
  async reseal(): Promise<void> {
    await this.#inTurn({ signal: this.#turns.signal }, async () => {
      const { configuration, backend } = this.#snapshot
      if (configuration === undefined || !this.#hasState) return
      await this.#save(configuration, backend !== undefined)
    }).catch((error: unknown) => this.#complain('rustfs.state cannot be written', error))
  }

  /** Lets what runs end; the state file still says that it ran. */
  async close(): Promise<void> {
    clearTimeout(this.#retry)
    await this.#turns.end(new KesError('NOT_RUNNING'))
    this.#swap({})
    await Promise.all(this.#retiring)
  }

  async #boot(): Promise<void> {
    const start = this.#config.start && startDocument(this.#config.start)
    const saved = await this.#load()
    const isChanged = start !== undefined && saved?.startMark !== markOf(start)
    if (isChanged && saved !== undefined)
      this.#log.write('INFO', 'rustfs.start has changed and is in use, instead of rustfs.state')
    const configuration =
      saved === undefined || isChanged ? start && configurationOfFile(start) : saved.configuration
    this.#swap({ configuration })
    if (configuration !== undefined && (isChanged || saved?.isRunning)) await this.#try(0)
  }

  /** Starts what is configured, now and again until it runs. @param failures how often that was tried in vain */
  async #try(failures: number): Promise<void> {
    const { configuration } = this.#snapshot
    if (configuration === undefined) return
    try {
      this.#swap({ configuration, backend: await this.#open(configuration, 'Failed to start KMS') })
      if (failures > 0) this.#log.write('INFO', 'the backend of the RustFS KMS API has started')
    } catch (thrown) {
      const error = thrown as Error
      const mine = { configuration, failure: error.message }
      this.#swap(mine)
      if (failures === 0) this.#complain('the backend of the RustFS KMS API cannot start', error)
      const pause = pauseAfter(error, failures)
      if (pause === undefined) return
      this.#retry = setTimeout(() => {
        const again = async (): Promise<void> => {
          // Unless somebody has decided otherwise.
          if (this.#snapshot === mine) await this.#try(failures + 1)
        }
        this.#inTurn({ signal: this.#turns.signal }, again).catch(() => {})
      }, pause).unref()
    }
  }

  async #load(): Promise<SavedState | undefined> {
    const { state } = this.#config
    if (state === '') return undefined
    try {
      const saved = await loadState(state, this.#own(), stateDeadline())
      this.#hasState = saved !== undefined
      return saved
    } catch (error) {
      this.#complain('rustfs.state cannot be read, what it has is not in use', error, 'WARN')
      return undefined
    }
  }

  async #save(configuration: Configuration, isRunning: boolean): Promise<void> {
    const { state, start } = this.#config
    if (state === '') return
    const startMark = markOf(start && startDocument(start))
    const saved = { configuration, isRunning, startMark }
    try {
      await saveState(state, this.#own(), saved, stateDeadline())
      this.#hasState = true
    } catch (cause) {
      const message = 'the configuration cannot be saved, nothing has changed'
      throw new KesError('BACKEND_FAILED', { message, cause })
    }
  }

  /** @param what was tried, for the message. @throws KesError BAD_REQUEST, BACKEND_FAILED */
  async #open(
    configuration: Configuration,
    what: string,
    { limits, ca }: ManagedConfig = this.#config,
  ): Promise<Backend> {
    const { settings, byApi } = configuration
    await checkLimits(configuration, limits)
    const secretFiles = byApi.has('auth_method') ? limits.secretFiles : undefined
    try {
      return await openBackend(settings, { ca, secretFiles, log: this.#log }, this.#turns.signal)
    } catch (cause) {
      if (cause instanceof KesError) throw cause
      const message = `${what}: Backend error: ${wordsFor(cause)}`
      throw new KesError('BACKEND_FAILED', { message, cause })
    }
  }

  /** Saved first, so that what is seen is never forgotten. */
  async #commit({
    configuration,
    backend,
  }: Snapshot & { configuration: Configuration }): Promise<void> {
    try {
      await this.#save(configuration, backend !== undefined)
    } catch (error) {
      if (backend !== undefined) await retireBackend(backend, 0)
      throw error
    }
    this.#swap({ configuration, backend })
  }

  #swap(next: Snapshot): void {
    const old = this.#snapshot.backend
    this.#snapshot = next
    next.backend?.sweep?.start()
    if (old === undefined || old === next.backend) return
    const closed = retireBackend(old, RETIRE_LIMIT).catch((error: unknown) =>
      this.#complain('an old backend was not closed properly', error),
    )
    this.#retiring.add(closed)
    void closed.then(() => this.#retiring.delete(closed))
  }

  /** Changes never overlap. One that is not wanted any more when its turn comes is not made. */
  #inTurn<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const done = this.#turns.take(() => {
      deadline.signal.throwIfAborted()
      return work()
    })
    return within(done, deadline)
  }

  #complain(what: string, error: unknown, level: 'WARN' | 'ERROR' = 'ERROR'): void {
    const { message, cause } = error as Error
    const reason = cause instanceof Error ? `${message}: ${cause.message}` : message
    this.#log.write(level, `${what}: ${reason}`)
  }
}

function conflict(message: string): KesError {
  return new KesError('SERVICE_CONFLICT', { message })
}

function stateDeadline(): Deadline {
  return { signal: AbortSignal.timeout(STATE_LIMIT) }
}
