/**
 * Connections to PostgreSQL: a pool whose statements end with their signal, and are tried again on a new connection
 * where the old one was lost. What is sent fits PgBouncer: no named statements, no parameters at the start but names.
 */

import type { Pool, PoolClient } from 'pg'

import { withinOrDrop } from '../../deadline.ts'
import { importOptional } from '../optional.ts'
import type { PostgresSettings } from '../postgres.ts'
import { clientTls } from '../tls.ts'
import { isConflict, isLost, isReadOnly, isUnclear, translate } from './errors.ts'

const CONNECT_LIMIT = 5000
/** The server's own limit for a statement, for those that we gave up. */
const STATEMENT_LIMIT = 10_000
const IDLE_LIMIT = 60_000
/** After so much silence the system asks whether the other side is still there. */
const KEEP_ALIVE = 10_000
const TRIES = 4

/** For a statement: the right of the table that it needs, for messages. */
export type Right = 'SELECT' | 'INSERT' | 'DELETE' | 'CREATE'

export interface Statement {
  readonly text: string
  readonly right: Right
}

export interface Outcome {
  /** All columns are bytea. */
  readonly rows: readonly (readonly Buffer[])[]
  readonly count: number
  /** An earlier try may have been executed, too: its answer was lost. */
  readonly wasRepeated: boolean
}

export class Connections {
  readonly settings: PostgresSettings
  readonly #pool: Pool
  readonly #madeAt = new Map<PoolClient, number>()
  /** Connections made before are not trusted: one of them was found dead. */
  #trustedSince = Number.NEGATIVE_INFINITY

  private constructor(settings: PostgresSettings, pool: Pool) {
    this.settings = settings
    this.#pool = pool
    // Without a listener the end of an idle connection would be the end of the process.
    pool.on('error', () => this.#distrust())
    pool.on('connect', (client) => {
      this.#madeAt.set(client, performance.now())
      client.on('end', () => this.#madeAt.delete(client))
      // The same for one that is lent: its statement fails anyway.
      client.on('error', () => {})
    })
  }

  /** Nothing is connected yet. @throws KeyStoreError when pg is not installed, or a TLS file cannot be used */
  static async load(settings: PostgresSettings): Promise<Connections> {
    const { default: pg } = await importOptional('pg', () => import('pg'))
    const { host, port, database, user, password, tls, pool } = settings
    const isVerified = tls.mode === 'verify-ca' || tls.mode === 'verify-full'
    return new Connections(
      settings,
      new pg.Pool({
        host,
        port,
        database,
        user,
        // A function is neither shown by inspection nor replaced by what pg finds in the environment.
        password: () => password?.reveal() as string,
        ssl: tls.mode !== 'disable' && {
          secureContext: clientTls(tls),
          rejectUnauthorized: isVerified,
          ...(tls.mode === 'verify-ca' && { checkServerIdentity: () => undefined }),
        },
        application_name: 'openkes',
        max: pool.max,
        connectionTimeoutMillis: CONNECT_LIMIT,
        idleTimeoutMillis: IDLE_LIMIT,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE,
        onConnect: (client) => client.query(`SET statement_timeout = ${STATEMENT_LIMIT}`),
      }),
    )
  }

  /** @throws KeyStoreError, or the signal's reason */
  async run(
    { text, right }: Statement,
    values: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<Outcome> {
    let wasRepeated = false
    for (let attempt = 1; ; attempt++) {
      try {
        const client = await this.#acquire(signal)
        try {
          return { ...(await this.#execute(client, text, values, signal)), wasRepeated }
        } catch (error) {
          if (signal.aborted || attempt === TRIES || !isWorthAnotherTry(error)) throw error
          wasRepeated ||= isLost(error) || isUnclear(error)
        }
      } catch (error) {
        throw signal.aborted ? signal.reason : translate(error, this.settings, right)
      }
    }
  }

  /** Ends all connections, whatever they do. */
  async close(): Promise<void> {
    const ended = this.#pool.end()
    for (const client of this.#madeAt.keys()) client.connection.stream.destroy()
    await ended
  }

  /** A connection that nobody has reason to distrust. */
  async #acquire(signal: AbortSignal): Promise<PoolClient> {
    for (;;) {
      signal.throwIfAborted()
      const connecting = this.#pool.connect()
      const client = await withinOrDrop(connecting, { signal }, (late) => late.release())
      if ((this.#madeAt.get(client) ?? Number.NEGATIVE_INFINITY) > this.#trustedSince) return client
      discard(client)
    }
  }

  async #execute(
    client: PoolClient,
    text: string,
    values: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<Omit<Outcome, 'wasRepeated'>> {
    const abort = (): void => void client.connection.stream.destroy()
    signal.addEventListener('abort', abort)
    try {
      const { rows, rowCount } = await client.query<Buffer[]>(
        { text, rowMode: 'array' },
        values.map((value) => Buffer.from(value)),
      )
      client.release()
      return { rows, count: rowCount ?? 0 }
    } catch (error) {
      if (isLost(error) || isReadOnly(error)) {
        // Those beside it lead to the same server, which is silent, gone or no longer the primary.
        this.#distrust()
        discard(client)
      } else client.release()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  #distrust(): void {
    this.#trustedSince = performance.now()
  }
}

function isWorthAnotherTry(error: unknown): boolean {
  return isLost(error) || isConflict(error) || isReadOnly(error)
}

/** Takes it out of the pool, without waiting for an answer of a server that may be dead. */
function discard(client: PoolClient): void {
  client.release(true)
  client.connection.stream.destroy()
}
