/** The store of aws.ts. Its SDK signs, retries and finds credentials; the rules are those of keystores.md 6. */

import { randomUUID } from 'node:crypto'

import type {
  GetSecretValueCommandOutput,
  ListSecretsCommandOutput,
  SecretListEntry,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'

import { KesError } from '../../errors.ts'
import { type Listing, type Page, pageOf } from '../../names.ts'
import type { AwsConfig } from '../aws.ts'
import type { KeyStore } from '../keystore.ts'
import { callSdk, pause } from '../sdk.ts'
import { type Action, isException, isPendingDeletion, translate } from './errors.ts'

type Sdk = typeof import('@aws-sdk/client-secrets-manager')

/** The Go server's: four tries. */
const TRIES = 4
/** Of one try: an endpoint that hangs gets another chance before most deadlines. */
const CONNECT_LIMIT = 3000
const ANSWER_LIMIT = 5000
/** The most that AWS allows. */
const PAGE_SIZE = 100
/** A forced deletion takes AWS a moment, in which the name is taken. */
const DELETION_LIMIT = 5000

export class AwsStore implements KeyStore {
  readonly #config: AwsConfig
  readonly #sdk: Sdk
  readonly #client: SecretsManagerClient

  constructor(config: AwsConfig, sdk: Sdk) {
    const { endpoint, region, credentials } = config
    this.#config = config
    this.#sdk = sdk
    this.#client = new sdk.SecretsManagerClient({
      endpoint,
      region,
      maxAttempts: TRIES,
      requestHandler: {
        connectionTimeout: CONNECT_LIMIT,
        requestTimeout: ANSWER_LIMIT,
        throwOnRequestTimeout: true,
      },
      ...(credentials.accesskey !== '' && {
        credentials: {
          accessKeyId: credentials.accesskey,
          secretAccessKey: credentials.secretkey.reveal(),
          ...(credentials.token.reveal() !== '' && { sessionToken: credentials.token.reveal() }),
        },
      }),
    })
  }

  async status(signal: AbortSignal): Promise<void> {
    await this.#list(signal, 1)
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    // AWS names the first version after it: so a try of ours that had no answer is recognised.
    const token = randomUUID()
    const limit = performance.now() + DELETION_LIMIT
    for (let wait = 250; ; wait = Math.min(2 * wait, 2000)) {
      try {
        return await this.#create(name, value, token, signal)
      } catch (error) {
        const isOver = performance.now() + wait > limit
        if (isOver || !(error instanceof Error) || !isPendingDeletion(error.cause)) throw error
      }
      await pause(wait, signal)
    }
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const { SecretString: text, SecretBinary: binary } = await this.#read(name, signal)
    return text === undefined ? Uint8Array.from(binary ?? []) : Buffer.from(text)
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.DeleteSecretCommand({
      SecretId: name,
      ForceDeleteWithoutRecovery: true,
    })
    await this.#call('secretsmanager:DeleteSecret', signal, (options) =>
      this.#client.send(command, options),
    )
  }

  async list(listing: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names: string[] = []
    const collect = (entries: readonly SecretListEntry[] = []): void => {
      for (const { Name: name } of entries) if (name !== undefined) names.push(name)
    }
    // A filter would match words, not prefixes.
    let page = await this.#list(signal, PAGE_SIZE)
    collect(page.SecretList)
    while (page.NextToken !== undefined && page.NextToken !== '') {
      page = await this.#list(signal, PAGE_SIZE, page.NextToken)
      collect(page.SecretList)
    }
    return pageOf(names, listing, limit)
  }

  async close(): Promise<void> {
    this.#client.destroy()
  }

  async #create(
    name: string,
    value: Uint8Array,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    const text = Buffer.from(value).toString()
    const { kmskey } = this.#config
    const command = new this.#sdk.CreateSecretCommand({
      Name: name,
      SecretString: text,
      ClientRequestToken: token,
      ...(kmskey !== '' && { KmsKeyId: kmskey }),
    })
    try {
      await this.#call(
        'secretsmanager:CreateSecret',
        signal,
        (options) => this.#client.send(command, options),
        text,
      )
    } catch (error) {
      const wasRepeated =
        error instanceof KesError &&
        isException(error.cause) &&
        (error.cause.$metadata.attempts ?? 1) > 1
      if (!wasRepeated || (await this.#read(name, signal)).VersionId !== token) throw error
    }
  }

  #read(name: string, signal: AbortSignal): Promise<GetSecretValueCommandOutput> {
    const command = new this.#sdk.GetSecretValueCommand({ SecretId: name })
    return this.#call('secretsmanager:GetSecretValue', signal, (options) =>
      this.#client.send(command, options),
    )
  }

  #list(signal: AbortSignal, size: number, token?: string): Promise<ListSecretsCommandOutput> {
    const command = new this.#sdk.ListSecretsCommand({
      MaxResults: size,
      ...(token !== undefined && { NextToken: token }),
    })
    return this.#call('secretsmanager:ListSecrets', signal, (options) =>
      this.#client.send(command, options),
    )
  }

  #call<T>(
    action: Action,
    signal: AbortSignal,
    send: (options: { abortSignal: AbortSignal }) => Promise<T>,
    value?: string,
  ): Promise<T> {
    return callSdk(
      signal,
      () => send({ abortSignal: signal }),
      (error) => translate(error, { action, endpoint: this.#config.endpoint, value }),
    )
  }
}
