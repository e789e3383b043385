/** What a dialect is made of: routes as data, with handlers that see a `Call` and answer a `Reply`. */

import type { AccessChange } from '../auth/change.ts'
import type { Generation, Question } from '../auth/policy.ts'
import { base64Length, writeBase64 } from '../base64-bytes.ts'
import type { Identity } from '../crypto/identity.ts'
import type { Deadline } from '../deadline.ts'
import type { Enclaves } from '../keys/enclaves.ts'
import type { Realm } from '../keys/realm.ts'
import type { AuditLog } from '../telemetry/audit.ts'
import type { ErrorLog } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { EventStream } from '../telemetry/stream.ts'

/** What a call means, in every dialect: labels metrics. */
export type Operation =
  | 'version'
  | 'ready'
  | 'status'
  | 'metrics'
  | 'api'
  | 'key:create'
  | 'key:import'
  | 'key:describe'
  | 'key:delete'
  | 'key:list'
  | 'key:generate'
  | 'key:encrypt'
  | 'key:decrypt'
  | 'key:hmac'
  | 'key:bulk-decrypt'
  | 'key:rotate'
  | 'key:rewrap'
  | 'key:disable'
  | 'key:enable'
  | 'key:edit'
  | 'key:restore'
  | 'policy:describe'
  | 'policy:read'
  | 'policy:list'
  | 'policy:write'
  | 'policy:assign'
  | 'policy:delete'
  | 'identity:describe'
  | 'identity:self-describe'
  | 'identity:list'
  | 'identity:delete'
  | 'enclave:create'
  | 'enclave:delete'
  | 'kms:configure'
  | 'kms:reconfigure'
  | 'kms:start'
  | 'kms:stop'
  | 'kms:status'
  | 'kms:config'
  | 'kms:clear-cache'
  | 'log:audit'
  | 'log:error'

export type Method = 'GET' | 'PUT' | 'DELETE'

export interface Reply {
  readonly status: number
  /** Content-Type; absent without a body. */
  readonly type?: string
  /** Bytes where it is large: they cost less than a string of them. */
  readonly body?: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** Instead of a body: the answer goes on for as long as the client listens. */
  readonly stream?: EventStream
  /** Instead of a body: lines, made as fast as the client takes them. */
  readonly lines?: AsyncIterable<string>
}

/** What the server offers to handlers, one snapshot per configuration. */
export interface Services extends Realm {
  readonly enclaves: Enclaves
  readonly metrics: Metrics
  readonly audit: AuditLog
  readonly log: ErrorLog
  /** Days that a deletion without a date of its own waits for; 0: it is done at once. */
  readonly deletionWindow: number
  /**
   * Changes who may do what in a realm, in every process of this server; resolves when it counts everywhere.
   *
   * @throws KesError why it is refused
   */
  change(realm: Realm, change: AccessChange): Promise<void>
  /** How callers are answered whose policy does not say. */
  readonly generation: Generation
  /** What `/v1/api` lists. */
  readonly routes: readonly ServedRoute[]
}

/** One request, as far as a handler may see it. */
export interface Call extends Deadline {
  readonly services: Services
  /** Whose keys and policies are meant. */
  readonly realm: Realm
  /** What stands behind a route's path, decoded; '' where nothing does. */
  readonly param: string
  /** Who calls. @throws KesError NO_CERTIFICATE where the route let somebody in without asking. */
  readonly caller: Identity
  /** How the caller is to be answered. */
  readonly generation: Generation
  /** No body came, and none was announced. */
  readonly hasNoBody: boolean
  header(name: string): string | undefined
  /** Every value that the query has under a name. */
  query(name: string): readonly string[]
  /** What was sent; empty unless the route has a `maxBody`. */
  readonly body: Buffer
}

/**
 * A route's path ends in `/` when it takes a parameter.
 *
 * `anyone`: a valid certificate is enough to call it. `permitted`: a policy must allow it, or the config lifts
 * authentication, where the route can do without. `admin`: the admin of the server only, whatever policies say.
 */
export interface Route {
  readonly operation: Operation
  /** PUT routes take POST, too. */
  readonly method: Method
  /** POST does the same, in every generation. */
  readonly post?: boolean
  readonly path: `/${string}`
  /** Other spellings of the path, judged by policies as `path`. */
  readonly aliases?: readonly string[]
  readonly access: 'anyone' | 'permitted' | 'admin'
  /** It means something in an enclave, too. */
  readonly inEnclaves?: boolean
  /** May the config lift authentication? */
  readonly canSkipAuth?: boolean
  /** Bytes; absent: a body is not looked at. */
  readonly maxBody?: number
  /** Milliseconds; 0 = none. */
  readonly timeout: number
  /** The parameter that policies judge instead of the one asked for. */
  readonly judged?: (param: string) => string
  /** Other paths that mean the same: whoever is denied one of them is denied this. */
  readonly twins?: (param: string) => readonly string[]
  /**
   * It changes who may do what: rules that do not spell it out do not open it, and once it is done those who follow a
   * log are looked at again.
   */
  readonly administrative?: boolean
  /** What it does in older generations of the API, where that differs. */
  readonly older?: Readonly<Partial<Record<OlderGeneration, Difference>>>
  handle(call: Call): Reply | Promise<Reply>
}

export type OlderGeneration = Exclude<Generation, 'current'>

export interface Difference {
  /** Also for callers of the current generation that ask for `application/x-ndjson`. */
  readonly byAccept?: boolean
  handle(call: Call): Reply | Promise<Reply>
}

const TIMEOUT = 15_000

/** A route with the usual timeout, unless it has one of its own. */
export function route(definition: Omit<Route, 'timeout'> & Partial<Pick<Route, 'timeout'>>): Route {
  return { timeout: TIMEOUT, ...definition }
}

/** A route under one configuration. */
export interface ServedRoute {
  readonly route: Route
  readonly skipAuth: boolean
  readonly timeout: number
}

/**
 * What policies judge: the route's own path, whatever spelling was asked for.
 *
 * @param path decoded, without query. @param param what stands behind the route's path in it
 */
export function questionOf(route: Route, path: string, param: string): Question {
  const judged =
    param === '' ? route.path : route.judged === undefined ? path : route.path + route.judged(param)
  return { path: judged, twins: route.twins?.(param), administrative: route.administrative }
}

/** Bytes: the `maxBody` of most routes that have one. */
export const MIB = 1_048_576

export const EMPTY: Reply = { status: 200 }

export const JSON_TYPE = 'application/json'

/** Bytes from which on an answer is made as bytes. */
export const LARGE = 12_288

/** `{"name":"base64"}` and the line feed that ends it. @param more fields in ASCII, each with a comma ahead */
export function base64Body(name: string, bytes: Buffer, more = ''): string | Buffer {
  if (bytes.length >= LARGE) return largeBase64Body(name, bytes.length, [bytes], more)
  return `{"${name}":"${bytes.toString('base64')}"${more}}\n`
}

/** The same as bytes, of parts that have `length` bytes together. */
export function largeBase64Body(
  name: string,
  length: number,
  parts: Iterable<Buffer>,
  more = '',
): Buffer {
  const [head, tail] = [`{"${name}":"`, `"${more}}\n`]
  const body = Buffer.allocUnsafe(head.length + base64Length(length) + tail.length)
  const at = body.write(head, 'latin1')
  body.write(tail, writeBase64(body, at, parts), 'latin1')
  return body
}

/** An answer with a JSON body: `body` without the line feed that ends it. */
export function json(body: string): Reply {
  return jsonBody(`${body}\n`)
}

/** The same of a body that has its line feed. */
export function jsonBody(body: string | Buffer): Reply {
  return { status: 200, type: JSON_TYPE, body }
}
