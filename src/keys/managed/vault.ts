/** The backends `vault` and `vault-transit`: keys in a KV engine of version 2, for the latter encrypted by transit. */

import { open } from 'node:fs/promises'

import { type KeyStore, KeyStoreError } from '../../keystore/keystore.ts'
import type { Login } from '../../keystore/vault/login.ts'
import { FIRST_ENTRY_NAME } from '../../names.ts'
import type { AuthMethod } from './auth-method.ts'
import { isBelow, realPlace } from './places.ts'
import { isToken, type VaultBackendSettings } from './settings.ts'

export interface VaultSurroundings {
  /** Milliseconds for one try of a request. */
  readonly limit: number
  /** Tries of a request. */
  readonly tries: number
  /** File or directory with the CAs of Vaults; '' for the operating system's. */
  readonly ca: string
  /** Where files with secrets must lie, at every reading; undefined: anywhere. */
  readonly secretFiles: string | undefined
}

/** A secret that is longer is none. */
const MAX_SECRET = 65_536
const OTHERS = 0o077

/** @throws KeyStoreError */
export async function openVaultBackend(
  settings: VaultBackendSettings,
  { limit, tries, ca, secretFiles }: VaultSurroundings,
  signal: AbortSignal,
): Promise<KeyStore> {
  const [{ openVault }, login] = await Promise.all([
    import('../../keystore/vault/store.ts'),
    loginOf(settings, secretFiles),
  ])
  const { kind, address, auth, namespace = '', mountPath, kvMount, transitKey } = settings
  const isWrapped = kind === 'vault-transit'
  const store = await openVault(
    {
      endpoint: address,
      engine: kvMount,
      version: 'v2',
      prefix: settings.keyPathPrefix,
      transit: isWrapped ? { engine: mountPath, key: transitKey } : undefined,
      tls: { ca, cert: '', key: '' },
      namespace,
      login,
      window: 'window' in auth ? (auth.window ?? 0) * 1000 : undefined,
      http: { redirects: 0, answerLimit: limit, tries },
    },
    signal,
  )
  try {
    // A read of what never exists would not tell a token that is good for nothing from one with few rights.
    await store.list({ prefix: '', from: FIRST_ENTRY_NAME }, 1, signal)
    if (isWrapped) await store.checkTransit(signal)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

async function loginOf(
  { auth, namespace = '' }: VaultBackendSettings,
  root: string | undefined,
): Promise<Login> {
  const { methodLogin, tokenLogin } = await import('../../keystore/vault/login.ts')
  if (auth.type === 'token')
    return tokenLogin({ read: async () => auth.token.reveal().trim(), namespace })
  if (auth.type === 'token_file') {
    const read = (): Promise<string> => readSecret(auth, auth.path, root)
    return tokenLogin({ read, namespace, poll: auth.poll * 1000 })
  }
  if (auth.type === 'kubernetes') {
    const { mount, role, jwtPath } = auth
    const body = async () => ({ role, jwt: await readSecret(auth, jwtPath, root) })
    return methodLogin({ engine: mount, namespace, body, check: 'role and jwt_path' })
  }
  const { mount, roleId, secretId, secretIdFile: file } = auth
  const secret = async (): Promise<string> =>
    file === undefined ? secretId.reveal() : readSecret(auth, file, root)
  const body = async () => ({ role_id: roleId, secret_id: await secret() })
  return methodLogin({ engine: mount, namespace, body, check: 'role_id and secret_id' })
}

/** @throws KeyStoreError, without any of the file's content */
async function readSecret(
  { type }: AuthMethod,
  path: string,
  root: string | undefined,
): Promise<string> {
  const fail = (what: string, cause?: unknown): KeyStoreError =>
    new KeyStoreError('failed', `the file '${path}' of auth_method ${what}`, { cause })
  try {
    const place = await realPlace(path)
    if (root !== undefined && !isBelow(place, await realPlace(root)))
      throw fail('is not below rustfs.backends.secret_files any more')
    const file = await open(place, 'r')
    try {
      const { size, mode } = await file.stat()
      if (size > MAX_SECRET) throw fail(`has more than ${MAX_SECRET} bytes`)
      if (type === 'token_file' && (mode & OTHERS) !== 0)
        throw fail('may be read by other users: take that right away (chmod go-rwx)')
      const text = (await file.readFile('utf8')).trim()
      if (!isToken(text)) throw fail('has no secret of one line')
      return text
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof KeyStoreError) throw error
    throw fail(`cannot be read: ${(error as Error).message}`, error)
  }
}
