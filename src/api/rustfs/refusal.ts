/** What a failed request is answered: one shape for all, which holds what RustFS's clients look for (rustfs-kms-admin.md, 1.4). */

import { type ErrorCode, KesError } from '../../errors.ts'
import { DamagedKeyError } from '../../keys/codec.ts'
import type { ManagedKeys } from '../../keys/managed.ts'
import { JSON_TYPE, type Reply } from '../route.ts'
import type { KmsRoute } from './route.ts'

/** By status. */
const NAMES: Readonly<Record<number, string>> = {
  400: 'InvalidRequest',
  401: 'AccessDenied',
  403: 'AccessDenied',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  408: 'RequestTimeout',
  409: 'Conflict',
  413: 'PayloadTooLarge',
  500: 'InternalError',
  501: 'NotImplemented',
  503: 'ServiceUnavailable',
}

/** Where this API's status is another than that of KES. */
const STATUSES: Partial<Record<ErrorCode, number>> = {
  KEY_EXISTS: 409,
  KEYSTORE_CREATE: 503,
  KEYSTORE_READ: 503,
  KEYSTORE_DELETE: 503,
  KEYSTORE_LIST: 503,
  KEYSTORE_UNAVAILABLE: 503,
  KEYSTORE_UNREACHABLE: 503,
  TIMEOUT: 503,
}

const MESSAGES: Partial<Record<ErrorCode, string>> = {
  NOT_ALLOWED: 'unauthorised',
  NO_ROUTE: 'there is no such API',
}

/** What is wrong with the request as such, whatever it is about. */
const ABOUT_REQUEST: ReadonlySet<ErrorCode> = new Set([
  'BAD_REQUEST',
  'BAD_BODY',
  'BAD_NAME',
  'NOT_SIGNED',
  'NOT_ALLOWED',
  'NO_ROUTE',
  'BAD_METHOD',
  'SLOW_BODY',
  'TOO_LARGE',
  'NOT_RUNNING',
  'OVERLOADED',
  'DECRYPT',
])

/** @param route if one was found */
export function refusalOf(
  error: KesError,
  route: KmsRoute | undefined,
  managed: ManagedKeys,
  requestId: string,
): Reply {
  const { code, headers } = error
  if (code === 'UPGRADE') return { status: error.status }
  const status = statusOf(error)
  const message = MESSAGES[code] ?? error.message
  const failure = ABOUT_REQUEST.has(code) ? undefined : route?.failure
  const body = JSON.stringify({
    code: NAMES[status] ?? 'InternalError',
    message: failure === undefined ? message : `${failure}: ${message}`,
    success: false,
    request_id: requestId,
    ...fieldsOf(route, managed, code),
  })
  const reply: Reply = { status, type: JSON_TYPE, body }
  return headers === undefined ? reply : { ...reply, headers }
}

function fieldsOf(
  route: KmsRoute | undefined,
  managed: ManagedKeys,
  code: ErrorCode,
): Readonly<Record<string, unknown>> | undefined {
  const fields = route?.refusal
  if (typeof fields !== 'function') return fields
  // How the service is, not everybody may know.
  return code === 'NOT_ALLOWED' ? undefined : fields(managed)
}

function statusOf({ code, status, cause }: KesError): number {
  // It is there, and it is of no use to ask again.
  if (cause instanceof DamagedKeyError) return 500
  return STATUSES[code] ?? status
}
