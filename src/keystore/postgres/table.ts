/**
 * The table of keys: its statements, and how it comes about. Plain SQL on bytea, whose order is that of the bytes in
 * every engine; no LIKE, COLLATE, locks or catalogue.
 */

import { behind, FIRST_ENTRY_NAME, type Listing } from '../../names.ts'
import { KeyStoreError } from '../keystore.ts'
import type { Connections, Statement } from './connections.ts'
import { isForbidden, isMadeTwice, isMissingTable, quoted } from './errors.ts'

/** Rows that say which steps have been made: none is a name, and all sort before the names. */
const STEP_PREFIX = '!schema-'

/** How the table became what it is: version n is what the first n steps make. They may be repeated. */
export const STEPS: readonly ((table: string) => string)[] = [
  (table) =>
    `CREATE TABLE IF NOT EXISTS ${table} (name bytea PRIMARY KEY, value bytea NOT NULL, ` +
    `created_at timestamptz NOT NULL DEFAULT now())`,
]

export class Table {
  readonly probe: Statement
  readonly create: Statement
  readonly get: Statement
  readonly delete: Statement
  readonly list: (limit: number) => Statement
  readonly #name: string

  /** @param name `table` or `schema.table` */
  constructor(name: string) {
    const table = name.split('.').map(quoted).join('.')
    this.#name = table
    this.probe = select(`SELECT name FROM ${table} WHERE name = $1`)
    this.get = select(`SELECT value FROM ${table} WHERE name = $1`)
    this.create = {
      text: `INSERT INTO ${table} (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
      right: 'INSERT',
    }
    this.delete = { text: `DELETE FROM ${table} WHERE name = $1`, right: 'DELETE' }
    this.list = (limit) =>
      select(
        `SELECT name FROM ${table} WHERE name >= $1 AND name < $2 ORDER BY name LIMIT ${limit}`,
      )
  }

  /** Values of `list`. */
  static range({ prefix, from }: Listing): [from: Buffer, to: Buffer] {
    return [
      encodeName(from < FIRST_ENTRY_NAME ? FIRST_ENTRY_NAME : from),
      encodeName(behind(prefix)),
    ]
  }

  /**
   * Makes the table, or what it lacks. Servers may do so side by side; a user who may not is fine as long as
   * nothing is to do.
   *
   * @throws KeyStoreError
   */
  async prepare(
    connections: Connections,
    signal: AbortSignal,
    steps: typeof STEPS = STEPS,
  ): Promise<void> {
    const version = await this.#version(connections, signal)
    if (version > steps.length) {
      throw new KeyStoreError(
        'failed',
        `the table ${connections.settings.table} was made by a newer release (version ${version}; this one knows ${steps.length}): run that release`,
      )
    }
    for (const [index, step] of steps.entries()) {
      if (index < version) continue
      await this.#make(connections, step(this.#name), signal)
      await this.#note(connections, index + 1, signal)
    }
  }

  /** 0 when there is no table. One without a note was made by hand, after our documentation. */
  async #version(connections: Connections, signal: AbortSignal): Promise<number> {
    const { text } = this.list(1)
    const newest = select(text.replace('ORDER BY name', 'ORDER BY name DESC'))
    try {
      const range = [encodeName(STEP_PREFIX), encodeName(behind(STEP_PREFIX))]
      const { rows } = await connections.run(newest, range, signal)
      const name = rows[0]?.[0]
      return name === undefined ? 1 : Number(decodeName(name).slice(STEP_PREFIX.length))
    } catch (error) {
      if (causedBy(error, isMissingTable)) return 0
      throw error
    }
  }

  async #make(connections: Connections, sql: string, signal: AbortSignal): Promise<void> {
    try {
      await connections.run({ text: sql, right: 'CREATE' }, [], signal)
    } catch (error) {
      if (causedBy(error, isMadeTwice)) return
      if (!causedBy(error, isForbidden)) throw error
      const { user, table } = connections.settings
      const [schema = 'public'] = table.includes('.') ? table.split('.') : []
      throw new KeyStoreError(
        'denied',
        `the user "${user}" may not make or change the table ${table}: GRANT CREATE ON SCHEMA ${schema} TO ${quoted(user)}; ` +
          `or let its owner run: ${sql}; GRANT SELECT, INSERT, DELETE ON ${table} TO ${quoted(user)}`,
        { cause: error },
      )
    }
  }

  async #note(connections: Connections, version: number, signal: AbortSignal): Promise<void> {
    const name = encodeName(STEP_PREFIX + String(version).padStart(3, '0'))
    await connections.run(this.create, [name, Buffer.alloc(0)], signal)
  }
}

/** Names are ASCII; what others put into the table comes back as the same bytes, too. */
export function encodeName(name: string): Buffer {
  return Buffer.from(name, 'latin1')
}

export function decodeName(bytes: Buffer): string {
  return bytes.toString('latin1')
}

function select(text: string): Statement {
  return { text, right: 'SELECT' }
}

function causedBy(error: unknown, test: (cause: unknown) => boolean): boolean {
  return error instanceof KeyStoreError && test(error.cause)
}
