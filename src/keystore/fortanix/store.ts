/** Entries as opaque security objects, whose value is the base64 of the entry (keystores.md 4). */

import { KesError } from '../../errors.ts'
import { decodeBase64, member } from '../../json.ts'
import { ABSENT_ENTRY_NAME, type Listing, type Page, pageOf } from '../../names.ts'
import type { FortanixConfig } from '../fortanix.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { HttpClient, type HttpRequest } from '../http.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'

const MAX_LISTING = 32 * 1024 * 1024
const PAGE = 100

/** @throws KeyStoreError when SDKMS does not answer, or does not know the API key */
export async function openFortanix(config: FortanixConfig, signal: AbortSignal): Promise<KeyStore> {
  const http = new HttpClient({ endpoints: [config.endpoint], tls: config.tls })
  const store = new FortanixStore(http, config)
  try {
    await store.connect(signal)
    return store
  } catch (error) {
    http.close()
    throw error
  }
}

class FortanixStore implements KeyStore {
  readonly #http: HttpClient
  readonly #authorization: () => string
  readonly #group: string

  constructor(http: HttpClient, { group_id: group, credentials }: FortanixConfig) {
    this.#http = http
    this.#authorization = () => `Basic ${credentials.key.reveal()}`
    this.#group = group
  }

  /** As the Go server does it: health, and a session that is ended at once. */
  async connect(signal: AbortSignal): Promise<void> {
    const health = await this.#ask({ method: 'GET', path: '/sys/v1/health', signal })
    if (health.status !== 204) throw refusal(health, 'is not healthy')
    const session = '/sys/v1/session'
    const login = await this.#ask({
      method: 'POST',
      path: `${session}/auth`,
      isRepeatable: true,
      signal,
    })
    if (login.status !== 200) throw refusal(login, 'cannot log in; check credentials.key')
    const token = member(login.json(), 'access_token')
    const headers = { authorization: `Bearer ${String(token)}` }
    const end = await this.#ask({ method: 'POST', path: `${session}/terminate`, headers, signal })
    if (end.status !== 204) throw refusal(end, 'cannot end a session')
  }

  /** An export like that of any key. */
  async status(signal: AbortSignal): Promise<void> {
    await this.#export(ABSENT_ENTRY_NAME, signal)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const answer = await this.#ask({
      method: 'PUT',
      path: '/crypto/v1/keys',
      body: {
        obj_type: 'OPAQUE',
        name,
        ...(this.#group !== '' && { group_id: this.#group }),
        key_ops: ['EXPORT', 'APPMANAGEABLE'],
        value: Buffer.from(value).toString('base64'),
        enabled: true,
      },
      signal,
    })
    if (answer.status === 201) return
    if (answer.status !== 409 || answer.reason('message') !== 'sobject already exists')
      throw refusal(
        answer,
        'cannot create an object; the app needs the right to create in its group',
      )
    // Perhaps by our own first try, whose answer was lost.
    if (answer.wasRepeated && Buffer.from(value).equals(await this.get(name, signal))) return
    throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const found = await this.#export(name, signal)
    if (found === undefined) throw new KesError('KEY_NOT_FOUND')
    if (member(found, 'enabled') === false)
      throw new KeyStoreError('failed', `'${name}' is disabled in SDKMS`)
    const text = member(found, 'value')
    const value = typeof text === 'string' ? decodeBase64(text) : undefined
    if (value !== undefined) return value
    throw new KeyStoreError('failed', `'${name}' has no value in base64, so it is no key`)
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const found = await this.#export(name, signal)
    if (found === undefined) throw new KesError('KEY_NOT_FOUND')
    const id = member(found, 'kid')
    if (typeof id !== 'string') throw new KeyStoreError('failed', `'${name}' has no kid`)
    const path = `/crypto/v1/keys/${encodeURIComponent(id)}`
    const answer = await this.#ask({ method: 'DELETE', path, signal })
    if (answer.status === 204) return
    if (!isAbsent(answer))
      throw refusal(answer, 'cannot delete an object; the app needs the right to delete')
    if (!answer.wasRepeated) throw new KesError('KEY_NOT_FOUND')
  }

  /** All objects, page by page: the service's order, and where exactly `start` starts, are not ours to rely on. */
  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names = new Set<string>()
    for (let start = ''; ;) {
      const from = start === '' ? '' : `&start=${encodeURIComponent(start)}`
      const path = `/crypto/v1/keys?sort=name:asc&limit=${PAGE}${from}`
      const maxAnswer = MAX_LISTING
      const answer = await this.#ask({ method: 'GET', path, maxAnswer, signal })
      if (answer.status !== 200)
        throw refusal(answer, 'cannot list objects; the app needs the right to read')
      const page = answer.json()
      if (!Array.isArray(page))
        throw new KeyStoreError('failed', `${answer.origin}: a listing that is no list`)
      const before = names.size
      for (const object of page) {
        const name = member(object, 'name')
        if (typeof name === 'string') names.add((start = name))
      }
      if (names.size === before) return pageOf(names, listing, limit)
    }
  }

  async close(): Promise<void> {
    this.#http.close()
  }

  /** The object's fields; undefined when there is none. */
  async #export(name: string, signal: AbortSignal): Promise<unknown> {
    const path = '/crypto/v1/keys/export'
    const answer = await this.#ask({
      method: 'POST',
      path,
      body: { name },
      isRepeatable: true,
      signal,
    })
    if (answer.status === 200) return answer.json()
    if (isAbsent(answer)) return undefined
    throw refusal(answer, 'cannot export an object; the app needs the right to export')
  }

  #ask(request: HttpRequest): Promise<HttpAnswer> {
    const headers = { authorization: this.#authorization(), ...request.headers }
    return this.#http.request({ ...request, headers })
  }
}

function isAbsent(answer: HttpAnswer): boolean {
  return answer.status === 404 && answer.reason('message') === 'sobject does not exist'
}

function refusal(answer: HttpAnswer, what: string): KeyStoreError {
  return answer.error(what, answer.reason('message'))
}
