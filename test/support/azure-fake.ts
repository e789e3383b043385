/**
 * A vault of Azure Key Vault, and the authority that issues its tokens, as the REST reference describes them: a 401
 * that says where to get a token, versions, soft deletion that takes its time, pages. Written from the same words as the
 * keystore, so it proves nothing about Azure itself. Versions are listed in the order of their IDs, which are random.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'

import { type FakeAnswer, FakeHttp, type FakeRequest } from './fake-http.ts'
import { Fixtures } from './fixtures.ts'
import type { Owner } from './server.ts'
import type { StoreConfig } from './stores.ts'
import { NAMES, trustedCertificate } from './trust.ts'

const FIXTURES = new Fixtures('azure.json', {
  digits: /^\d+$/,
  host: /^(?:my-vault\.vault\.azure|keys)\.test$/,
  token: /^token-\d+$/,
  version: /^[0-9a-f]{32}$/,
})
const HOST = 'my-vault.vault.azure.test'
const AUTHORITY = 'login.azure.test'
export const TENANT = 'my-tenant'
export const CLIENT = 'my-client'
export const SECRET = 'the-client-secret'
const PAGE = 25

interface Version {
  readonly id: string
  readonly value: string
  /** Seconds. */
  readonly created: number
  attributes: Readonly<Record<string, unknown>>
}

interface Entry {
  /** As it was spelt first. */
  readonly name: string
  readonly versions: Version[]
}

interface Trash {
  readonly name: string
  /** When the deletion, or the purge, has ended. */
  readonly settles: number
  readonly isPurged: boolean
}

export interface AzureFakeOptions {
  /** Milliseconds that the clock of versions counts by. */
  readonly clockResolution?: number
}

export class AzureFake {
  /** By name in small letters. */
  readonly entries = new Map<string, Entry>()
  readonly deleted = new Map<string, Trash>()
  /** Milliseconds that a deletion and a purge take. */
  deletionWindow = 0
  hasPurgeProtection = false
  /** Tokens that are good. */
  readonly tokens = new Set<string>()
  /** Seconds that a token is good for. */
  tokenLife = 3600
  /** How tokens were asked for. */
  readonly grants: string[] = []
  /** Called before a request of an operation has its effect. */
  intercept: (operation: string) => void = () => {}
  readonly #resolution: number
  #http: FakeHttp | undefined
  #issued = 0

  private constructor({ clockResolution = 1000 }: AzureFakeOptions) {
    this.#resolution = clockResolution
  }

  static async start(t: Owner, options: AzureFakeOptions = {}): Promise<AzureFake> {
    const fake = new AzureFake(options)
    const { key, cert } = await trustedCertificate()
    fake.#http = await FakeHttp.start(t, (request) => fake.#answer(request), { key, cert })
    process.env['AZURE_AUTHORITY_HOST'] = `https://${AUTHORITY}:${fake.#http.port}`
    t.after(() => delete process.env['AZURE_AUTHORITY_HOST'])
    return fake
  }

  get http(): FakeHttp {
    assert.ok(this.#http)
    return this.#http
  }

  get endpoint(): string {
    return `https://${HOST}:${this.http.port}`
  }

  config(settings: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'azure.keyvault',
      settings: {
        endpoint: this.endpoint,
        credentials: { tenant_id: TENANT, client_id: CLIENT, client_secret: SECRET },
        ...settings,
      },
    }
  }

  put(name: string, value: string, attributes: Readonly<Record<string, unknown>> = {}): Version {
    const entry = this.entries.get(name.toLowerCase()) ?? { name, versions: [] }
    this.entries.set(name.toLowerCase(), entry)
    const version = {
      id: randomBytes(16).toString('hex'),
      value,
      created: (Math.floor(Date.now() / this.#resolution) * this.#resolution) / 1000,
      attributes,
    }
    entry.versions.push({ ...version, ...attributes })
    entry.versions.sort((a, b) => (a.id < b.id ? -1 : 1))
    return version
  }

  /** As a managed identity and the authority issue them. */
  issue(): { access_token: string; expires_in: number; token_type: string } {
    const token = `token-${++this.#issued}`
    this.tokens.add(token)
    return { access_token: token, expires_in: this.tokenLife, token_type: 'Bearer' }
  }

  #answer(request: FakeRequest): FakeAnswer {
    const [host] = (request.headers['host'] ?? '').split(':')
    if (host === AUTHORITY) return this.#authority(request)
    assert.ok(NAMES.includes(host ?? ''))
    const token = request.headers['authorization']?.replace('Bearer ', '')
    if (token === undefined || !this.tokens.has(token)) {
      if (token === undefined) assert.equal(request.body, '', 'no secret without a token')
      return this.#challenge(host ?? '')
    }
    const operation = FIXTURES.operation(request)
    this.intercept(operation)
    const url = new URL(request.path, this.endpoint)
    const [, collection, name = '', version = ''] = url.pathname.split('/')
    const body = request.body === '' ? undefined : (JSON.parse(request.body) as { value: string })
    if (collection === 'deletedsecrets') return this.#trash(request.method, name)
    switch (operation) {
      case 'set':
        return this.#set(name, body?.value ?? '')
      case 'delete':
        return this.#delete(name)
      case 'list secrets':
        return this.#listSecrets(url)
      case 'list versions':
        return this.#listVersions(name, url)
      default:
        return this.#get(name, version)
    }
  }

  #authority({ method, path, body }: FakeRequest): FakeAnswer {
    const base = `https://${AUTHORITY}:${this.http.port}/${TENANT}`
    if (path.includes('/.well-known/openid-configuration'))
      return json(200, {
        issuer: `${base}/v2.0`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        jwks_uri: `${base}/keys`,
      })
    assert.equal(method, 'POST')
    assert.match(path, new RegExp(`^/${TENANT}/oauth2/v2.0/token`))
    const form = new URLSearchParams(body)
    assert.equal(form.get('client_id'), CLIENT)
    assert.equal(form.get('grant_type'), 'client_credentials')
    assert.match(form.get('scope') ?? '', /^https:\/\/(?:vault\.azure\.)?test\/\.default/)
    const proof = form.get('client_secret') ?? form.get('client_assertion')
    this.grants.push(form.has('client_secret') ? 'secret' : `assertion ${proof}`)
    if (form.has('client_secret') && proof !== SECRET)
      return json(401, {
        error: 'invalid_client',
        error_description: 'AADSTS7000215: Invalid client secret provided.',
        error_codes: [7000215],
      })
    return json(200, { ...this.issue(), ext_expires_in: this.tokenLife })
  }

  #challenge(host: string): FakeAnswer {
    const resource = host.slice(host.indexOf('.') + 1)
    const authority = `https://${AUTHORITY}:${this.http.port}/${TENANT}`
    return {
      ...failure(401, 'Unauthorized'),
      headers: {
        'content-type': 'application/json',
        'www-authenticate': `Bearer authorization="${authority}", resource="https://${resource}"`,
      },
    }
  }

  #set(name: string, value: string): FakeAnswer {
    if (!/^[0-9A-Za-z-]{1,127}$/.test(name)) return failure(400, 'BadParameter')
    const trash = this.#trashOf(name)
    if (trash !== undefined) return failure(409, 'Conflict', stateOf(trash))
    const version = this.put(name, value)
    return json(200, { ...this.#bundle(name, version), value })
  }

  #get(name: string, id: string): FakeAnswer {
    const versions = this.entries.get(name.toLowerCase())?.versions ?? []
    const newest = [...versions].sort((a, b) => b.created - a.created)[0]
    const version = id === '' ? newest : versions.find((each) => each.id === id)
    if (version === undefined) return failure(404, 'SecretNotFound')
    if (version.attributes['enabled'] === false) return failure(403, 'Forbidden', 'SecretDisabled')
    return json(200, { ...this.#bundle(name, version), value: version.value })
  }

  #delete(name: string): FakeAnswer {
    const entry = this.entries.get(name.toLowerCase())
    const trash = this.#trashOf(name)
    if (trash !== undefined && Date.now() < trash.settles)
      return failure(409, 'Conflict', 'ObjectIsBeingDeleted')
    if (entry === undefined) return failure(404, 'SecretNotFound')
    this.entries.delete(name.toLowerCase())
    const settles = Date.now() + this.deletionWindow
    this.deleted.set(name.toLowerCase(), { name: entry.name, settles, isPurged: false })
    return json(200, {
      id: `${this.endpoint}/secrets/${entry.name}`,
      recoveryId: `${this.endpoint}/deletedsecrets/${entry.name}`,
      deletedDate: 1,
      scheduledPurgeDate: 2,
      attributes: {},
    })
  }

  #trash(method: string, name: string): FakeAnswer {
    const trash = this.#trashOf(name)
    const isVisible = trash !== undefined && Date.now() >= trash.settles && !trash.isPurged
    if (method === 'GET')
      return isVisible
        ? json(200, { id: `${this.endpoint}/secrets/${trash.name}`, attributes: {} })
        : failure(404, 'SecretNotFound')
    if (trash === undefined) return failure(404, 'SecretNotFound')
    if (!isVisible) return failure(409, 'Conflict', 'ObjectIsBeingDeleted')
    if (this.hasPurgeProtection) return failure(403, 'Forbidden', 'ForbiddenByPolicy')
    const settles = Date.now() + this.deletionWindow
    this.deleted.set(name.toLowerCase(), { ...trash, settles, isPurged: true })
    return { status: 204 }
  }

  #trashOf(name: string): Trash | undefined {
    const trash = this.deleted.get(name.toLowerCase())
    if (trash?.isPurged !== true || Date.now() < trash.settles) return trash
    this.deleted.delete(name.toLowerCase())
    return undefined
  }

  #listSecrets(url: URL): FakeAnswer {
    const items = [...this.entries.values()].map(({ name }) => ({
      id: `${this.endpoint}/secrets/${name}`,
      attributes: { enabled: true, created: 1, updated: 1 },
    }))
    return this.#page(items, url)
  }

  /** An unknown name has no versions, and that is no error. */
  #listVersions(name: string, url: URL): FakeAnswer {
    const { versions = [] } = this.entries.get(name.toLowerCase()) ?? {}
    return this.#page(
      versions.map((version) => this.#bundle(name, version)),
      url,
    )
  }

  #page(items: readonly object[], url: URL): FakeAnswer {
    const begin = Number(url.searchParams.get('$skiptoken') ?? 0)
    const end = begin + Math.min(PAGE, Number(url.searchParams.get('maxresults')))
    const next = new URL(url)
    next.searchParams.set('$skiptoken', String(end))
    return json(200, {
      value: items.slice(begin, end),
      nextLink: end < items.length ? next.href : null,
    })
  }

  #bundle(name: string, { id, created, attributes }: Version): object {
    const spelling = this.entries.get(name.toLowerCase())?.name ?? name
    return {
      id: `${this.endpoint}/secrets/${spelling}/${id}`,
      attributes: { enabled: true, created, updated: created, ...attributes },
    }
  }
}

function stateOf({ settles, isPurged }: Trash): string {
  return isPurged || Date.now() < settles ? 'ObjectIsBeingDeleted' : 'ObjectIsDeletedButRecoverable'
}

function json(status: number, body: object): FakeAnswer {
  return { status, headers: { 'content-type': 'application/json; charset=utf-8' }, body }
}

/** As vaults answer: the code that counts is the inner one. */
export function failure(status: number, code: string, inner?: string): FakeAnswer {
  const innererror = inner === undefined ? {} : { innererror: { code: inner } }
  return json(status, { error: { code, message: `${inner ?? code}: no`, ...innererror } })
}
