/** The server: from a Config to an open port and back. The only place where the parts are put together. */

import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { ROUTES } from '../api/index.ts'
import type { ServedRoute } from '../api/route.ts'
import { Access } from '../auth/access.ts'
import { Policy } from '../auth/policy.ts'
import type { Config } from '../config/config.ts'
import { KesError } from '../errors.ts'
import { KeyService } from '../keys/service.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { AuditLog } from '../telemetry/audit.ts'
import { ErrorLog } from '../telemetry/log.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { LineSink } from '../telemetry/sink.ts'
import { now } from '../time.ts'
import { InFlight } from './deadlines.ts'
import { Listener } from './listener.ts'
import { Pipeline } from './pipeline.ts'
import { type State, stateOf } from './state.ts'
import { tlsOptions } from './tls.ts'

/** How long running requests may take to end when the server stops. */
const GRACE = 10_000
const OPEN_TRIES = 5
const OPEN_LIMIT = 30_000
const CREATE_LIMIT = 15_000

/** Where logs go; by default the process's standard streams. */
export interface ServerStreams {
  readonly stdout?: NodeJS.WritableStream
  readonly stderr?: NodeJS.WritableStream
}

export class Server {
  readonly address: AddressInfo
  readonly #listener: Listener
  readonly #state: State
  readonly #inFlight: InFlight
  readonly #sinks: readonly LineSink[]
  #closing: Promise<void> | undefined

  private constructor(
    address: AddressInfo,
    listener: Listener,
    state: State,
    inFlight: InFlight,
    sinks: readonly LineSink[],
  ) {
    this.address = address
    this.#listener = listener
    this.#state = state
    this.#inFlight = inFlight
    this.#sinks = sinks
  }

  /**
   * Resolves when requests are answered.
   *
   * @throws TlsFileError, KeyStoreError, and the errors of listen(2): nothing is left open then.
   */
  static async start(config: Config, streams: ServerStreams = {}): Promise<Server> {
    const { host, port } = config.address
    const tls = tlsOptions(config.tls, `${host}:${port}`)
    const stdout = new LineSink(streams.stdout ?? process.stdout)
    const stderr = new LineSink(streams.stderr ?? process.stderr)
    const log = new ErrorLog({
      sink: stderr,
      threshold: config.log.threshold,
      format: config.log.format,
    })
    const keys = new KeyService(await openKeyStore(config, log), config.cache)
    const inFlight = new InFlight()
    try {
      const access = accessOf(config)
      await createKeys(keys, config)
      const state = stateOf({
        keys,
        access,
        metrics: new Metrics(),
        audit: new AuditLog(config.log.audit ? stdout : undefined),
        log,
        routes: servedRoutes(config),
        generation: config.generation,
      })
      const pipeline = new Pipeline(inFlight)
      const listener = new Listener({ tls, verify: config.tls.auth, state: () => state, pipeline })
      // Without a host, every address of the machine, over IPv6 and IPv4.
      const address = await listener.listen(host === '' ? '::' : host, port)
      return new Server(address, listener, state, inFlight, [stdout, stderr])
    } catch (error) {
      await keys.close()
      throw error
    }
  }

  /** Accepts no more, lets running requests end (at most 10 s), and closes the keystore. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#state.audit.stream.close()
    this.#state.log.stream.close()
    await this.#listener.close(GRACE)
    this.#inFlight.close()
    await this.#state.keys.close()
    for (const sink of this.#sinks) sink.flush()
  }
}

function servedRoutes({ api }: Config): ServedRoute[] {
  return ROUTES.map((route) => {
    const settings = api.get(route.path)
    return {
      route,
      skipAuth: settings?.skipAuth ?? false,
      timeout: settings?.timeout ?? route.timeout,
    }
  })
}

function accessOf({ admin, policies }: Config): Access {
  const createdAt = now()
  return new Access({
    admin,
    policies: policies.map(
      ({ name, allow, deny, language, generation }) =>
        new Policy(
          name,
          { allow, deny },
          { createdAt, createdBy: admin ?? '', language, generation },
        ),
    ),
    assignments: new Map(
      policies.flatMap(({ name, identities }) =>
        identities.map((identity) => [identity, name] as const),
      ),
    ),
    createdAt,
  })
}

/** A keystore that cannot be reached yet gets a few more chances: it may be starting, too. */
async function openKeyStore({ keystore }: Config, log: ErrorLog): Promise<KeyStore> {
  const { kind, settings } = keystore
  const signal = AbortSignal.timeout(OPEN_LIMIT)
  for (let attempt = 1; ; attempt++) {
    try {
      const store = await kind.open(settings, signal)
      await store.status(signal)
      return store
    } catch (error) {
      const isUnreachable = error instanceof KeyStoreError && error.failure === 'unreachable'
      if (!isUnreachable || attempt === OPEN_TRIES || signal.aborted) {
        throw new KeyStoreError(
          'failed',
          `keystore ${kind.name} (${kind.describe(settings)}): ${(error as Error).message}`,
          { cause: error },
        )
      }
      log.write(
        'WARN',
        `the keystore cannot be reached, try ${attempt} of ${OPEN_TRIES}: ${error.message}`,
      )
      await sleep(250 * 2 ** attempt)
    }
  }
}

async function createKeys(keys: KeyService, { keys: names, admin }: Config): Promise<void> {
  for (const name of names) {
    try {
      await keys.create(name, admin ?? '', { signal: AbortSignal.timeout(CREATE_LIMIT) })
    } catch (error) {
      if (error instanceof KesError && error.code === 'KEY_EXISTS') continue
      const cause = error instanceof KesError ? (error.cause as Error | undefined) : undefined
      throw new KeyStoreError(
        'failed',
        `key '${name}' of the config cannot be created: ${cause?.message ?? (error as Error).message}`,
        { cause: error },
      )
    }
  }
}
