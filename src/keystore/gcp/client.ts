/**
 * Google's client, with an end to each call, our retries, and another connection where the old one is in doubt. It
 * calls below the client's methods, since those give no way to cancel, and log requests with their payloads.
 */

import type { protos, SecretManagerServiceClient } from '@google-cloud/secret-manager'

import type { GcpConfig } from '../gcp.ts'
import { callSdk, pause } from '../sdk.ts'
import { Code, codeOf, translate, translateCredentials } from './errors.ts'

export type Sdk = typeof import('@google-cloud/secret-manager')
type V1<Name extends keyof typeof protos.google.cloud.secretmanager.v1> = InstanceType<
  Extract<
    (typeof protos.google.cloud.secretmanager.v1)[Name],
    abstract new (...args: never[]) => unknown
  >
>

/** Request and answer of each call; what is not sent has no field. */
interface Calls {
  accessSecretVersion: [V1<'AccessSecretVersionRequest'>, V1<'AccessSecretVersionResponse'>]
  addSecretVersion: [V1<'AddSecretVersionRequest'>, V1<'SecretVersion'>]
  createSecret: [V1<'CreateSecretRequest'>, V1<'Secret'>]
  deleteSecret: [V1<'DeleteSecretRequest'>, object]
  getSecret: [V1<'GetSecretRequest'>, V1<'Secret'>]
  listSecrets: [V1<'ListSecretsRequest'>, V1<'ListSecretsResponse'>]
  updateSecret: [V1<'UpdateSecretRequest'>, V1<'Secret'>]
}

const PERMISSIONS: Readonly<Record<keyof Calls, string>> = {
  accessSecretVersion: 'secretmanager.versions.access',
  addSecretVersion: 'secretmanager.versions.add',
  createSecret: 'secretmanager.secrets.create',
  deleteSecret: 'secretmanager.secrets.delete',
  getSecret: 'secretmanager.secrets.get',
  listSecrets: 'secretmanager.secrets.list',
  updateSecret: 'secretmanager.secrets.update',
}

const TRIES = 4
/** Of one try. */
const ANSWER_LIMIT = 5000

type Answers = Promise<readonly unknown[]> & { cancel?(): void }

export class GcpClient {
  readonly #config: GcpConfig
  readonly #sdk: Sdk
  #current: SecretManagerServiceClient | undefined

  constructor(config: GcpConfig, sdk: Sdk) {
    this.#config = config
    this.#sdk = sdk
  }

  /**
   * @param route what requests are routed by: its field and value
   * @throws KesError KEY_EXISTS or KEY_NOT_FOUND, KeyStoreError, or the signal's reason
   */
  async call<Name extends keyof Calls>(
    name: Name,
    request: Partial<Calls[Name][0]>,
    route: readonly [field: string, value: string],
    signal: AbortSignal,
  ): Promise<Calls[Name][1]> {
    for (let attempt = 1; ; attempt++) {
      const client = (this.#current ??= this.#connect())
      try {
        await this.#ready(client, signal)
        return await callSdk(
          signal,
          () => send<Calls[Name][1]>(client, name, request, route, signal),
          (error) =>
            translate(error, { permission: PERMISSIONS[name], endpoint: this.#config.endpoint }),
        )
      } catch (error) {
        const code = error instanceof Error ? codeOf(error.cause) : undefined
        // An earlier try, whose answer was lost, has done it.
        if (name === 'deleteSecret' && attempt > 1 && code === Code.notFound) return {}
        const isSilent = signal.aborted || code === Code.deadlineExceeded
        // The client would stay with a dead connection, or a token that is no longer good.
        if (isSilent || code === Code.unauthenticated) this.#forget(client)
        const isWorthAnother =
          code === Code.unavailable ||
          code === Code.deadlineExceeded ||
          code === Code.resourceExhausted ||
          (code === Code.unauthenticated && attempt === 1)
        if (signal.aborted || attempt === TRIES || !isWorthAnother) throw error
      }
      await pause(50 * 5 ** (attempt - 1) * (0.5 + Math.random()), signal)
    }
  }

  /** Finds credentials, the first time. */
  async #ready(client: SecretManagerServiceClient, signal: AbortSignal): Promise<void> {
    await callSdk(
      signal,
      () => client.initialize(),
      (error) => {
        // It would fail for ever.
        this.#forget(client)
        return translateCredentials(error, this.#config.endpoint)
      },
    )
  }

  close(): void {
    if (this.#current !== undefined) this.#forget(this.#current)
  }

  /** Others may be calling through it still, and end in their own way. */
  #forget(client: SecretManagerServiceClient): void {
    if (this.#current === client) this.#current = undefined
    // Not waited for: a client may never get ready, and one that failed to says so once more.
    client.close().catch(() => {})
  }

  #connect(): SecretManagerServiceClient {
    const { endpoint, project_id: projectId, scopes, credentials } = this.#config
    const { protocol, hostname, port } = new URL(endpoint)
    const isPlain = protocol === 'http:'
    return new this.#sdk.SecretManagerServiceClient({
      projectId,
      apiEndpoint: hostname,
      port: port === '' ? (isPlain ? 80 : 443) : Number(port),
      // Emulators speak REST, and no TLS.
      ...(isPlain && { fallback: true, protocol: 'http' }),
      ...(scopes.length > 0 && { scopes }),
      ...(credentials.client_email !== '' && {
        credentials: {
          type: 'service_account',
          client_email: credentials.client_email,
          client_id: credentials.client_id,
          private_key_id: credentials.private_key_id,
          private_key: credentials.private_key.reveal(),
        },
      }),
      // By default it would take up to two minutes until a service that is back, or elsewhere, is noticed.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.dns_min_time_between_resolutions_ms': 500,
    })
  }
}

async function send<T>(
  client: SecretManagerServiceClient,
  name: keyof Calls,
  request: object,
  [field, value]: readonly [string, string],
  signal: AbortSignal,
): Promise<T> {
  const call = client.innerApiCalls[name] as (request: object, options: object) => Answers
  const answers = call(request, {
    timeout: ANSWER_LIMIT,
    retry: null,
    autoPaginate: false,
    otherArgs: {
      headers: { 'x-goog-request-params': `${field}=${encodeURIComponent(value)}` },
    },
  })
  const cancel = (): void => answers.cancel?.()
  signal.addEventListener('abort', cancel)
  try {
    const all = await answers
    // Of a list, the answer itself is the last.
    return (name === 'listSecrets' ? all[2] : all[0]) as T
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
