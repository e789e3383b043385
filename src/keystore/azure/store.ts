/**
 * The store of azure.ts. A vault overwrites: a create for a name that exists adds a version, and of several versions the
 * oldest counts. So who creates looks first, writes, and then looks whose version is the oldest.
 */

import { Agent } from 'node:https'

import type { TokenCredential } from '@azure/identity'
import type { KeyVaultSecret, SecretClient, SecretProperties } from '@azure/keyvault-secrets'

import { KesError } from '../../errors.ts'
import { type Listing, type Page, pageOf } from '../../names.ts'
import type { AzureConfig } from '../azure.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import { callSdk, pause } from '../sdk.ts'
import { isBrokenOff, type Permission, translate, VaultError } from './errors.ts'

export type Sdk = typeof import('@azure/identity') & typeof import('@azure/keyvault-secrets')

/** The Go server's. */
const RETRIES = { maxRetries: 7, retryDelayInMs: 200, maxRetryDelayInMs: 800 }
const TRIES = 3
const PURGES_BEFORE_CREATE = 25
const CREATES_AFTER_PURGE = 7
const PURGES_AFTER_DELETE = 10
/** The most that a vault gives. */
const PAGE_SIZE = 25
/** Vaults know the time of a version to the second. */
const CLOCK_RESOLUTION = 1000
/** All that a vault can name a secret by; it does not tell capital letters from small ones. */
const NAME = /^[0-9A-Za-z-]{1,127}$/

interface CallOptions {
  readonly abortSignal: AbortSignal
  readonly onResponse: (response: { readonly status: number }) => void
}

export class AzureStore implements KeyStore {
  readonly #config: AzureConfig
  readonly #sdk: Sdk
  readonly #clockResolution: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64, timeout: 30_000 })
  #client: SecretClient

  /** @param clockResolution milliseconds within which two versions may seem equally old */
  constructor(config: AzureConfig, sdk: Sdk, clockResolution = CLOCK_RESOLUTION) {
    this.#config = config
    this.#sdk = sdk
    this.#clockResolution = clockResolution
    this.#client = this.#connect()
  }

  async status(signal: AbortSignal): Promise<void> {
    await this.#call('list', signal, async (client, options) => {
      await client.listPropertiesOfSecrets(options).byPage({ maxPageSize: 1 }).next()
    })
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    if (!NAME.test(name))
      throw this.#failed(
        `a vault cannot hold the name '${name}': only letters, digits and - are possible`,
      )
    const there = await this.#latest(name, signal)
    if (there !== undefined && there !== name)
      throw this.#failed(`a vault does not tell '${name}' from '${there}', which it has`)
    if (there !== undefined) throw new KesError('KEY_EXISTS')
    const text = Buffer.from(value).toString()
    const ours = await this.#put(name, text, signal)
    // Whoever writes later than this is younger, for everybody.
    await pause(this.#clockResolution, signal)
    const oldest = await this.#oldest(name, signal)
    if (oldest === undefined) throw this.#failed(`'${name}' was deleted while it was created`)
    if (oldest.version === ours) return
    // A try of ours whose answer was lost may have made it.
    if ((await this.#read(name, oldest, signal)) !== text) throw new KesError('KEY_EXISTS')
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const oldest = await this.#oldest(name, signal)
    if (oldest === undefined) throw new KesError('KEY_NOT_FOUND')
    return Buffer.from(await this.#read(name, oldest, signal))
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    // Or else `key` would delete `Key`.
    const oldest = await this.#oldest(name, signal)
    if (oldest !== undefined) await this.#softDelete(name, signal)
    // Also when it is not there: an earlier delete may have come this far and no further.
    const wasThere = NAME.test(name) && (await this.#purge(name, PURGES_AFTER_DELETE, signal))
    if (oldest === undefined && !wasThere) throw new KesError('KEY_NOT_FOUND')
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names = await this.#call('list', signal, async (client, options) => {
      const pages = client.listPropertiesOfSecrets(options).byPage({ maxPageSize: PAGE_SIZE })
      const all: string[] = []
      for await (const page of pages) for (const { name } of page) all.push(name)
      return all
    })
    return pageOf(names, listing, limit)
  }

  async close(): Promise<void> {
    this.#agent.destroy()
  }

  /** The secret's own spelling of its name; undefined when there is none. */
  async #latest(name: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      const secret = await this.#call('get', signal, (client, options) =>
        client.getSecret(name, options),
      )
      return secret.name
    } catch (error) {
      if (isVaultError(error, 404)) return undefined
      throw error
    }
  }

  /** @returns its version */
  async #put(name: string, text: string, signal: AbortSignal): Promise<string | undefined> {
    for (let attempt = 0; ; attempt++) {
      try {
        const put = (client: SecretClient, options: CallOptions): Promise<KeyVaultSecret> =>
          client.setSecret(name, text, options)
        return (await this.#call('set', signal, put, text)).properties.version
      } catch (error) {
        const isTaken = isVaultError(error, 409, ...DELETED)
        if (!isTaken || attempt === CREATES_AFTER_PURGE) throw error
      }
      await this.#purge(name, attempt === 0 ? PURGES_BEFORE_CREATE : 1, signal)
      await wait(signal)
    }
  }

  /** Of equally old ones the first that the vault lists. Undefined when there is no such secret. */
  async #oldest(name: string, signal: AbortSignal): Promise<SecretProperties | undefined> {
    if (!NAME.test(name)) return undefined
    let oldest: SecretProperties | undefined
    try {
      await this.#call('list', signal, async (client, options) => {
        const versions = client.listPropertiesOfSecretVersions(name, options)
        for await (const page of versions.byPage({ maxPageSize: PAGE_SIZE }))
          for (const version of page)
            if (oldest === undefined || timeOf(version) < timeOf(oldest)) oldest = version
      })
    } catch (error) {
      if (!isVaultError(error, 404)) throw error
    }
    return oldest?.name === name ? oldest : undefined
  }

  async #read(name: string, properties: SecretProperties, signal: AbortSignal): Promise<string> {
    const { version = '', enabled, notBefore, expiresOn } = properties
    const now = new Date()
    if (enabled === false) throw this.#failed(`the oldest version of '${name}' is disabled`)
    if (notBefore !== undefined && notBefore > now)
      throw this.#failed(`the oldest version of '${name}' is not valid yet`)
    if (expiresOn !== undefined && expiresOn <= now)
      throw this.#failed(`the oldest version of '${name}' has expired`)
    const { value } = await this.#call('get', signal, (client, options) =>
      client.getSecret(name, { ...options, version }),
    )
    if (value === undefined) throw this.#failed(`the oldest version of '${name}' has no value`)
    return value
  }

  async #softDelete(name: string, signal: AbortSignal): Promise<void> {
    try {
      // Its result could wait for the end of the deletion; purging does that, too.
      await this.#call('delete', signal, (client, options) =>
        client.beginDeleteSecret(name, options),
      )
    } catch (error) {
      if (!isVaultError(error, 404) && !isVaultError(error, 409, ...DELETED)) throw error
    }
  }

  /**
   * Makes a name free. False when nothing deleted has it. A deletion that is still under way after so many tries ends
   * by itself.
   */
  async #purge(name: string, tries: number, signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#call('purge', signal, (client, options) =>
          client.purgeDeletedSecret(name, options),
        )
        return true
      } catch (error) {
        if (isVaultError(error, 404)) return false
        if (!isVaultError(error, 409, BEING_DELETED)) throw error
        if (attempt === tries) return true
      }
      await wait(signal)
    }
  }

  /**
   * Tries again what the client does not: after an answer that broke off, and, with another client, after a refused
   * token, which the one that has it would keep.
   */
  async #call<T>(
    permission: Permission,
    signal: AbortSignal,
    work: (client: SecretClient, options: CallOptions) => Promise<T>,
    value?: string,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const client = this.#client
      let status: number | undefined
      const options: CallOptions = {
        abortSignal: signal,
        onResponse: (response) => (status = response.status),
      }
      try {
        return await callSdk(
          signal,
          () => work(client, options),
          (error) =>
            translate(error, { permission, endpoint: this.#config.endpoint, status, value }),
        )
      } catch (error) {
        const isRefused = isVaultError(error, 401) && attempt === 1
        if (isRefused && this.#client === client) this.#client = this.#connect()
        const isBroken = error instanceof Error && isBrokenOff(error.cause) && attempt < TRIES
        if (!isRefused && !isBroken) throw error
      }
    }
  }

  #connect(): SecretClient {
    return new this.#sdk.SecretClient(this.#config.endpoint, this.#credential(), {
      agent: this.#agent,
      retryOptions: RETRIES,
    })
  }

  #credential(): TokenCredential {
    const { credentials, managed_identity: identity } = this.#config
    const { tenant_id: tenant, client_id: client, client_secret: secret } = credentials
    // Whoever names an authority of their own vouches for it; Microsoft's does not know it.
    const hasOwnAuthority = process.env['AZURE_AUTHORITY_HOST'] !== undefined
    const options = { retryOptions: RETRIES, disableInstanceDiscovery: hasOwnAuthority }
    if (client !== '')
      return new this.#sdk.ClientSecretCredential(tenant, client, secret.reveal(), options)
    if (identity.client_id !== '')
      return new this.#sdk.ManagedIdentityCredential(identity.client_id, options)
    return new this.#sdk.DefaultAzureCredential(options)
  }

  #failed(message: string): KeyStoreError {
    return new KeyStoreError('failed', `${this.#config.endpoint}: ${message}`)
  }
}

const BEING_DELETED = 'ObjectIsBeingDeleted'
const DELETED = [BEING_DELETED, 'ObjectIsDeletedButRecoverable']

function isVaultError(error: unknown, status: number, ...codes: readonly string[]): boolean {
  return (
    error instanceof VaultError &&
    error.status === status &&
    (codes.length === 0 || codes.includes(error.code))
  )
}

function timeOf({ createdOn }: SecretProperties): number {
  return createdOn?.getTime() ?? Number.POSITIVE_INFINITY
}

function wait(signal: AbortSignal): Promise<void> {
  return pause(200 + 800 * Math.random(), signal)
}
