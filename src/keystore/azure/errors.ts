/** What errors of Azure's clients mean for a keystore (keystores.md 8). */

import { KeyStoreError } from '../keystore.ts'
import { isNoAnswer, quote } from '../said.ts'
import { connectionError } from '../sdk.ts'

/** As access policies name it, and as roles do. */
export const PERMISSIONS = {
  get: 'Microsoft.KeyVault/vaults/secrets/getSecret/action',
  list: 'Microsoft.KeyVault/vaults/secrets/readMetadata/action',
  set: 'Microsoft.KeyVault/vaults/secrets/setSecret/action',
  delete: 'Microsoft.KeyVault/vaults/secrets/delete',
  purge: 'Microsoft.KeyVault/vaults/secrets/purge/action',
} as const

export type Permission = keyof typeof PERMISSIONS

export interface Attempt {
  readonly permission: Permission
  readonly endpoint: string
  /** Of the last answer that there was. */
  readonly status: number | undefined
  /** What must not come back in a message. */
  readonly value?: string | undefined
}

/** An answer of the vault that is none of its successes. */
export class VaultError extends KeyStoreError {
  readonly status: number
  /** The innermost that it gave; '' when there is none. */
  readonly code: string

  constructor(
    failure: 'unreachable' | 'denied' | 'failed',
    message: string,
    { status, code, cause }: { status: number; code: string; cause: unknown },
  ) {
    super(failure, message, { cause })
    this.status = status
    this.code = code
  }
}

/** Errors of the credentials, before the vault is asked. */
const CREDENTIAL_ERROR = /Authentication|Credential|ClientAuth|ServerError|InteractionRequired/
/** How its library for tokens says that nobody answered. */
const NO_AUTHORITY = /network_error|endpoints_resolution_error|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT/

export function translate(error: unknown, attempt: Attempt): Error {
  const { endpoint, permission, status, value } = attempt
  if (!(error instanceof Error)) return new KeyStoreError('failed', `${endpoint}: ${String(error)}`)
  const cause = { cause: error }
  const words = quote(error.message, value)
  if (CREDENTIAL_ERROR.test(error.name)) {
    const failure = NO_AUTHORITY.test(error.message) ? 'unreachable' : 'denied'
    return new KeyStoreError(failure, `no Azure credentials: ${words}`, cause)
  }
  const connection = connectionError(error, endpoint)
  if (connection !== undefined) return connection
  const what = `${endpoint}: secrets/${permission}`
  if (isBrokenOff(error)) return new KeyStoreError('unreachable', `${what}: ${words}`, cause)
  if (status === undefined) return new KeyStoreError('failed', `${what}: ${words}`, cause)
  const code = innermostCode(error)
  const said = `${what}: answered with status ${status}${code && ` ${code}`}: ${words}`
  const facts = { status, code, cause: error }
  if (status === 401)
    return new VaultError('denied', `${said}; are the credentials and the tenant right?`, facts)
  if (status === 403) return new VaultError('denied', `${said}; ${advice(code, permission)}`, facts)
  return new VaultError(isNoAnswer(status) ? 'unreachable' : 'failed', said, facts)
}

/** Of a connection that broke amid the answer; the client does not try that again. */
export function isBrokenOff(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Error reading response')
}

function advice(code: string, permission: Permission): string {
  switch (code) {
    case 'ForbiddenByFirewall':
      return 'the firewall of the vault must let us in'
    case 'SecretDisabled':
      return 'the secret is disabled'
    case 'ForbiddenByPolicy':
      return permission === 'purge'
        ? `either the vault has purge protection, and the name is taken until the scheduled purge, or ${needed(permission)}`
        : needed(permission)
    default:
      return needed(permission)
  }
}

function needed(permission: Permission): string {
  return `the permission secrets/${permission} (${PERMISSIONS[permission]}) is needed`
}

interface Coded {
  readonly code?: unknown
  readonly message?: unknown
  readonly innerError?: Coded | null
  readonly innererror?: Coded | null
}

/** Where the client leaves it depends on its version; so does the spelling. */
function innermostCode(error: Error): string {
  const details = 'details' in error ? (error.details as { error?: Coded } | undefined) : undefined
  let coded: Coded | undefined = details?.error
  for (let inner = coded; inner; inner = inner.innerError ?? inner.innererror ?? undefined)
    if (typeof inner.code === 'string') coded = inner
  return typeof coded?.code === 'string' ? coded.code : ''
}
