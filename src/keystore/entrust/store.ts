/** Entries as secrets of a box, whose data is the base64 of the entry (keystores.md 9). Every call is a POST. */

import { KesError } from '../../errors.ts'
import { decodeBase64, Fields, JsonError } from '../../json.ts'
import { type Listing, type Page, pageOf } from '../../names.ts'
import { parseRfc3339 } from '../../time.ts'
import type { EntrustConfig } from '../entrust.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { HttpClient, type HttpRequest } from '../http.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import { type Token, TokenKeeper, withToken } from '../token.ts'

const MAX_LISTING = 32 * 1024 * 1024
const PAGE = 256
/** Of a token without an end. */
const DEFAULT_TTL = 300_000

/** @throws KeyStoreError when it cannot log in */
export async function openEntrust(config: EntrustConfig, signal: AbortSignal): Promise<KeyStore> {
  const http = new HttpClient({ endpoints: [config.endpoint], tls: config.tls })
  const source = {
    login: (limit: AbortSignal) => login(http, config, limit),
    renew: (old: Token, limit: AbortSignal) => renew(http, old, limit),
    refreshIn: ({ ttl }: Token) => ttl / 2,
  }
  try {
    return new EntrustStore(http, await TokenKeeper.open(source, signal), config)
  } catch (error) {
    http.close()
    throw error
  }
}

async function login(
  http: HttpClient,
  { vault_id: vault, credentials: { username, password } }: EntrustConfig,
  signal: AbortSignal,
): Promise<Token> {
  const answer = await http.request({
    method: 'POST',
    path: pathOf('Login', vault),
    body: { username, password: password.reveal() },
    isRepeatable: true,
    signal,
  })
  if (answer.status === 200) return tokenOf(answer)
  const error = refusal(
    answer,
    'cannot log in; check credentials.username and credentials.password',
  )
  throw answer.status === 400 ? new KeyStoreError('denied', error.message) : error
}

async function renew(
  http: HttpClient,
  { text }: Token,
  signal: AbortSignal,
): Promise<Token | undefined> {
  const answer = await http.request({
    method: 'POST',
    path: pathOf('Renew'),
    headers: { 'x-vault-auth': text },
    isRepeatable: true,
    signal,
  })
  return answer.status === 200 ? tokenOf(answer) : undefined
}

function tokenOf(answer: HttpAnswer): Token {
  const fields = fieldsOf(answer)
  const text = fields.value('access_token')
  if (typeof text !== 'string' || text === '')
    throw new KeyStoreError('failed', `${answer.origin}: the login gave no token`)
  const end = fields.value('expires_at')
  const { seconds = 0 } = (typeof end === 'string' && parseRfc3339(end)) || {}
  const left = seconds * 1000 - Date.now()
  return { text, ttl: left > 0 ? left : DEFAULT_TTL, issuedAt: performance.now() }
}

class EntrustStore implements KeyStore {
  readonly #http: HttpClient
  readonly #tokens: TokenKeeper<Token>
  readonly #box: string

  constructor(http: HttpClient, tokens: TokenKeeper<Token>, { box_id: box }: EntrustConfig) {
    this.#http = http
    this.#tokens = tokens
    this.#box = box
  }

  async status(signal: AbortSignal): Promise<void> {
    const answer = await this.#ask('GetBox', {}, signal)
    if (answer.status !== 200)
      throw refusal(answer, `cannot see the box; check box_id, and the user's rights on it`)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const data = Buffer.from(value).toString('base64')
    const answer = await this.#ask('CreateSecret', { name, secret_data: data }, signal)
    if (answer.status === 200) return
    if (answer.status !== 409 || answer.reason('error') !== 'Secret already exists')
      throw refusal(answer, 'cannot create a secret; may the user create in the box?')
    // Perhaps by our own first try, whose answer was lost.
    if (answer.wasRepeated && Buffer.from(value).equals(await this.get(name, signal))) return
    throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const answer = await this.#ask('CheckoutSecret', { secret_id: name }, signal)
    if (isAbsent(answer)) throw new KesError('KEY_NOT_FOUND')
    if (answer.status !== 200)
      throw refusal(answer, 'cannot check out a secret; may the user check out from the box?')
    const text = fieldsOf(answer).value('secret_data')
    const value = typeof text === 'string' ? decodeBase64(text) : undefined
    if (value !== undefined) return value
    throw new KeyStoreError('failed', `'${name}' has no data in base64, so it is no key`)
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#ask('DeleteSecret', { secret_id: name }, signal)
    if (answer.status === 200) return
    if (!isAbsent(answer))
      throw refusal(answer, 'cannot delete a secret; may the user delete in the box?')
    if (!answer.wasRepeated) throw new KesError('KEY_NOT_FOUND')
  }

  /** All secrets, page by page: where exactly a page that is begun with a name starts is not ours to rely on. */
  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names: string[] = []
    for (let token = ''; ;) {
      const more = { max_items: PAGE, ...(token !== '' && { next_token: token }) }
      const answer = await this.#ask('ListSecretIds', more, signal)
      if (answer.status !== 200)
        throw refusal(answer, 'cannot list secrets; may the user list the box?')
      const page = fieldsOf(answer)
      const secrets = page.value('secrets') ?? []
      if (!Array.isArray(secrets))
        throw new KeyStoreError('failed', `${answer.origin}: a listing that is no list`)
      for (const secret of secrets as unknown[]) {
        if (typeof secret !== 'object' || Array.isArray(secret)) continue
        const fields = new Fields(secret)
        const name = fields.value('name')
        if (typeof name === 'string' && fields.value('expired') !== true) names.push(name)
      }
      const next = page.value('next_token')
      // The same token again would never end.
      if (typeof next !== 'string' || next === '' || next === token)
        return pageOf(names, listing, limit)
      token = next
    }
  }

  async close(): Promise<void> {
    this.#tokens.close()
    this.#http.close()
  }

  #ask(operation: string, body: object, signal: AbortSignal): Promise<HttpAnswer> {
    const request: HttpRequest = {
      method: 'POST',
      path: pathOf(operation),
      body: { box_id: this.#box, ...body },
      isRepeatable: true,
      maxAnswer: MAX_LISTING,
      signal,
    }
    // The Go server says of the login only that it is JSON.
    return withToken(this.#tokens, request, (asked, token) =>
      this.#http.request({
        ...asked,
        headers: { 'x-vault-auth': token, 'content-type': undefined },
      }),
    )
  }
}

function pathOf(...parts: readonly string[]): string {
  return `/vault/1.0/${parts.map(encodeURIComponent).join('/')}/`
}

/** @throws KeyStoreError `failed` when the answer is no JSON object */
function fieldsOf(answer: HttpAnswer): Fields {
  const json = answer.json()
  try {
    return new Fields(json)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    throw new KeyStoreError('failed', `${answer.origin}: the answer is ${error.message}`)
  }
}

function isAbsent(answer: HttpAnswer): boolean {
  return answer.status === 404 && answer.reason('error') === 'Secret not found'
}

function refusal(answer: HttpAnswer, what: string): KeyStoreError {
  return answer.error(what, answer.reason('error'))
}
