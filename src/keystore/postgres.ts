/**
 * Keystore in a table of PostgreSQL, or of an engine that speaks its protocol (CockroachDB, YugabyteDB): one row
 * per key. Only what the config says is here; the client is loaded with postgres/store.ts when it is used.
 */

import * as v from 'valibot'

import { optional, Secret, text, whole } from '../fields.ts'
import { defineKeyStore } from './keystore.ts'

const PORT = 5432
const DEFAULT_NAME = 'kes'

const TABLE = /^(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$/

/** As libpq's `sslmode`; those that give up encryption silently are left out. */
const MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const

export interface PostgresSettings {
  /** A directory with the server's socket if it begins with a slash. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: Secret | undefined
  /** `table` or `schema.table`, lower case. */
  readonly table: string
  readonly tls: {
    readonly mode: (typeof MODES)[number]
    readonly ca: string
    readonly cert: string
    readonly key: string
  }
  readonly pool: { readonly max: number }
}

const tls = v.strictObject({
  mode: v.pipe(
    v.nullish(v.picklist(MODES, `write one of ${MODES.join(', ')}`)),
    v.description(
      'verify-full: verify the certificate and the host name in it. verify-ca: the certificate only. require: encrypt, but trust any server. disable: no TLS. Default: verify-full; on the same machine (localhost, a socket) without ca and cert, disable.',
    ),
  ),
  ca: v.pipe(
    optional(text, ''),
    v.description(
      'File or directory of PEM files with the CAs that are trusted; else the operating system’s.',
    ),
  ),
  cert: v.pipe(optional(text, ''), v.description('PEM file with the client certificate.')),
  key: v.pipe(
    optional(text, ''),
    v.description('PEM file with the private key of the client certificate.'),
  ),
})

const fields = v.strictObject({
  url: v.pipe(
    v.nullish(text),
    v.description(
      'postgres://user:password@host:port/database, instead of the fields below; what stands below wins.',
    ),
  ),
  host: v.pipe(
    v.nullish(text),
    v.description('Name or address of the server, or the directory of its socket.'),
  ),
  port: v.pipe(v.nullish(whole(1, 65_535)), v.description(`Default ${PORT}.`)),
  database: v.pipe(v.nullish(text), v.description(`Default ${DEFAULT_NAME}.`)),
  user: v.pipe(v.nullish(text), v.description(`Default ${DEFAULT_NAME}.`)),
  password: v.pipe(v.nullish(text), v.description('Password of the user.')),
  table: v.pipe(
    optional(
      v.pipe(
        text,
        v.regex(TABLE, 'write table or schema.table in lower case: a to z, 0 to 9 and _'),
      ),
      'kes_keys',
    ),
    v.description('Table, or schema.table, of the keys; created if missing.'),
  ),
  tls: v.pipe(
    optional(
      v.pipe(
        tls,
        v.check(({ key, cert }) => (key === '') === (cert === ''), 'key and cert belong together'),
      ),
      {},
    ),
    v.description('Encryption of the connections.'),
  ),
  pool: v.pipe(
    optional(
      v.strictObject({
        max: v.pipe(
          optional(whole(1, 1000), '10'),
          v.description('How many connections each server opens at most.'),
        ),
      }),
      {},
    ),
    v.description('Connections.'),
  ),
})

export const postgres = defineKeyStore({
  name: 'postgres',
  title: 'Table of PostgreSQL, or of an engine that speaks its protocol',
  config: v.pipe(
    fields,
    v.rawTransform<v.InferOutput<typeof fields>, PostgresSettings>(
      ({ dataset: { value }, addIssue, NEVER }) => {
        const url = value.url ? parseUrl(value.url) : {}
        if (typeof url === 'string') {
          addIssue({ message: `url: ${url}` })
          return NEVER
        }
        const host = value.host || url.host
        if (!host) {
          addIssue({ message: 'the field host, or url, is needed' })
          return NEVER
        }
        const password = value.password || url.password
        return {
          host,
          port: value.port ?? url.port ?? PORT,
          database: value.database || url.database || DEFAULT_NAME,
          user: value.user || url.user || DEFAULT_NAME,
          password: password ? new Secret(password) : undefined,
          table: value.table,
          tls: { ...value.tls, mode: value.tls.mode ?? url.mode ?? defaultMode(host, value.tls) },
          pool: value.pool,
        }
      },
    ),
  ),
  describe: ({ host, port, database, table }) =>
    `table ${table} of database ${database} at ${host}:${port}`,
  async open(settings, signal) {
    const { openPostgres } = await import('./postgres/store.ts')
    return openPostgres(settings, signal)
  },
})

interface UrlParts {
  readonly host?: string
  readonly port?: number
  readonly database?: string
  readonly user?: string
  readonly password?: string
  readonly mode?: PostgresSettings['tls']['mode']
}

/** What is wrong with it, where something is; without the URL, which holds a password. */
function parseUrl(text: string): UrlParts | string {
  const wrong = 'not a URL like postgres://user:password@host:port/database'
  if (!/^postgres(?:ql)?:\/\//.test(text) || !URL.canParse(text)) return wrong
  const { hostname, port, pathname, username, password, searchParams } = new URL(text)
  const { sslmode, ...others } = Object.fromEntries(searchParams)
  const mode = MODES.find((known) => known === sslmode)
  if ((sslmode !== undefined && mode === undefined) || Object.keys(others).length > 0)
    return `of its parameters only sslmode is known, as ${MODES.join(', ')}; the others are fields beside url`
  try {
    return {
      host: decodeURIComponent(hostname).replace(/^\[|\]$/g, ''),
      ...(port !== '' && { port: Number(port) }),
      database: decodeURIComponent(pathname.slice(1)),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      ...(mode !== undefined && { mode }),
    }
  } catch {
    return wrong
  }
}

function defaultMode(
  host: string,
  { ca, cert }: Pick<PostgresSettings['tls'], 'ca' | 'cert'>,
): PostgresSettings['tls']['mode'] {
  const isHere = host.startsWith('/') || /^(?:localhost|127(?:\.\d+){3}|::1)$/.test(host)
  return isHere && ca === '' && cert === '' ? 'disable' : 'verify-full'
}
