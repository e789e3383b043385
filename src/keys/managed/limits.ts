/** What may be configured over the API: only what the config file lets it name (rustfs-kms-admin.md, 4.6). */

import { KesError } from '../../errors.ts'
import type { AuthMethod } from './auth-method.ts'
import type { Configuration } from './configuration.ts'
import { isBelow, realPlace } from './places.ts'
import { DEV_ONLY, misconfigured } from './settings.ts'

export interface Limits {
  /** URLs without a final slash. */
  readonly vaults: readonly string[]
  /** Directory of the files with secrets; '' = none may be named. */
  readonly secretFiles: string
  /** Directory below which keys may be kept; '' = nowhere. */
  readonly keyRoot: string
}

/** Fields that came from the config file itself are free of the limits. @throws KesError BAD_REQUEST */
export async function checkLimits(
  { settings: { backend }, document: { said }, byApi }: Configuration,
  limits: Limits,
): Promise<void> {
  if (said.allow_insecure_dev_defaults === true && byApi.has('allow_insecure_dev_defaults'))
    throw misconfigured(`allow_insecure_dev_defaults cannot be set over the API${DEV_ONLY}`)
  switch (backend.kind) {
    case 'keystore':
      return
    case 'static':
      if (!byApi.has('key_id') && !byApi.has('secret_key')) return
      throw new KesError('BAD_REQUEST', {
        message: 'Static KMS must be configured through rustfs.start of the config file',
      })
    case 'local':
      return byApi.has('key_dir') ? checkKeyDir(backend.keyDir, limits) : undefined
    case 'vault':
    case 'vault-transit':
      checkAddress(backend.address, byApi.has('address') ? limits : undefined, said)
      if (byApi.has('auth_method')) await checkFiles(backend.auth, limits)
  }
}

/** @param limits undefined for an address of the config file */
function checkAddress(
  address: string,
  limits: Limits | undefined,
  { allow_insecure_dev_defaults: isDev }: Configuration['document']['said'],
): void {
  if (limits === undefined) {
    if (address.startsWith('https:') || isDev === true) return
    throw misconfigured(`Vault address must use https${DEV_ONLY}`)
  }
  if (limits.vaults.includes(address)) return
  throw misconfigured('address is not among rustfs.backends.vault of the config file')
}

async function checkKeyDir(keyDir: string, { keyRoot, secretFiles }: Limits): Promise<void> {
  const field = 'rustfs.key_root of the config file'
  if (keyRoot === '')
    throw misconfigured(`key_dir: nowhere may keys be kept, since there is no ${field}`)
  const directory = await place(keyDir)
  if (!isBelow(directory, await place(keyRoot)))
    throw misconfigured(`key_dir is not below ${field}`)
  if (secretFiles === '') return
  const secrets = await place(secretFiles)
  if (directory === secrets || isBelow(directory, secrets) || isBelow(secrets, directory))
    throw misconfigured(
      'key_dir cannot be where rustfs.backends.secret_files of the config file is',
    )
}

async function checkFiles(auth: AuthMethod, { secretFiles }: Limits): Promise<void> {
  const path = fileOf(auth)
  if (path === undefined) return
  const field = 'rustfs.backends.secret_files of the config file'
  const what = `auth_method: the file is not below ${field}`
  if (secretFiles === '' || !isBelow(await place(path), await place(secretFiles)))
    throw misconfigured(what)
}

/** The file that a login reads. */
function fileOf(auth: AuthMethod): string | undefined {
  if (auth.type === 'approle') return auth.secretIdFile
  if (auth.type === 'kubernetes') return auth.jwtPath
  return auth.type === 'token_file' ? auth.path : undefined
}

/** @throws KesError BAD_REQUEST */
async function place(path: string): Promise<string> {
  try {
    return await realPlace(path)
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    throw misconfigured(`a path cannot be followed to its end (${code})`)
  }
}
