/** What the RustFS KMS Admin API is made of (rustfs-kms-admin.md): routes as data, as in ../route.ts, over managed keys. */

import type { Identity } from '../../crypto/identity.ts'
import type { Deadline } from '../../deadline.ts'
import { KesError } from '../../errors.ts'
import type { ManagedKeys, Running } from '../../keys/managed.ts'
import { JsonError } from '../../json.ts'
import type { StrictFields } from '../../strict-json.ts'
import { JSON_TYPE, type Operation, type Reply, type Services } from '../route.ts'

/** One request, whose caller may do what its route does to the key that it names. */
export interface KmsCall extends Deadline {
  readonly services: Services
  readonly managed: ManagedKeys
  /** `rustfs:<access key>` */
  readonly caller: Identity
  /** Of the body; none where there was no body. */
  readonly fields: StrictFields
  /** The body is not empty. */
  readonly hasBody: boolean
  /** The last value of a name in the query. */
  readonly query: (name: string) => string | undefined
  /** The key that the request names, as its route finds it; '' where the route is about none. */
  readonly keyId: string
  /** What serves this request, to its end. @throws KesError NOT_RUNNING */
  readonly running: Running
}

/** What a route needs to know of a request to say which key it names. */
export type KeyIdSource = Pick<KmsCall, 'fields' | 'hasBody' | 'query'> & {
  /** What stands behind the route's path, decoded. */
  readonly param: string
  /** Of the backend that runs. */
  readonly defaultKeyId: string | undefined
}

/** What policies call it: `/v1/key/<verb>/<id>`, with another backend than the keystore `/v1/kms/key/<verb>/<id>`. */
export type KeyVerb =
  | 'create'
  | 'describe'
  | 'list'
  | 'generate'
  | 'decrypt'
  | 'delete'
  | 'restore'
  | 'enable'
  | 'disable'
  | 'rotate'
  | 'edit'

/** What policies call it: `/v1/kms/<verb>`. */
export type ServiceVerb = 'configure' | 'start' | 'stop' | 'clear-cache' | 'status' | 'config'

export interface KmsRoute {
  readonly operation: Operation
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Below `/rustfs/admin/v3`; one that ends in `/` takes a parameter. */
  readonly path: `/kms/${string}`
  readonly aliases?: readonly `/kms/${string}`[]
  readonly right: { readonly key: KeyVerb } | { readonly service: ServiceVerb }
  /** The key that is asked for. Absent: none. @throws JsonError, KesError when the request does not name one */
  readonly keyId?: (request: KeyIdSource) => string
  /** Fields of a refusal beside the error itself: those that clients look for in an answer. */
  readonly refusal?:
    | Readonly<Record<string, unknown>>
    | ((managed: ManagedKeys) => Readonly<Record<string, unknown>>)
  /** Said before what went wrong with a key: `failed to create key`. */
  readonly failure?: string
  /** Milliseconds. */
  readonly timeout: number
  /** May throw JsonError for what is wrong with the request. */
  handle(call: KmsCall): Reply | Promise<Reply>
}

const TIMEOUT = 15_000

/** A route with the usual timeout, unless it has one of its own. */
export function kmsRoute(
  definition: Omit<KmsRoute, 'timeout'> & Partial<Pick<KmsRoute, 'timeout'>>,
): KmsRoute {
  return { timeout: TIMEOUT, ...definition }
}

/** 200 with a JSON body. */
export function answer(fields: Readonly<Record<string, unknown>>): Reply {
  return { status: 200, type: JSON_TYPE, body: JSON.stringify(fields) }
}

/** What is wrong with a request: 400, in these words. */
export function badRequest(message: string): KesError {
  return new KesError('BAD_REQUEST', { message })
}

/** What `JsonError` says of a body, for its sender. */
export function badJson(error: JsonError): KesError {
  return new KesError('BAD_BODY', { message: `invalid JSON: ${error.message}`, cause: error })
}

/** A field that must be there. @throws JsonError */
export function required<T>(value: T | null | undefined, name: string): T {
  if (value === null || value === undefined) throw new JsonError(`missing field ${name}`)
  return value
}
