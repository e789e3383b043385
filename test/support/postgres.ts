/** A real PostgreSQL server, with a directory, a port and users of its own. It must not run as root. */

import { execFileSync } from 'node:child_process'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import pg from 'pg'
import * as v from 'valibot'

import { postgres, type PostgresSettings } from '#src/keystore/postgres.js'
import type { Certificate } from './certificates.ts'
import { ENDED_BY_ITS_MAKER, freePorts, Program, type ProgramOptions } from './program.ts'
import { type Owner, tempDir } from './server.ts'
import type { StoreConfig } from './stores.ts'
import { findTool } from './tools.ts'

export const PASSWORD = 'a-Secret/of:the@tests'
const ADMIN = 'postgres'

export interface TestPostgresOptions {
  /** Certificates of the server, and of the CA of its clients. Then TLS is needed. */
  readonly tls?: { readonly server: Certificate; readonly ca: Certificate }
}

/** Its user `kes` may make tables in the database `kes`; so may the administrator, of course. */
export class TestPostgres {
  readonly port: number
  readonly directory: string
  readonly #user: ProgramOptions
  #program: Program | undefined
  #tables = 0

  private constructor(directory: string, port: number, user: ProgramOptions) {
    this.directory = directory
    this.port = port
    this.#user = user
  }

  static async start(t: Owner, { tls }: TestPostgresOptions = {}): Promise<TestPostgres> {
    const directory = tempDir(t)
    const user = serverUser()
    const own = (path: string): void => {
      if (user.uid !== undefined) chownSync(path, user.uid, user.gid ?? user.uid)
    }
    const write = (name: string, text: string): void => {
      writeFileSync(join(directory, name), text, { mode: 0o600 })
      own(join(directory, name))
    }
    own(directory)
    write('password', PASSWORD)
    execFileSync(
      tool('initdb'),
      [
        `--pgdata=${join(directory, 'data')}`,
        `--username=${ADMIN}`,
        `--pwfile=${join(directory, 'password')}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        '--no-sync',
      ],
      { ...user, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    write('postgresql.extra', configuration(directory, tls !== undefined))
    if (tls !== undefined) {
      write('server.crt', tls.server.cert)
      write('server.key', tls.server.key)
      write('ca.crt', tls.ca.cert)
      write('data/pg_hba.conf', HBA)
    }
    const [port = 0] = await freePorts(1)
    const server = new TestPostgres(directory, port, user)
    t.after(() => server.kill())
    await server.start()
    await server.sql(`CREATE ROLE kes LOGIN PASSWORD '${PASSWORD}'`)
    await server.sql('CREATE DATABASE kes OWNER kes')
    return server
  }

  /** Starts it again, on the same port with the same data; resolves when it answers. */
  async start(): Promise<void> {
    this.#program = new Program(
      ENDED_BY_ITS_MAKER,
      tool('postgres'),
      [
        `--data_directory=${join(this.directory, 'data')}`,
        `--config_file=${join(this.directory, 'postgresql.extra')}`,
        `--hba_file=${join(this.directory, 'data', 'pg_hba.conf')}`,
        `--unix_socket_directories=${this.directory}`,
        `--port=${this.port}`,
      ],
      { ...this.#user, cwd: this.directory },
    )
    await this.#program.ready(() => this.sql('SELECT 1'))
  }

  /** As a crash of the machine; its data survives. */
  async kill(): Promise<void> {
    await this.#program?.kill()
  }

  /** In its own way: connections are told. */
  async stop(): Promise<void> {
    await this.#program?.stop('SIGINT')
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#program?.signal(name)
  }

  /** As the administrator, over the socket. */
  async sql(text: string, database = ADMIN): Promise<Record<string, unknown>[]> {
    const client = await this.connect(database)
    try {
      return (await client.query<Record<string, unknown>>(text)).rows
    } finally {
      await client.end()
    }
  }

  /** The same, for several statements; the caller ends it. */
  async connect(database = ADMIN): Promise<pg.Client> {
    const [host, port] = [this.directory, this.port]
    const who = { user: ADMIN, password: PASSWORD, database }
    const client = new pg.Client({ host, port, ...who, ssl: false })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  /** A keystore with a table of its own. */
  config(given: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'postgres',
      settings: {
        host: '127.0.0.1',
        port: String(this.port),
        password: PASSWORD,
        table: `keys_${++this.#tables}`,
        ...given,
      },
    }
  }
}

/** What the keystore makes of a config. */
export function settingsOf({ settings }: StoreConfig): PostgresSettings {
  return v.parse(postgres.config, settings)
}

function configuration(directory: string, tls: boolean): string {
  const settings = {
    listen_addresses: "'127.0.0.1'",
    ident_file: `'${directory}/data/pg_ident.conf'`,
    max_connections: '60',
    shared_buffers: '16MB',
    // The tests kill the process, never the machine.
    fsync: 'off',
    ...(tls && {
      ssl: 'on',
      ssl_cert_file: `'${directory}/server.crt'`,
      ssl_key_file: `'${directory}/server.key'`,
      ssl_ca_file: `'${directory}/ca.crt'`,
    }),
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}\n`)
    .join('')
}

/** `certified` needs a client certificate with this name; everybody else a password, and TLS. */
const HBA = `
local   all all scram-sha-256
hostssl all certified 127.0.0.1/32 cert
hostssl all all       127.0.0.1/32 scram-sha-256
`

function tool(name: string): string {
  const path = findTool(name)
  if (path === undefined) throw new Error(`${name} is not installed`)
  return path
}

function serverUser(): ProgramOptions {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres']).toString())
  return { uid: id('-u'), gid: id('-g') }
}
