/** Entries as secrets of the type seed, whose material is the entry itself (keystores.md 5). */

import { KesError } from '../../errors.ts'
import { member } from '../../json.ts'
import { ABSENT_ENTRY_NAME, type Listing, type Page, pageOf } from '../../names.ts'
import type { GemaltoConfig } from '../gemalto.ts'
import type { HttpAnswer } from '../http-answer.ts'
import { HttpClient, type HttpRequest } from '../http.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import { type Token, TokenKeeper, withToken } from '../token.ts'

const SECRETS = '/api/v1/vault/secrets'
const MAX_LISTING = 32 * 1024 * 1024
const PAGE = 200

/** @throws KeyStoreError when it cannot log in */
export async function openGemalto(config: GemaltoConfig, signal: AbortSignal): Promise<KeyStore> {
  const http = new HttpClient({ endpoints: [config.endpoint], tls: config.tls })
  const source = {
    login: (limit: AbortSignal) => login(http, config, limit),
    refreshIn: ({ ttl }: Token) => ttl / 2,
  }
  try {
    return new GemaltoStore(http, await TokenKeeper.open(source, signal))
  } catch (error) {
    http.close()
    throw error
  }
}

async function login(
  http: HttpClient,
  { credentials: { token, domain } }: GemaltoConfig,
  signal: AbortSignal,
): Promise<Token> {
  const answer = await http.request({
    method: 'POST',
    path: '/api/v1/auth/tokens',
    body: { grant_type: 'refresh_token', refresh_token: token.reveal(), domain },
    isRepeatable: true,
    signal,
  })
  if (answer.status !== 200) {
    throw refusal(answer, 'cannot log in; check credentials.token and credentials.domain')
  }
  const fields = answer.json()
  const text = member(fields, 'jwt')
  const seconds = member(fields, 'duration')
  const isBearer = member(fields, 'token_type') === 'Bearer'
  if (
    typeof text === 'string' &&
    text !== '' &&
    typeof seconds === 'number' &&
    seconds > 0 &&
    isBearer
  )
    return { text, ttl: seconds * 1000, issuedAt: performance.now() }
  throw new KeyStoreError('failed', `${answer.origin}: the login gave no bearer token with an end`)
}

class GemaltoStore implements KeyStore {
  readonly #http: HttpClient
  readonly #tokens: TokenKeeper<Token>

  constructor(http: HttpClient, tokens: TokenKeeper<Token>) {
    this.#http = http
    this.#tokens = tokens
  }

  /** An export like that of any key. */
  async status(signal: AbortSignal): Promise<void> {
    await this.#export(ABSENT_ENTRY_NAME, signal)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const material = Buffer.from(value).toString('latin1')
    const answer = await this.#ask({
      method: 'POST',
      path: SECRETS,
      body: { dataType: 'seed', material, name },
      isRepeatable: true,
      signal,
    })
    if (answer.status === 201) return
    if (answer.status !== 409) throw refusal(answer, 'cannot create a secret; is that allowed?')
    // Perhaps by our own first try, whose answer was lost.
    if (answer.wasRepeated && (await this.#export(name, signal)) === material) return
    throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const material = await this.#export(name, signal)
    if (material === undefined) throw new KesError('KEY_NOT_FOUND')
    return Buffer.from(material, 'latin1')
  }

  /** The service hides what we may not see as if it were not there: so that is no error. */
  async delete(name: string, signal: AbortSignal): Promise<void> {
    const path = `${SECRETS}/${encodeURIComponent(name)}?type=name`
    const answer = await this.#ask({ method: 'DELETE', path, signal })
    if (answer.status === 204 || isAbsent(answer)) return
    throw refusal(answer, 'cannot delete a secret; is that allowed?')
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names: string[] = []
    for (let skip = 0; ;) {
      const path = `${SECRETS}?limit=${PAGE}&skip=${skip}`
      const maxAnswer = MAX_LISTING
      const answer = await this.#ask({ method: 'GET', path, maxAnswer, signal })
      if (answer.status !== 200) throw refusal(answer, 'cannot list secrets; is that allowed?')
      const page = answer.json()
      const resources = member(page, 'resources')
      const total = member(page, 'total')
      if (member(page, 'skip') !== skip || !Array.isArray(resources) || typeof total !== 'number')
        throw new KeyStoreError(
          'failed',
          `${answer.origin}: a listing that is not what was asked for`,
        )
      for (const resource of resources) {
        const name = member(resource, 'name')
        if (typeof name === 'string') names.push(name)
      }
      skip += resources.length
      if (resources.length === 0 || skip >= total) return pageOf(names, listing, limit)
    }
  }

  async close(): Promise<void> {
    this.#tokens.close()
    this.#http.close()
  }

  /** The material; undefined when there is no such secret. */
  async #export(name: string, signal: AbortSignal): Promise<string | undefined> {
    const path = `${SECRETS}/${encodeURIComponent(name)}/export?type=name`
    const answer = await this.#ask({ method: 'POST', path, isRepeatable: true, signal })
    if (isAbsent(answer)) return undefined
    if (answer.status !== 200) throw refusal(answer, 'cannot export a secret; is that allowed?')
    const material = member(answer.json(), 'material')
    if (typeof material === 'string') return material
    throw new KeyStoreError('failed', `'${name}' has no material, so it is no key`)
  }

  #ask(request: HttpRequest): Promise<HttpAnswer> {
    return withToken(this.#tokens, request, (asked, token) =>
      this.#http.request({ ...asked, headers: { authorization: `Bearer ${token}` } }),
    )
  }
}

/** The service's own 404, not that of a web server that is not the service. */
function isAbsent({ status, isJson, body }: HttpAnswer): boolean {
  return status === 404 && (isJson || body.length === 0)
}

function refusal(answer: HttpAnswer, what: string): KeyStoreError {
  return answer.error(what, answer.reason('codeDesc'))
}
