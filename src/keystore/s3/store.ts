/** The store of s3.ts. The SDK signs, retries and finds credentials. */

import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { addAbortSignal, type Readable } from 'node:stream'

import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3'

import { KesError } from '../../errors.ts'
import { isEntryName, type Listing, type Page } from '../../names.ts'
import { type KeyStore, KeyStoreError } from '../keystore.ts'
import type { S3Config } from '../s3.ts'
import { callSdk, importAwsSdk, pause } from '../sdk.ts'
import { clientTls } from '../tls.ts'
import {
  type Action,
  isConflict,
  isExisting,
  isUnknownCondition,
  translate,
  wasRepeated,
} from './errors.ts'

type Sdk = typeof import('@aws-sdk/client-s3')

const TRIES = 3
const CONNECT_LIMIT = 3000
/** Of one try: an endpoint that hangs gets another chance before most deadlines. */
const ANSWER_LIMIT = 5000
const IDLE_LIMIT = 30_000
const MAX_CONNECTIONS = 64
/** Much more than a key; a larger object is not ours. */
const MAX_VALUE = 1024 * 1024
/** The most that S3 allows. */
const PAGE_SIZE = 1000
/** Not the name of an entry. It stays: whoever starts next asks with it again. */
const PROBE = '.kes-probe'
const PROBE_TEXT =
  'With this object openkes checks that writes are refused where an object exists.\n'

/**
 * Nothing is opened unless the service honours conditional writes: others overwrite keys.
 *
 * @throws KeyStoreError
 */
export async function openS3(config: S3Config, signal: AbortSignal): Promise<KeyStore> {
  const sdk = await importAwsSdk('@aws-sdk/client-s3', () => import('@aws-sdk/client-s3'))
  const store = new S3Store(config, sdk)
  try {
    await store.probe(signal)
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}

class S3Store implements KeyStore {
  readonly #config: S3Config
  readonly #sdk: Sdk
  readonly #agent: HttpAgent | HttpsAgent
  readonly #client: S3Client
  readonly #where: string

  constructor(config: S3Config, sdk: Sdk) {
    const { endpoint, region, bucket, path_style: pathStyle, credentials, tls } = config
    const { access_key: id, secret_key: secret, session_token: token } = credentials
    this.#config = config
    this.#sdk = sdk
    this.#where = `bucket '${bucket}' at ${endpoint ?? `Amazon S3 (${region})`}`
    const pool = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_LIMIT }
    const isPlain = endpoint?.startsWith('http:') === true
    this.#agent = isPlain
      ? new HttpAgent(pool)
      : new HttpsAgent({ ...pool, secureContext: clientTls(tls) })
    this.#client = new sdk.S3Client({
      region,
      ...(endpoint && { endpoint }),
      forcePathStyle: pathStyle ?? Boolean(endpoint),
      maxAttempts: TRIES,
      // Checksums that AWS adds on its own are unknown to older services of others.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_LIMIT,
        requestTimeout: ANSWER_LIMIT,
        throwOnRequestTimeout: true,
        ...(isPlain ? { httpAgent: this.#agent } : { httpsAgent: this.#agent }),
      },
      ...(secret !== undefined && {
        credentials: {
          accessKeyId: id,
          secretAccessKey: secret.reveal(),
          ...(token !== undefined && { sessionToken: token.reveal() }),
        },
      }),
    })
  }

  /** Writes an object that is there: that must fail, and leave it. @throws KeyStoreError */
  async probe(signal: AbortSignal): Promise<void> {
    // Some services are clear about a missing bucket only when they are read from.
    await this.status(signal)
    for (let attempt = 1; attempt <= 2; attempt++) {
      try {
        await this.#put(PROBE, Buffer.from(PROBE_TEXT), signal)
      } catch (error) {
        if (error instanceof KesError) return
        if (error instanceof KeyStoreError && isUnknownCondition(error.cause)) break
        throw error
      }
    }
    throw new KeyStoreError(
      'failed',
      `${this.#where}: this service ignores If-None-Match, so servers would overwrite each other’s keys; use a release of it that has conditional writes`,
    )
  }

  /** Reads the probe: with the rights, and on the way, of a request for a key. */
  async status(signal: AbortSignal): Promise<void> {
    try {
      await this.get(PROBE, signal)
    } catch (error) {
      // Somebody tidied up.
      if (!(error instanceof KesError)) throw error
    }
  }

  async create(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    try {
      await this.#put(name, value, signal)
    } catch (error) {
      // The answer to an earlier try was lost: what is there may be ours. Keys are random, so equal ones are.
      const isOurs =
        error instanceof KesError &&
        wasRepeated(error.cause) &&
        (await this.#read(name, signal))?.equals(value)
      if (isOurs !== true) throw error
    }
  }

  async get(name: string, signal: AbortSignal): Promise<Uint8Array> {
    const value = await this.#read(name, signal)
    if (value === undefined) throw new KesError('KEY_NOT_FOUND')
    return value
  }

  async delete(name: string, signal: AbortSignal): Promise<void> {
    // S3 does not tell whether there was something to delete.
    if ((await this.#read(name, signal)) === undefined) throw new KesError('KEY_NOT_FOUND')
    const command = new this.#sdk.DeleteObjectCommand(this.#object(name))
    await this.#call('s3:DeleteObject', signal, (options) => this.#client.send(command, options))
  }

  async list({ prefix, from }: Listing, limit: number, signal: AbortSignal): Promise<Page> {
    const names: string[] = []
    const folder = this.#config.prefix
    for (let after = from === prefix ? '' : before(folder + from); ;) {
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: this.#config.bucket,
        Prefix: folder + prefix,
        MaxKeys: Math.min(limit + 1 - names.length, PAGE_SIZE),
        ...(after !== '' && { StartAfter: after }),
      })
      const page = await this.#call('s3:ListBucket', signal, (options) =>
        this.#client.send(command, options),
      )
      for (const { Key: key = '' } of page.Contents ?? []) {
        after = key
        const name = key.slice(folder.length)
        if (isEntryName(name)) names.push(name)
      }
      const next = names[limit]
      if (next !== undefined) return { names: names.slice(0, limit), next }
      if (page.IsTruncated !== true || page.Contents === undefined) return { names }
    }
  }

  async close(): Promise<void> {
    this.#client.destroy()
    this.#agent.destroy()
  }

  #object(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.#config.bucket, Key: this.#config.prefix + name }
  }

  /** @throws KesError KEY_EXISTS with the service's answer as cause, KeyStoreError */
  async #put(name: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.PutObjectCommand({
      ...this.#object(name),
      Body: Buffer.from(value),
      IfNoneMatch: '*',
      ContentType: 'application/octet-stream',
    })
    for (let wait = 50; ; wait *= 2) {
      try {
        await this.#call('s3:PutObject', signal, (options) => this.#client.send(command, options))
        return
      } catch (error) {
        const { cause } = error as Error
        if (isExisting(cause)) throw new KesError('KEY_EXISTS', { cause })
        if (!isConflict(cause) || wait > 1000) throw error
      }
      // Whoever writes it just now will have won.
      await pause(wait * (0.5 + Math.random()), signal)
    }
  }

  async #read(name: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const command = new this.#sdk.GetObjectCommand(this.#object(name))
    try {
      return await this.#call('s3:GetObject', signal, async (options) =>
        this.#bodyOf(await this.#client.send(command, options), signal),
      )
    } catch (error) {
      if (error instanceof KesError) return undefined
      throw error
    }
  }

  async #bodyOf(answer: GetObjectCommandOutput, signal: AbortSignal): Promise<Buffer> {
    const body = addAbortSignal(signal, answer.Body as Readable)
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > MAX_VALUE)
        throw new KeyStoreError('failed', `${this.#where}: an object of this size is no key`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  async #call<T>(
    action: Action,
    signal: AbortSignal,
    send: (options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const { bucket } = this.#config
    const dropIdle = (): void => {
      // What was silent for so long may be dead, and so may its neighbours.
      for (const sockets of Object.values(this.#agent.freeSockets))
        for (const socket of sockets ?? []) socket.destroy()
    }
    signal.addEventListener('abort', dropIdle)
    try {
      return await callSdk(
        signal,
        () => send({ abortSignal: signal }),
        (error) => translate(error, { action, bucket, where: this.#where }),
      )
    } finally {
      signal.removeEventListener('abort', dropIdle)
    }
  }
}

/**
 * A text right before `key`: S3 lists what comes behind one. No name has a character as large as `~`, so none lies
 * between.
 */
function before(key: string): string {
  return `${key.slice(0, -1)}${String.fromCharCode(key.charCodeAt(key.length - 1) - 1)}~`
}
