/** How a server proves to Vault who it is: AppRole, Kubernetes, or a token from elsewhere (keystores.md 2.2). */

import { readFile } from 'node:fs/promises'

import { member } from '../../json.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { KeyStoreError } from '../keystore.ts'
import type { Token } from '../token.ts'
import type { VaultConfig } from '../vault.ts'
import { pathOf, reasonOf, type VaultApi } from './api.ts'

/** What a login or a renewal gives. */
export interface VaultToken extends Token {
  readonly isRenewable: boolean
  /** Milliseconds after which it is to be looked after at the latest, however long it lives. */
  readonly refreshIn?: number
  /** It was made elsewhere: no login gives another one. */
  readonly isGiven?: boolean
}

/** @throws KeyStoreError `denied` when the credentials are wrong */
export type Login = (api: VaultApi, signal: AbortSignal) => Promise<VaultToken>

/** The login that the config file says. */
export function loginOf({ approle, kubernetes, namespace }: VaultConfig): Login {
  if (approle)
    return methodLogin({
      ...where(approle, namespace),
      body: async () => ({ role_id: approle.id, secret_id: approle.secret.reveal() }),
      check: 'approle.id and approle.secret',
    })
  if (!kubernetes) throw new Error('bug: a config without a login')
  return methodLogin({
    ...where(kubernetes, namespace),
    body: async () => ({ role: kubernetes.role, jwt: await jwtOf(kubernetes.jwt.reveal()) }),
    check: 'kubernetes.role and kubernetes.jwt',
  })
}

export interface AuthMethod {
  /** Where it is mounted, below `auth/`. */
  readonly engine: string
  /** '' = root. */
  readonly namespace: string
  /** What is sent, made for every login. */
  readonly body: () => Promise<Readonly<Record<string, string>>>
  /** Fields of the configuration to look at when it is refused. */
  readonly check: string
}

/** Trades credentials for a token. */
export function methodLogin({ engine, namespace, body, check }: AuthMethod): Login {
  return async (api, signal) => {
    const answer = await api.request({
      method: 'PUT',
      path: `/v1/auth/${pathOf(engine)}/login`,
      namespace,
      body: await body(),
      signal,
    })
    if (answer.status === 200) return tokenOf(answer)
    const error = answer.error(`cannot log in at auth/${engine}; check ${check}`, reasonOf(answer))
    // A wrong role or secret ID is a 400.
    throw answer.status === 400 ? new KeyStoreError('denied', error.message) : error
  }
}

export interface GivenToken {
  readonly read: () => Promise<string>
  /** Of the token. */
  readonly namespace: string
  /** Milliseconds after which it is read again: somebody else renews and replaces it. Absent: we renew it. */
  readonly poll?: number
}

/** A token that was made elsewhere. Vault says how long it lives; one that may not look at itself counts as endless. */
export function tokenLogin({ read, namespace, poll }: GivenToken): Login {
  return async (api, signal) => {
    const token = await read()
    const path = '/v1/auth/token/lookup-self'
    const answer = await api.request({ method: 'GET', path, token, namespace, signal })
    const data = answer.status === 200 ? member(answer.json(), 'data') : undefined
    const seconds = member(data, 'ttl')
    const ttl = typeof seconds === 'number' ? seconds * 1000 : 0
    const issuedAt = performance.now()
    const isRenewable = member(data, 'renewable') === true
    if (poll === undefined) return { text: token, ttl, issuedAt, isRenewable, isGiven: true }
    // What was read counts for two intervals: no longer, since nobody tells when the file has another.
    const life = ttl === 0 ? 2 * poll : Math.min(ttl, 2 * poll)
    return { text: token, ttl: life, issuedAt, isRenewable: false, refreshIn: poll }
  }
}

function where(
  { engine, namespace }: { engine: string; namespace: string },
  ofStore: string,
): Pick<AuthMethod, 'engine' | 'namespace'> {
  return { engine, namespace: authNamespace(namespace, ofStore) }
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
