/**
 * GCP Secret Manager over gRPC and TLS, on Google's own protos, as its reference describes it. It checks the signature
 * of every token. A new version does not change its secret's etag here: whoever relies on that fails.
 */

// First: see there.
import { trustedCertificate } from './trust.ts'

import assert from 'node:assert/strict'
import { createPublicKey, createVerify, generateKeyPairSync, type KeyObject } from 'node:crypto'

// That of Google's client, on purpose: there is no other in the tree.
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

import { crc32c } from '#src/keystore/gcp/crc32c.js'
import { Fixtures } from './fixtures.ts'
import type { Owner } from './server.ts'
import type { StoreConfig } from './stores.ts'

const SERVICE = 'google.cloud.secretmanager.v1.SecretManagerService'
const PROTOS = ['@google-cloud/secret-manager', 'google-gax'].map(
  (name) => `node_modules/${name}/build/protos`,
)
const PROJECT = 'my-project'
/** Answers have the project's number where requests have its ID. */
const NUMBER = '123456789'
const EMAIL = 'kes@my-project.iam.gserviceaccount.com'
const FIXTURES = new Fixtures('gcp.json', {
  base64: /^[A-Za-z0-9+/]+={0,2}$/,
  digits: /^\d+$/,
  jwt: /^[\w-]+\.[\w-]+\.[\w-]+$/,
  project: /^(?:my-project|123456789)$/,
})

const ACCOUNT = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey

export interface ServiceAccount {
  readonly client_email: string
  readonly client_id: string
  readonly private_key_id: string
  readonly private_key: string
}

/** As the console hands it out; `\n` in the key as in JSON. */
export function serviceAccount(key: KeyObject = ACCOUNT): ServiceAccount {
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  return {
    client_email: EMAIL,
    client_id: '42',
    private_key_id: 'key-1',
    private_key: pem.replaceAll('\n', '\\n'),
  }
}

interface Version {
  data: Buffer
  state: 'ENABLED' | 'DISABLED' | 'DESTROYED'
}

interface Entry {
  etag: number
  annotations: Record<string, string>
  readonly versions: Version[]
}

export interface Failure {
  readonly code: number
  readonly details: string
}

/** `lost`: it has its effect, then the answer gets lost; `damaged`: so does one bit of the payload. */
export type GcpFault = 'hang' | 'lost' | 'damaged' | Failure

type Message = Readonly<Record<string, never>>
type Answer = object | Failure

export class GcpFake {
  readonly entries = new Map<string, Entry>()
  readonly requests: string[] = []
  /** One for each of the next requests. */
  faults: GcpFault[] = []
  /** For requests of an operation, or of all with `*`, once the queue is empty. */
  readonly fault = new Map<string, GcpFault>()
  /** Called before a request has its effect; what it returns happens to the request. */
  intercept: (operation: string) => Promise<GcpFault | void> | GcpFault | void = () => {}
  port = 0
  readonly #complaints: unknown[] = []

  static async start(t: Owner): Promise<GcpFake> {
    const fake = new GcpFake()
    const { key, cert } = await trustedCertificate()
    const server = new Server()
    const definition = loadSync('google/cloud/secretmanager/v1/service.proto', {
      includeDirs: PROTOS,
      longs: String,
      enums: String,
    })[SERVICE] as ServiceDefinition
    const handlers = Object.keys(definition).map((operation) => [
      operation,
      (call: ServerUnaryCall<Message, object>, done: sendUnaryData<object>) =>
        void fake.#answer(operation, call, done),
    ])
    server.addService(definition, Object.fromEntries(handlers))
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) }
    fake.port = await new Promise<number>((resolve, reject) => {
      const credentials = ServerCredentials.createSsl(null, [pair])
      server.bindAsync('127.0.0.1:0', credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      )
    })
    t.after(() => {
      server.forceShutdown()
      if (fake.#complaints.length > 0) throw fake.#complaints[0]
    })
    return fake
  }

  config(settings: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'gcp.secretmanager',
      settings: {
        project_id: PROJECT,
        endpoint: `localhost:${this.port}`,
        credentials: serviceAccount(),
        ...settings,
      },
    }
  }

  /** Puts a secret there, with a version for each text. */
  put(name: string, ...texts: readonly string[]): Entry {
    const versions = texts.map((text) => ({ data: Buffer.from(text), state: 'ENABLED' as const }))
    const entry = { etag: 1, annotations: { owner: 'somebody' }, versions }
    this.entries.set(name, entry)
    return entry
  }

  async #answer(
    operation: string,
    { request, metadata }: ServerUnaryCall<Message, object>,
    done: sendUnaryData<object>,
  ): Promise<void> {
    this.requests.push(operation)
    let fault = this.faults.shift() ?? this.fault.get(operation) ?? this.fault.get('*')
    if (fault === 'hang') return
    if (typeof fault === 'object') return done(fault)
    let answer: Answer
    try {
      const headers = Object.fromEntries(
        Object.entries(metadata.getMap()).map(([name, value]) => [name, String(value)]),
      )
      const body = JSON.stringify(request, (_, value: unknown) =>
        isBuffer(value) ? Buffer.from(value.data).toString('base64') : value,
      )
      FIXTURES.operation({ method: 'gRPC', path: `/${SERVICE}/${operation}`, headers, body })
      fault ??= (await this.intercept(operation)) ?? undefined
      if (fault === 'hang') return
      if (typeof fault === 'object') return done(fault)
      answer = isSigned(headers['authorization'] ?? '')
        ? this.#perform(operation, request)
        : { code: 16, details: 'Request had invalid authentication credentials.' }
    } catch (error) {
      this.#complaints.push(error)
      answer = { code: 13, details: String(error) }
    }
    if (fault === 'lost') done({ code: 14, details: 'the connection was lost' })
    else if ('code' in answer) done(answer)
    else done(null, fault === 'damaged' ? damage(answer) : answer)
  }

  #perform(operation: string, request: Readonly<Record<string, unknown>>): Answer {
    const path = String(
      request['name'] ??
        request['parent'] ??
        (request['secret'] as Record<string, unknown> | undefined)?.['name'],
    )
    const [, , , name = '', , version] = path.split('/')
    if (operation === 'CreateSecret') return this.#create(String(request['secretId']))
    if (operation === 'ListSecrets')
      return this.#list(Number(request['pageSize']), request['pageToken'] as string | undefined)
    const entry = this.entries.get(name)
    if (entry === undefined) return { code: 5, details: `Secret [${path}] not found.` }
    switch (operation) {
      case 'AddSecretVersion':
        return this.#add(name, entry, request['payload'] as { data: Buffer; dataCrc32c: string })
      case 'AccessSecretVersion':
        return access(name, entry, Number(version))
      case 'DeleteSecret':
        return this.#delete(name, entry, request['etag'] as string | undefined)
      case 'UpdateSecret':
        return update(name, entry, request['secret'] as { etag: string; annotations: object })
      default:
        return resource(name, entry)
    }
  }

  #create(name: string): Answer {
    if (!/^[\w-]{1,255}$/.test(name)) return { code: 3, details: 'the name is not valid' }
    if (this.entries.has(name)) return { code: 6, details: `Secret [${name}] already exists.` }
    const entry = { etag: 1, annotations: {}, versions: [] }
    this.entries.set(name, entry)
    return resource(name, entry)
  }

  #add(
    name: string,
    entry: Entry,
    { data, dataCrc32c }: { data: Buffer; dataCrc32c: string },
  ): Answer {
    assert.equal(dataCrc32c, String(crc32c(data)))
    const number = entry.versions.push({ data: Buffer.from(data), state: 'ENABLED' })
    return { name: `${fullName(name)}/versions/${number}`, state: 'ENABLED' }
  }

  #delete(name: string, entry: Entry, etag: string | undefined): Answer {
    if (etag !== undefined && etag !== etagOf(entry))
      return { code: 9, details: 'The etag does not match.' }
    this.entries.delete(name)
    return {}
  }

  #list(size: number, token = ''): Answer {
    const begin = Number(token.replace('page ', ''))
    const all = [...this.entries]
    const secrets = all.slice(begin, begin + size).map(([name, entry]) => resource(name, entry))
    const end = begin + size
    return { secrets, ...(end < all.length && { nextPageToken: `page ${end}` }) }
  }
}

function access(name: string, { versions }: Entry, number: number): Answer {
  const version = versions[number - 1]
  if (version === undefined)
    return { code: 5, details: `Secret Version [${name}/${number}] not found.` }
  if (version.state !== 'ENABLED')
    return { code: 9, details: `Secret Version [${name}/${number}] is in ${version.state} state.` }
  const { data } = version
  return {
    name: `${fullName(name)}/versions/${number}`,
    payload: { data, dataCrc32c: String(crc32c(data)) },
  }
}

function update(
  name: string,
  entry: Entry,
  { etag, annotations }: { etag: string; annotations: object },
): Answer {
  if (etag !== etagOf(entry)) return { code: 9, details: 'The etag does not match.' }
  entry.etag++
  entry.annotations = { ...annotations }
  return resource(name, entry)
}

function damage(answer: object): object {
  const { payload } = answer as { payload: { data: Buffer } }
  const data = Buffer.from(payload.data)
  data[0] = (data[0] ?? 0) ^ 1
  return { ...answer, payload: { ...payload, data } }
}

function resource(name: string, entry: Entry): object {
  return { name: fullName(name), etag: etagOf(entry), annotations: entry.annotations }
}

function fullName(name: string): string {
  return `projects/${NUMBER}/secrets/${name}`
}

function etagOf({ etag }: Entry): string {
  return `"etag-${etag}"`
}

function isBuffer(value: unknown): value is { type: 'Buffer'; data: number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer'
}

/** A self-signed token of the service account (RFC 7519), for this service. */
function isSigned(authorization: string): boolean {
  const [head = '', claims = '', signature = ''] = authorization.replace('Bearer ', '').split('.')
  const { alg, kid } = parse(head)
  const { iss, sub, aud, scope, exp } = parse(claims)
  assert.deepEqual([alg, kid, iss, sub], ['RS256', 'key-1', EMAIL, EMAIL])
  assert.match(String(scope ?? aud), /^https:\/\/(?:www\.|secretmanager\.)googleapis\.com\//)
  assert.ok(Number(exp) * 1000 > Date.now())
  return createVerify('RSA-SHA256')
    .update(`${head}.${claims}`)
    .verify(createPublicKey(ACCOUNT), signature, 'base64url')
}

function parse(part: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Readonly<Record<string, unknown>>
}
