/**
 * What is said of a backend, by the config file or over the API of RustFS (rustfs-kms-admin.md, 4): the fields as they
 * were given, before defaults. Whether they make sense together is for settings.ts to say.
 */

import { createHash } from 'node:crypto'

import { Secret } from '../../fields.ts'
import { JsonError } from '../../json.ts'
import type { StrictFields } from '../../strict-json.ts'
import { type AuthMethod, authMethodJson, readAuthMethod } from './auth-method.ts'

/** As the document spells them. */
export type BackendType = 'local' | 'vault' | 'vault-transit' | 'static' | 'aws' | 'keystore'

const BACKENDS: ReadonlyMap<string, BackendType> = new Map([
  ['Local', 'local'],
  ['local', 'local'],
  ['VaultKV2', 'vault'],
  ['Vault', 'vault'],
  ['vault', 'vault'],
  ['vault-kv2', 'vault'],
  ['vault_kv2', 'vault'],
  ['VaultTransit', 'vault-transit'],
  ['vault-transit', 'vault-transit'],
  ['vault_transit', 'vault-transit'],
  ['Static', 'static'],
  ['static', 'static'],
  ['AWS', 'aws'],
  ['AwsKms', 'aws'],
  ['aws', 'aws'],
  ['aws-kms', 'aws'],
  ['aws_kms', 'aws'],
  ['keystore', 'keystore'],
])

/** Of every backend: by name, whether it is a number, a text, or a yes or no. */
const TUNING = {
  default_key_id: 'text',
  timeout_seconds: 'whole',
  retry_attempts: 'whole',
  enable_cache: 'flag',
  max_cached_keys: 'whole',
  cache_ttl_seconds: 'whole',
  allow_insecure_dev_defaults: 'flag',
} as const

const VAULT = {
  address: 'text',
  auth_method: 'auth',
  namespace: 'text',
  mount_path: 'text',
  kv_mount: 'text',
  key_path_prefix: 'text',
  skip_tls_verify: 'flag',
} as const

const OWN = {
  local: { key_dir: 'text', master_key: 'secret', file_permissions: 'whole' },
  vault: VAULT,
  'vault-transit': { ...VAULT, transit_key: 'text' },
  static: { key_id: 'text', secret_key: 'secret' },
  aws: { region: 'text', endpoint_url: 'text' },
  keystore: {},
} as const satisfies Record<BackendType, Readonly<Record<string, FieldType>>>

interface Types {
  text: string
  whole: number
  flag: boolean
  secret: Secret
  auth: AuthMethod
}
type FieldType = keyof Types
type Of<T extends Readonly<Record<string, FieldType>>> = {
  readonly [Name in keyof T]?: Types[T[Name]] | null
}

/** Fields by the names that they have in the API; null: to be cleared. */
export type Said = Of<typeof TUNING> &
  Of<(typeof OWN)['local']> &
  Of<(typeof OWN)['vault-transit']> &
  Of<(typeof OWN)['static']> &
  Of<(typeof OWN)['aws']>
export type FieldName = keyof Said

export interface Document {
  readonly backend: BackendType
  readonly said: Said
}

/**
 * Reads the fields of a backend, each in its own type.
 *
 * @param known the backend that is meant where the fields do not say
 * @throws JsonError for a field that is unknown, missing, or of another type
 */
export function readDocument(fields: StrictFields, known?: BackendType): Document {
  const backend = readBackend(fields) ?? known
  if (backend === undefined) throw new JsonError('missing field backend_type')
  const said: Record<string, Types[FieldType] | null> = {}
  for (const [name, type] of Object.entries(fieldsOf(backend))) {
    const value = readField(fields, name, type)
    if (value !== undefined) said[name] = value
  }
  fields.end()
  return { backend, said }
}

function readBackend(fields: StrictFields): BackendType | undefined {
  const word = fields.string('backend_type')
  if (word === undefined) return undefined
  const backend = word === null ? undefined : BACKENDS.get(word)
  if (backend !== undefined) return backend
  const known = [...new Set(BACKENDS.values())].join(', ')
  throw new JsonError(`unknown backend_type; known are ${known}`)
}

function fieldsOf(backend: BackendType): Readonly<Record<string, FieldType>> {
  return { ...TUNING, ...OWN[backend] }
}

function readField(
  fields: StrictFields,
  name: string,
  type: FieldType,
): Types[FieldType] | null | undefined {
  if (type === 'text') return fields.string(name)
  if (type === 'whole') return fields.whole(name)
  if (type === 'flag') return fields.boolean(name)
  if (type === 'auth') {
    const method = fields.object(name)
    return method && readAuthMethod(method)
  }
  const text = fields.string(name)
  return typeof text === 'string' ? new Secret(text) : text
}

/** As the API takes it, fields in the order of their names. @param shown what stands for a secret */
export function documentJson(
  { backend, said }: Document,
  shown: (secret: Secret) => string,
): Readonly<Record<string, unknown>> {
  const json: Record<string, unknown> = { backend_type: backend }
  for (const [name, value] of Object.entries(said)) {
    if (value === undefined || value === null) continue
    json[name] =
      value instanceof Secret
        ? shown(value)
        : typeof value === 'object'
          ? authMethodJson(value, shown)
          : value
  }
  return sortedByName(json)
}

/** Tells configurations apart, without their secrets (4.7). */
export function fingerprint(document: Document): string {
  const json = JSON.stringify(documentJson(document, () => '[redacted]'))
  return createHash('sha256').update(json).digest('hex')
}

function sortedByName(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      typeof value === 'object' && value !== null
        ? sortedByName(value as Readonly<Record<string, unknown>>)
        : value,
    ]),
  )
}
