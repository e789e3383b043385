/** A server with the RustFS KMS Admin API on a free loopback port, and a client that signs what it sends. */

import { createHash, randomUUID } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

import { ALGORITHM, amzDate, canonicalRequests, SigningSecret } from '#src/crypto/sigv4.js'
import {
  type Answer,
  type Owner,
  startServer,
  type TestServer,
  type TestServerOptions,
} from './server.ts'

export interface AccessKey {
  readonly accessKey: string
  readonly secret: string
}

export const OPS: AccessKey = { accessKey: 'ops', secret: 'ops-secret-of-the-tests' }
export const APP: AccessKey = { accessKey: 'app', secret: 'app-secret-of-the-tests' }

export const PREFIX = '/rustfs/admin/v3/kms'

export interface RustfsOptions extends TestServerOptions {
  /** Rules of the policy of APP, as YAML fields. */
  readonly app?: string
  /** Further fields of the section `rustfs`, as YAML lines without indentation; `start` is the keystore unless it is there. */
  readonly rustfs?: string
  /** Instead of a free loopback port over plain HTTP. */
  readonly address?: string
}

export interface RustfsServer extends Omit<TestServer, 'reload'> {
  /** As a TestServer's. */
  reload(options: RustfsOptions): Promise<void>
  /** Of the RustFS KMS Admin API. */
  readonly door: number
  readonly isPrivate: boolean
  /** A signed request by OPS, below PREFIX. */
  call(method: string, path: string, body?: unknown, options?: SendOptions): Promise<Called>
}

export interface Called extends Answer {
  /** The body as JSON; an object without fields for an empty one. */
  readonly json: Readonly<Record<string, unknown>>
}

export interface SendOptions extends SignOptions {
  readonly as?: AccessKey
}

/** OPS may do everything; APP has the policy `app`. */
export async function startRustfs(t: Owner, options: RustfsOptions = {}): Promise<RustfsServer> {
  const server = await startServer(t, { ...options, config: rustfsConfig(options) })
  let latest = options
  const door = server.rustfsPort ?? 0
  const isPrivate = options.address !== undefined && !options.address.startsWith('127.')
  return {
    ...server,
    reload: (changes: RustfsOptions) =>
      server.reload({ ...changes, config: rustfsConfig((latest = { ...latest, ...changes })) }),
    door,
    isPrivate,
    call: async (method, path, body, send = {}) => {
      const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
      const target =
        path.startsWith('/rustfs/') || path.startsWith('/minio/') ? path : PREFIX + path
      const request = { method, target, ...(text !== undefined && { body: text }) }
      // Equal requests of one second have one signature, and on a busy machine may look like a replay (case 11).
      const headers = { 'x-call': randomUUID(), ...send.headers }
      return sendTo({ door, isPrivate }, sign(request, send.as ?? OPS, { door, ...send, headers }))
    },
  }
}

function rustfsConfig({
  config = '',
  rustfs = '',
  app = 'allow: []',
  address,
}: RustfsOptions): string {
  const start = /^start:/m.test(rustfs) ? '' : 'start: { backend_type: keystore }'
  return `${config}
policy: { app: { ${app} } }
rustfs:
  address: "${address ?? '127.0.0.1:0'}"
  credentials:
    - { access_key: ${OPS.accessKey}, secret_key: ${OPS.secret}, policy: admin }
    - { access_key: ${APP.accessKey}, secret_key: ${APP.secret}, policy: app }
  ${start}
${rustfs.replace(/^/gm, '  ')}
`
}

export interface Request {
  readonly method: string
  readonly target: string
  readonly body?: string | Buffer
}

export interface SignOptions {
  readonly door?: number
  readonly service?: string
  readonly region?: string
  /** Milliseconds since 1970. */
  readonly at?: number
  /** Of the scope; by default that of `at`. */
  readonly date?: string
  /** `x-amz-content-sha256`; by default the digest of the body, null: none. */
  readonly payload?: string | null
  /** Further headers, signed like the rest. */
  readonly headers?: Readonly<Record<string, string>>
  /** Headers that are signed; by default all. */
  readonly signed?: readonly string[]
}

export interface SignedRequest extends Request {
  readonly headers: Readonly<Record<string, string>>
}

/** The request with the headers that make it the access key's. */
export function sign(request: Request, key: AccessKey, options: SignOptions = {}): SignedRequest {
  const { door = 0, service = 's3', region = 'us-east-1', at = Date.now() } = options
  const time = amzDate(at)
  const digest = createHash('sha256')
    .update(request.body ?? '')
    .digest('hex')
  const payload = options.payload === undefined ? digest : options.payload
  const headers: Record<string, string> = {
    host: `127.0.0.1:${door}`,
    'x-amz-date': time,
    ...(payload !== null && { 'x-amz-content-sha256': payload }),
    ...options.headers,
  }
  const signedHeaders = [...(options.signed ?? Object.keys(headers))].sort()
  const scope = { date: options.date ?? time.slice(0, 8), region, service }
  const signable = { ...request, headerValues: (name: string) => [headers[name] ?? ''] }
  const [canonical = ''] = canonicalRequests(
    signable,
    { service, signedHeaders },
    payload ?? digest,
  )
  const signature = new SigningSecret(key.secret).sign(canonical, time, scope).toString('hex')
  const credential = `${key.accessKey}/${scope.date}/${region}/${service}/aws4_request`
  const authorization = `${ALGORITHM} Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`
  return { ...request, headers: { ...headers, authorization } }
}

/** Sends a request as it is, on a connection of its own. */
export function sendTo(
  { door, isPrivate }: Pick<RustfsServer, 'door' | 'isPrivate'>,
  { method, target, body, headers }: SignedRequest,
): Promise<Called> {
  return new Promise((resolve, reject) => {
    const request = (isPrivate ? httpsRequest : httpRequest)(
      {
        port: door,
        host: '127.0.0.1',
        method,
        path: target,
        agent: false,
        rejectUnauthorized: false,
        headers: {
          ...headers,
          ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const json = (text === '' ? {} : JSON.parse(text)) as Called['json']
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text, json })
        })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}
