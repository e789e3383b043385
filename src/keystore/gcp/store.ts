/**
 * The store of gcp.ts. Google needs two calls to make a secret with a value; between them, others see a secret
 * without a version. Whose version got the number 1 has won: nobody reads another.
 */

import type { protos } from '@google-cloud/secret-manager'

import { isCode, KesError, unless } from '../../errors.ts'
import { type Listing, type Page, pageOf } from '../../names.ts'
import type { GcpConfig } from '../gcp.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import { pause } from '../sdk.ts'
import { GcpClient, type Sdk } from './client.ts'
import { crc32c } from './crc32c.ts'
import { Code, codeOf, isRefusal } from './errors.ts'

type Secret = protos.google.cloud.secretmanager.v1.ISecret
type Listed = protos.google.cloud.secretmanager.v1.IListSecretsResponse

const PAGE_SIZE = 1000
/** How long a secret without a version may be somebody's create that is under way. */
const CREATION_LIMIT = 3000
/** Annotation of a secret whose creation another server has finished. */
const FINISHED = 'openkes-finished'

export class GcpStore implements KeyStore {
  readonly #project: string
  readonly #client: GcpClient

  constructor(config: GcpConfig, sdk: Sdk) {
    this.#project = `projects/${config.project_id}`
    this.#client = new GcpClient(config, sdk)
  }

  async status(signal: AbortSignal): Promise<void> {
    await this.#list(signal, 1)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    for (;;) {
      const made = await this.#createSecret(name, signal)
      if (made === undefined && !(await this.#claim(name, signal))) continue
      try {
        return await this.#addVersion(name, made?.name, value, signal)
      } catch (error) {
        if (made !== undefined && isRefusal(error)) await this.#remove(made, signal)
        throw error
      }
    }
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const version = `${this.#secret(name)}/versions/1`
    const { payload } = await this.#client.call(
      'accessSecretVersion',
      { name: version },
      ['name', version],
      signal,
    )
    const data = payload?.data ?? ''
    const bytes = typeof data === 'string' ? Buffer.from(data, 'base64') : Uint8Array.from(data)
    const sum = payload?.dataCrc32c
    if (sum !== undefined && sum !== null && String(sum) !== String(crc32c(bytes)))
      throw new KeyStoreError('failed', `${version}: the value was damaged on its way (CRC32C)`)
    return bytes
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const secret = this.#secret(name)
    await this.#client.call('deleteSecret', { name: secret }, ['name', secret], signal)
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names: string[] = []
    let page = await this.#list(signal, PAGE_SIZE)
    for (const { name } of page.secrets ?? []) names.push(lastPart(name))
    while (page.nextPageToken) {
      page = await this.#list(signal, PAGE_SIZE, page.nextPageToken)
      for (const { name } of page.secrets ?? []) names.push(lastPart(name))
    }
    return pageOf(names, listing, limit)
  }

  async close(): Promise<void> {
    this.#client.close()
  }

  /** Undefined when there is one of that name. */
  #createSecret(name: string, signal: AbortSignal): Promise<Secret | undefined> {
    const created = this.#client.call(
      'createSecret',
      { parent: this.#project, secretId: name, secret: { replication: { automatic: {} } } },
      ['parent', this.#project],
      signal,
    )
    return unless('KEY_EXISTS', created)
  }

  /**
   * Adds the value as version 1.
   *
   * @param given the secret's name as Google returned it, with the project's number
   * @throws KesError KEY_EXISTS when another's version came first
   */
  async #addVersion(
    name: string,
    given: string | null | undefined,
    value: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const parent = given ?? this.#secret(name)
    const version = await this.#client.call(
      'addSecretVersion',
      { parent, payload: { data: value, dataCrc32c: crc32c(value) } },
      ['parent', parent],
      signal,
    )
    if (lastPart(version.name) === '1') return
    // A try of ours whose answer was lost may have come first.
    if (!Buffer.from(value).equals(await this.get(name, signal))) throw new KesError('KEY_EXISTS')
  }

  /**
   * Takes over a secret that a crash left without a version: its etag changes, so whoever made it can no longer
   * remove it. False when it is gone, or when another server takes it over.
   *
   * @throws KesError KEY_EXISTS when it has a version
   */
  async #claim(name: string, signal: AbortSignal): Promise<boolean> {
    const limit = performance.now() + CREATION_LIMIT
    for (let wait = 50; performance.now() < limit; wait *= 2) {
      if (await this.#hasVersion(name, signal)) throw new KesError('KEY_EXISTS')
      await pause(wait, signal)
    }
    const secret = this.#secret(name)
    try {
      const { etag, annotations } = await this.#client.call(
        'getSecret',
        { name: secret },
        ['name', secret],
        signal,
      )
      const finished = { ...annotations, [FINISHED]: new Date().toISOString() }
      await this.#client.call(
        'updateSecret',
        {
          secret: { name: secret, etag, annotations: finished },
          updateMask: { paths: ['annotations'] },
        },
        ['secret.name', secret],
        signal,
      )
      return true
    } catch (error) {
      if (!(error instanceof Error)) throw error
      const code = codeOf(error.cause)
      const isTaken = code === Code.failedPrecondition || code === Code.aborted
      if (isTaken || code === Code.notFound) return false
      throw error
    }
  }

  /** Also when it cannot be read: then somebody made it, and it is not for us to finish. */
  async #hasVersion(name: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.get(name, signal)
      return true
    } catch (error) {
      if (isCode(error, 'KEY_NOT_FOUND')) return false
      if (!(error instanceof KeyStoreError) || error.failure === 'unreachable') throw error
      return true
    }
  }

  /** Removes the secret that we made and could not give a value, unless somebody else has taken it over. */
  async #remove({ name, etag }: Secret, signal: AbortSignal): Promise<void> {
    if (!name || !etag) return
    try {
      await this.#client.call('deleteSecret', { name, etag }, ['name', name], signal)
    } catch {
      // The next create finishes it; what went wrong before is what counts.
    }
  }

  #list(signal: AbortSignal, pageSize: number, pageToken?: string): Promise<Listed> {
    const token = pageToken !== undefined && { pageToken }
    const request = { parent: this.#project, pageSize, ...token }
    return this.#client.call('listSecrets', request, ['parent', this.#project], signal)
  }

  #secret(name: string): string {
    return `${this.#project}/secrets/${name}`
  }
}

function lastPart(name: string | null | undefined): string {
  return name?.slice(name.lastIndexOf('/') + 1) ?? ''
}
