/** The keystore's six methods as statements on a table. */

import { KesError } from '../../errors.ts'
import { cutPage, type Listing, type Page } from '../../names.ts'
import type { KeyStore } from '../keystore.ts'
import type { PostgresSettings } from '../postgres.ts'
import { Connections } from './connections.ts'
import { decodeName, encodeName, Table } from './table.ts'

export async function openPostgres(
  settings: PostgresSettings,
  signal: AbortSignal,
): Promise<KeyStore> {
  const connections = await Connections.load(settings)
  const table = new Table(settings.table)
  try {
    await table.prepare(connections, signal)
  } catch (error) {
    await connections.close()
    throw error
  }
  return new PostgresStore(connections, table)
}

class PostgresStore implements KeyStore {
  readonly #connections: Connections
  readonly #table: Table

  constructor(connections: Connections, table: Table) {
    this.#connections = connections
    this.#table = table
  }

  /** Reads a row that is not there: by key, as requests do, with the rights that they need. */
  async status(signal: AbortSignal): Promise<void> {
    await this.#connections.run(this.#table.probe, [encodeName('!')], signal)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const row = [encodeName(name), value]
    const { count, wasRepeated } = await this.#connections.run(this.#table.create, row, signal)
    if (count === 1) return
    // The answer to an earlier try was lost: what is there may be ours. Keys are random, so equal ones are.
    if (wasRepeated && (await this.#read(name, signal))?.equals(value)) return
    throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const value = await this.#read(name, signal)
    if (value === undefined) throw new KesError('KEY_NOT_FOUND')
    return value
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const row = [encodeName(name)]
    const { count, wasRepeated } = await this.#connections.run(this.#table.delete, row, signal)
    // After a lost answer, nothing to delete may be our own doing; in any case it is gone.
    if (count === 0 && !wasRepeated) throw new KesError('KEY_NOT_FOUND')
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const statement = this.#table.list(limit + 1)
    const { rows } = await this.#connections.run(statement, Table.range(listing), signal)
    return cutPage(
      rows.flatMap(([name]) => (name === undefined ? [] : [decodeName(name)])),
      limit,
    )
  }

  async close(): Promise<void> {
    await this.#connections.close()
  }

  async #read(name: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const { rows } = await this.#connections.run(this.#table.get, [encodeName(name)], signal)
    return rows[0]?.[0]
  }
}
