/** From options and environment to a client of the server, and from its failures to what a person reads. */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'

import {
  ApiKey,
  ConnectionError,
  KesClient,
  KesClientError,
  type KesClientOptions,
  NotAllowedError,
} from '../client/index.ts'
import { readCas, readPem, TlsFileError } from '../pem.ts'
import { CommandError, UsageError } from './command.ts'
import type { OutputOptions } from './output.ts'
import { asking, canAsk } from './prompt.ts'

/** What `CONNECTION` and `OUTPUT` (options.ts) give to every command that asks a server. */
export interface ConnectionOptions extends OutputOptions {
  readonly server?: string
  readonly apiKey?: string
  readonly insecure?: boolean
  readonly ca?: string
  readonly enclave?: string
}

const DEFAULT_SERVER = 'https://127.0.0.1:7373'
/** Somebody waits at a terminal: another server is asked at once, but none for long. */
const RETRIES = 2

/**
 * Does something with a client, and closes it.
 *
 * @throws CommandError for whatever the client fails with; UsageError when options or environment are not enough
 */
export async function withClient<T>(
  options: ConnectionOptions,
  work: (client: KesClient) => Promise<T>,
): Promise<T> {
  const client = newClient(await clientOptions(options))
  return closing([client], () => work(client))
}

/** The same with a client for each of the servers: for what differs between them. @throws as withClient */
export async function withEveryClient<T>(
  options: ConnectionOptions,
  work: (clients: readonly KesClient[]) => Promise<T>,
): Promise<T> {
  const shared = await clientOptions(options)
  const clients = newClient(shared).endpoints.map((url) => newClient({ ...shared, endpoints: url }))
  return closing(clients, () => work(clients))
}

async function closing<T>(clients: readonly KesClient[], work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof KesClientError ? new CommandError(explain(error)) : error
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

/**
 * Does one thing, and says which if it fails: `failed to create key "k1": key already exists`.
 *
 * @param what completes `failed to …`
 */
export async function attempt<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof KesClientError)) throw error
    throw new CommandError(`failed to ${what}: ${explain(error)}`)
  }
}

/** Does one thing after the other, also when some fail. @throws CommandError that names every failure */
export async function attemptEach<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: string[] = []
  for (const item of items) {
    try {
      await work(item)
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      failures.push(error.message)
    }
  }
  if (failures.length > 0) throw new CommandError(failures.join('\nError: '))
}

/** Options of the client for one of the command line. @throws UsageError, CommandError */
export async function clientOptions(options: ConnectionOptions): Promise<KesClientOptions> {
  return {
    endpoints: namedServer(options) ?? DEFAULT_SERVER,
    ...(await credentials(options)),
    ca: certificates(options.ca ?? variable('CA')),
    insecure: options.insecure,
    enclave: options.enclave ?? variable('ENCLAVE'),
    retries: RETRIES,
  }
}

/** What the command line, or else the environment, says; undefined when neither does. */
export function namedServer({ server }: ConnectionOptions): string | undefined {
  return server ?? variable('SERVER')
}

/** Scripts for MinIO KES may have the longer name. An empty variable counts as none. */
function variable(name: string): string | undefined {
  return process.env[`KES_${name}`] || process.env[`MINIO_KES_${name}`] || undefined
}

async function credentials(options: ConnectionOptions): Promise<Partial<KesClientOptions>> {
  const apiKey = options.apiKey ?? variable('API_KEY')
  if (apiKey !== undefined) {
    const parsed = ApiKey.parse(apiKey)
    if (parsed !== undefined) return { apiKey: parsed }
    const where = options.apiKey === undefined ? 'KES_API_KEY' : '--api-key'
    throw new UsageError(`${where} is no API key, which looks like kes:v1:…: was it copied whole?`)
  }
  const { KES_CLIENT_CERT: cert = '', KES_CLIENT_KEY: key = '' } = process.env
  if (cert === '' && key === '') {
    throw new UsageError(
      'no API key: set KES_API_KEY or pass --api-key; or set KES_CLIENT_CERT and KES_CLIENT_KEY',
    )
  }
  if (cert === '') throw new UsageError('KES_CLIENT_KEY needs KES_CLIENT_CERT beside it')
  if (key === '') throw new UsageError('KES_CLIENT_CERT needs KES_CLIENT_KEY beside it')
  const certificate = read(() => readPem(cert, 'KES_CLIENT_CERT'))
  const privateKey = await clientKey(key)
  checkPair(certificate, privateKey, `KES_CLIENT_KEY '${key}'`, `KES_CLIENT_CERT '${cert}'`)
  return { cert: certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) }
}

async function clientKey(path: string): Promise<KeyObject> {
  const key = read(() => readPem(path, 'KES_CLIENT_KEY'))
  const isEncrypted = key.includes('ENCRYPTED')
  try {
    return createPrivateKey({ key, ...(isEncrypted && { passphrase: await password(path) }) })
  } catch (error) {
    if (error instanceof CommandError) throw error
    const what = isEncrypted ? 'needs another password' : 'is not a PEM private key'
    throw new CommandError(`KES_CLIENT_KEY '${path}' ${what}`)
  }
}

async function password(path: string): Promise<string> {
  const { KES_CLIENT_KEY_PASSWORD: given = '' } = process.env
  if (given !== '') return given
  if (!canAsk())
    throw new UsageError(`KES_CLIENT_KEY '${path}' is encrypted: set KES_CLIENT_KEY_PASSWORD`)
  return asking((ask) => ask.password(`Password for ${path}`))
}

/** @throws CommandError */
function checkPair(pem: string, key: KeyObject, keyName: string, certName: string): void {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch {
    throw new CommandError(`${certName} is not a PEM certificate`)
  }
  if (!certificate.checkPrivateKey(key))
    throw new CommandError(`${keyName} does not belong to ${certName}`)
}

function certificates(path: string | undefined): readonly string[] | undefined {
  return path === undefined ? undefined : read(() => readCas(path, '--ca'))
}

function read<T>(files: () => T): T {
  try {
    return files()
  } catch (error) {
    throw error instanceof TlsFileError ? new CommandError(error.message) : error
  }
}

function newClient(options: KesClientOptions): KesClient {
  try {
    return new KesClient(options)
  } catch (error) {
    throw error instanceof KesClientError ? new UsageError(error.message) : error
  }
}

/** What went wrong, and what to do about it in terms of this command. */
export function explain(error: KesClientError): string {
  if (error instanceof NotAllowedError && error.hint !== undefined)
    return `${error.message}\n  ${error.hint}\n  (as identity ${error.identity ?? 'unknown'})`
  if (error instanceof ConnectionError && error.reason === 'untrusted') {
    const said = error.cause instanceof Error ? error.cause.message : 'unknown reason'
    return (
      `${error.endpoint}: the server’s certificate is not trusted (${said}): pass its CA, or the certificate ` +
      'itself, with --ca or KES_CA; for trying out, -k skips the check'
    )
  }
  return error.message
}
