/** How a server proves to Vault who it is: AppRole or Kubernetes (keystores.md 2.2). */

import { readFile } from 'node:fs/promises'

import { member } from '../../json.ts'
import type { HttpAnswer } from '../http.ts'
import { KeyStoreError } from '../keystore.ts'
import type { Token } from '../token.ts'
import type { VaultConfig } from '../vault.ts'
import { pathOf, reasonOf, type VaultApi } from './api.ts'

/** What a login or a renewal gives. */
export interface VaultToken extends Token {
  readonly isRenewable: boolean
}

/** @throws KeyStoreError `denied` when the credentials are wrong */
export type Login = (api: VaultApi, signal: AbortSignal) => Promise<VaultToken>

/** The login that is configured. */
export function loginOf({ approle, kubernetes, namespace }: VaultConfig): Login {
  const method = approle ?? kubernetes
  if (!method) throw new Error('bug: a config without a login')
  const where = authNamespace(method.namespace, namespace)
  return async (api, signal) => {
    const answer = await api.request({
      method: 'PUT',
      path: `/v1/auth/${pathOf(method.engine)}/login`,
      namespace: where,
      body: approle
        ? { role_id: approle.id, secret_id: approle.secret.reveal() }
        : { role: kubernetes?.role, jwt: await jwtOf(kubernetes?.jwt.reveal() ?? '') },
      signal,
    })
    if (answer.status === 200) return tokenOf(answer)
    const what = approle
      ? `cannot log in at auth/${approle.engine}; check approle.id and approle.secret`
      : `cannot log in at auth/${method.engine}; check kubernetes.role and kubernetes.jwt`
    const error = answer.error(what, reasonOf(answer))
    // A wrong role or secret ID is a 400.
    throw answer.status === 400 ? new KeyStoreError('denied', error.message) : error
  }
}

/** '' = that of the store; '/' = root. */
function authNamespace(given: string, ofStore: string): string {
  return given === '' ? ofStore : given === '/' ? '' : given
}

/** A path is read at every login, since tokens of service accounts are replaced; its content is sent as it is. */
async function jwtOf(given: string): Promise<string> {
  if (!given.includes('/')) return given
  try {
    return await readFile(given, 'utf8')
  } catch (error) {
    const message = `kubernetes.jwt: cannot be read: ${(error as Error).message}`
    throw new KeyStoreError('failed', message, { cause: error })
  }
}

/** @throws KeyStoreError `failed` when the answer has no token */
export function tokenOf(answer: HttpAnswer): VaultToken {
  const auth = member(answer.json(), 'auth')
  const text = member(auth, 'client_token')
  const seconds = member(auth, 'lease_duration')
  if (typeof text !== 'string' || text === '' || typeof seconds !== 'number') {
    throw new KeyStoreError(
      'failed',
      `${answer.origin}: the login gave no token; does it want MFA?`,
    )
  }
  return {
    text,
    ttl: seconds * 1000,
    issuedAt: performance.now(),
    isRenewable: member(auth, 'renewable') === true,
  }
}
