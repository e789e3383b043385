/** Entries as secrets of a KV engine: an object whose only member has the name of the entry (keystores.md 2.3). */

import { KesError } from '../../errors.ts'
import { member } from '../../json.ts'
import { ABSENT_ENTRY_NAME, type Listing, type Page, pageOf } from '../../names.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import type { VaultConfig } from '../vault.ts'
import { isAbsent, pathOf, reasonOf, VaultApi, type VaultHttp } from './api.ts'
import { type SessionOptions, VaultSession } from './session.ts'
import { isWrapped, Transit } from './transit.ts'

const MAX_LISTING = 32 * 1024 * 1024

/** Where keys are in Vault, and how we get there. */
export interface VaultSettings
  extends
    Pick<VaultConfig, 'endpoint' | 'engine' | 'version' | 'prefix' | 'transit' | 'tls'>,
    SessionOptions {
  readonly http?: VaultHttp
}

/** @throws KeyStoreError when it cannot log in */
export async function openVault(settings: VaultSettings, signal: AbortSignal): Promise<VaultStore> {
  const api = new VaultApi(settings.endpoint, settings.tls, settings.http)
  try {
    return new VaultStore(await VaultSession.open(api, settings, signal), settings)
  } catch (error) {
    api.close()
    throw error
  }
}

export class VaultStore implements KeyStore {
  readonly #session: VaultSession
  readonly #transit: Transit | undefined
  readonly #isVersioned: boolean
  readonly #data: string
  readonly #metadata: string

  constructor(session: VaultSession, { engine, version, prefix, transit }: VaultSettings) {
    this.#session = session
    this.#transit = transit ? new Transit(session, transit) : undefined
    this.#isVersioned = version === 'v2'
    this.#data = this.#isVersioned ? pathOf(engine, 'data', prefix) : pathOf(engine, prefix)
    this.#metadata = this.#isVersioned ? pathOf(engine, 'metadata', prefix) : this.#data
  }

  /** Vault's health, then a read with our token: health says nothing about us. */
  async status(signal: AbortSignal): Promise<void> {
    const health = await this.#session.health(signal)
    if (health.status === 200 || health.status === 299) {
      const state = health.json()
      if (member(state, 'initialized') === false)
        throw new KeyStoreError('unreachable', `${health.origin}: Vault is not initialized`)
      if (member(state, 'sealed') === true)
        throw new KeyStoreError('unreachable', `${health.origin}: Vault is sealed`)
    }
    const answer = await this.#read(ABSENT_ENTRY_NAME, '', signal)
    // Policies may be narrowed to some names; a token that Vault no longer takes was replaced by now.
    if (answer.status === 200 || answer.status === 403 || isAbsent(answer)) return
    throw refusal(answer, 'cannot read', this.#data, 'read')
  }

  /** Encrypts and decrypts something. @throws KeyStoreError when we may not, or there is no such key */
  async checkTransit(signal: AbortSignal): Promise<void> {
    await this.#transit?.unwrap(await this.#transit.wrap('probe', signal), signal)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    if ((await this.#find(name, '', signal)) !== undefined) throw new KesError('KEY_EXISTS')
    const text = Buffer.from(value).toString('latin1')
    const stored = (await this.#transit?.wrap(text, signal)) ?? text
    const data = { [name]: stored }
    const answer = await this.#session.request({
      method: 'PUT',
      path: `/v1/${this.#data}/${encodeURIComponent(name)}`,
      body: this.#isVersioned ? { options: { cas: 0 }, data } : data,
      signal,
    })
    if (answer.status === 200 || answer.status === 204) return
    // Who comes second is told 400 if policies let him update, else 403: only a look tells this from other reasons.
    if (answer.status === 400 || answer.status === 403) {
      const found = await this.#find(name, '', signal)
      if (found === stored && answer.wasRepeated) return
      if (found !== undefined) throw new KesError('KEY_EXISTS')
    }
    throw refusal(answer, 'cannot create a secret', this.#data, 'create')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    // Always the first version, as the Go server does it: whatever came later is none of ours.
    const stored = await this.#find(name, this.#isVersioned ? '?version=1' : '', signal)
    if (stored === undefined) throw new KesError('KEY_NOT_FOUND')
    if (!isWrapped(stored)) return Buffer.from(stored, 'latin1')
    if (this.#transit !== undefined) return this.#transit.unwrap(stored, signal)
    const what = `'${name}' is encrypted by a transit key, and keystore.vault.transit is not configured`
    throw new KeyStoreError('failed', what)
  }

  /** Vault does not tell whether there was something. */
  async delete(name: string, signal: AbortSignal): Promise<void> {
    const path = `/v1/${this.#metadata}/${encodeURIComponent(name)}`
    const answer = await this.#session.request({ method: 'DELETE', path, signal })
    if (answer.status === 200 || answer.status === 204 || isAbsent(answer)) return
    throw refusal(answer, 'cannot delete a secret', this.#metadata, 'delete')
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const path = `/v1/${this.#metadata}?list=true`
    const answer = await this.#session.request({
      method: 'GET',
      path,
      maxAnswer: MAX_LISTING,
      signal,
    })
    if (isAbsent(answer)) return { names: [] }
    if (answer.status !== 200) throw refusal(answer, 'cannot list', this.#metadata, 'list')
    const keys = member(member(answer.json(), 'data'), 'keys')
    if (!Array.isArray(keys))
      throw new KeyStoreError('failed', `${answer.origin}: a listing without keys`)
    // What ends with a slash is a folder.
    const names = keys.filter((key): key is string => typeof key === 'string' && !key.endsWith('/'))
    return pageOf(names, listing, limit)
  }

  async close(): Promise<void> {
    this.#session.close()
  }

  #read(name: string, query: string, signal: AbortSignal): Promise<HttpAnswer> {
    const path = `/v1/${this.#data}/${encodeURIComponent(name)}${query}`
    return this.#session.request({ method: 'GET', path, signal })
  }

  /** The stored text; undefined when there is nothing. @throws KeyStoreError when there is something else */
  async #find(name: string, query: string, signal: AbortSignal): Promise<string | undefined> {
    const answer = await this.#read(name, query, signal)
    if (isAbsent(answer)) return undefined
    const isOk = answer.status === 200
    const data = isOk || answer.isJson ? member(answer.json(), 'data') : undefined
    if (answer.status === 404 && this.#isVersioned && member(data, 'metadata')) {
      const what = `'${name}' is there, but its version was deleted; undelete or remove it in Vault`
      throw new KeyStoreError('failed', `${answer.origin}: ${what}`)
    }
    if (!isOk) throw refusal(answer, 'cannot read a secret', this.#data, 'read')
    const stored = member(this.#isVersioned ? member(data, 'data') : data, name)
    if (typeof stored === 'string') return stored
    const what = `the secret '${name}' has no text under its own name, so it is no key`
    throw new KeyStoreError('failed', `${answer.origin}: ${what}; is keystore.vault.version right?`)
  }
}

/** @param right the capability that is needed on what is below `path` */
function refusal(answer: HttpAnswer, what: string, path: string, right: string): KeyStoreError {
  const hint =
    answer.status === 403
      ? `; the policy needs the capability '${right}' on '${decodeURIComponent(path)}/*'`
      : answer.status === 404
        ? '; check keystore.vault.engine, version and namespace'
        : ''
  return answer.error(`${what} in ${decodeURIComponent(path)}${hint}`, reasonOf(answer))
}
