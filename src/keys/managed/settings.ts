/**
 * What a configuration means: defaults, bounds, and what is needed for a backend (rustfs-kms-admin.md, 4.1 to 4.3).
 * Whether the API may name it is for limits.ts to say.
 */

import { isAbsolute, normalize } from 'node:path'

import * as v from 'valibot'

import { KesError } from '../../errors.ts'
import { endpoint, type Secret } from '../../fields.ts'
import { decodeBase64 } from '../../json.ts'
import { isName } from '../../names.ts'
import { SECRET_SIZE } from '../key-version.ts'
import type { AuthMethod } from './auth-method.ts'
import type { Document, Said } from './document.ts'

export interface KmsSettings {
  readonly defaultKeyId: string | undefined
  /** Seconds; more than 300 are as good as 300. */
  readonly timeout: number
  /** Of a request to the backend; more than 10 are as good as 10. */
  readonly tries: number
  /** Undefined when it is off, and for the keystore, which has a cache of its own. */
  readonly cache: { readonly maxKeys: number; readonly ttl: number } | undefined
  readonly backend: BackendSettings
}

export type BackendSettings =
  LocalSettings | VaultBackendSettings | StaticSettings | { readonly kind: 'keystore' }

export interface LocalSettings {
  readonly kind: 'local'
  readonly keyDir: string
  readonly masterKey: Secret
}

export interface VaultBackendSettings {
  readonly kind: 'vault' | 'vault-transit'
  /** Without a final slash. */
  readonly address: string
  readonly auth: AuthMethod
  readonly namespace: string | undefined
  /** Of the transit engine; without effect where the keys are not encrypted by it. */
  readonly mountPath: string
  readonly kvMount: string
  readonly keyPathPrefix: string
  readonly transitKey: string
}

export interface StaticSettings {
  readonly kind: 'static'
  readonly keyId: string
  readonly secretKey: Secret
}

/** The only mode of key files: 0600. */
export const FILE_MODE = 0o600

const TIMEOUT = 30
const TRIES = 3
const MAX_KEYS = 1000
const TTL = 300
const MAX_TTL = 86_400
export const DEV_ONLY =
  '; allow_insecure_dev_defaults, in the section rustfs.start of the config file, allows it for development'

/** What is wrong with a configuration: 400. */
export function misconfigured(what: string): KesError {
  return new KesError('BAD_REQUEST', { message: `Configuration error: ${what}` })
}

/** @throws KesError BAD_REQUEST, NOT_IMPLEMENTED */
export function settingsOf(document: Document): KmsSettings {
  const { said } = document
  const backend = backendOf(document)
  return {
    defaultKeyId: said.default_key_id ?? undefined,
    timeout: positive(said.timeout_seconds ?? TIMEOUT, 'Timeout'),
    tries: positive(said.retry_attempts ?? TRIES, 'Retry attempts'),
    cache: backend.kind === 'keystore' ? noCache(said) : cacheOf(said),
    backend,
  }
}

function positive(value: number, what: string): number {
  if (value > 0) return value
  throw misconfigured(`${what} must be greater than 0`)
}

function cacheOf(said: Said): KmsSettings['cache'] {
  if (said.enable_cache === false) return undefined
  const ttl = positive(said.cache_ttl_seconds ?? TTL, 'Cache TTL')
  return {
    maxKeys: positive(said.max_cached_keys ?? MAX_KEYS, 'Cache max_keys'),
    ttl: Math.min(ttl, MAX_TTL),
  }
}

/** What would have no effect is not accepted. */
function noCache(said: Said): undefined {
  for (const name of ['enable_cache', 'max_cached_keys', 'cache_ttl_seconds'] as const) {
    if ((said[name] ?? undefined) !== undefined)
      throw misconfigured(
        `${name}: with the backend keystore, the section cache of the config file says how long keys are kept`,
      )
  }
}

function backendOf(document: Document): BackendSettings {
  const { backend, said } = document
  if (backend === 'local') return localOf(said)
  if (backend === 'static') return staticOf(said)
  if (backend === 'keystore') return { kind: 'keystore' }
  if (backend !== 'aws') return vaultOf(backend, said)
  throw new KesError('NOT_IMPLEMENTED', {
    message: 'the backend aws is not available in this release',
  })
}

function localOf(said: Said): LocalSettings {
  const keyDir = needed(said.key_dir, 'key_dir')
  // A path with dots means another place when something in it is a symbolic link.
  if (!isAbsolute(keyDir) || normalize(keyDir) !== keyDir || keyDir.includes('\0'))
    throw misconfigured('key_dir must be an absolute path without . and ..')
  const masterKey = said.master_key ?? undefined
  if (masterKey === undefined || masterKey.reveal() === '')
    throw misconfigured('Local needs a master_key, which the keys are sealed under')
  if ((said.file_permissions ?? FILE_MODE) !== FILE_MODE)
    throw misconfigured(`file_permissions: only ${FILE_MODE} (0600) is possible`)
  return { kind: 'local', keyDir: keyDir.replace(/(?<=.)\/$/, ''), masterKey }
}

function vaultOf(kind: VaultBackendSettings['kind'], said: Said): VaultBackendSettings {
  const isDev = said.allow_insecure_dev_defaults === true
  const address = v.safeParse(endpoint, needed(said.address, 'address'))
  if (!address.success) throw misconfigured(`address: ${address.issues[0].message}`)
  if (said.skip_tls_verify === true)
    throw misconfigured(
      'skip_tls_verify is not available; name the CA of your Vault in rustfs.backends.ca of the config file',
    )
  const auth = said.auth_method ?? undefined
  if (auth === undefined) throw misconfigured('auth_method is required')
  checkAuth(auth, isDev)
  const mountPath = said.mount_path ?? 'transit'
  const kvMount = said.kv_mount ?? 'secret'
  const prefix = kind === 'vault' ? 'rustfs/kms/keys' : 'rustfs/kms/transit-metadata'
  if (kind === 'vault-transit') checkPath(mountPath, 'mount_path')
  checkPath(kvMount, 'kv_mount')
  const keyPathPrefix = said.key_path_prefix ?? prefix
  if (keyPathPrefix !== '') checkPath(keyPathPrefix, 'key_path_prefix')
  const transitKey = said.transit_key ?? 'openkes'
  if (!isName(transitKey)) throw misconfigured('transit_key must be 1 to 80 of 0-9 A-Z a-z _ -')
  return {
    kind,
    address: address.output,
    auth,
    namespace: said.namespace ?? undefined,
    mountPath,
    kvMount,
    keyPathPrefix,
    transitKey,
  }
}

function checkAuth(auth: AuthMethod, isDev: boolean): void {
  switch (auth.type) {
    case 'token': {
      const token = auth.token.reveal().trim()
      if (token === '')
        throw misconfigured(
          'Vault token is required when no existing KMS credentials are available',
        )
      if (!isToken(token)) throw misconfigured('the Vault token has characters that no token has')
      if (token === 'dev-token' && !isDev)
        throw misconfigured(`the Vault token dev-token is for development${DEV_ONLY}`)
      return
    }
    case 'approle':
      needed(auth.roleId, 'auth_method.role_id')
      if (auth.secretIdFile === undefined) needed(auth.secretId.reveal(), 'auth_method.secret_id')
      else checkFile(auth.secretIdFile, 'auth_method.secret_id_file')
      return checkPath(auth.mount, 'auth_method.mount')
    case 'kubernetes':
      needed(auth.role, 'auth_method.role')
      checkFile(auth.jwtPath, 'auth_method.jwt_path')
      return checkPath(auth.mount, 'auth_method.mount')
    case 'token_file':
      checkFile(auth.path, 'auth_method.path')
      positive(auth.poll, 'auth_method.poll_interval_secs')
  }
}

/** Whether it can be one: anything else would break the header that it is sent in. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text)
}

function checkFile(path: string, what: string): void {
  needed(path, what)
  if (!isAbsolute(path) || normalize(path) !== path || path.includes('\0'))
    throw misconfigured(`${what} must be an absolute path without . and ..`)
}

/** A mount, or a path below one: it must not lead elsewhere in Vault. */
function checkPath(path: string, what: string): void {
  const parts = path.replace(/^\/|\/$/g, '').split('/')
  if (parts.every((part) => /^[\w.-]+$/.test(part) && !/^\.+$/.test(part))) return
  throw misconfigured(
    `${what} must be names of letters, digits and . _ -, with slashes between them`,
  )
}

function staticOf(said: Said): StaticSettings {
  const keyId = needed(said.key_id, 'key_id')
  if (!isName(keyId)) throw misconfigured('key_id must be 1 to 80 of 0-9 A-Z a-z _ -')
  const secretKey = said.secret_key ?? undefined
  const bytes = secretKey && decodeBase64(secretKey.reveal())
  if (secretKey === undefined || bytes?.length !== SECRET_SIZE)
    throw misconfigured(`secret_key must be the base64 of ${SECRET_SIZE} bytes`)
  bytes.fill(0)
  return { kind: 'static', keyId, secretKey }
}

function needed(value: string | null | undefined, name: string): string {
  if (value === null || value === undefined || value.trim() === '')
    throw misconfigured(`${name} is required`)
  return value
}
