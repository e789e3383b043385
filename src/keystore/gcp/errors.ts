/** What errors of Google's client mean for a keystore: gRPC's codes, HTTP's where it speaks REST (keystores.md 7). */

import { KesError } from '../../errors.ts'
import { KeyStoreError } from '../keystore.ts'
import { quote } from '../said.ts'
import { connectionError } from '../sdk.ts'

export const Code = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const

/** google.rpc.Code's own table; 400 and 409 stand for the likelier ones here. */
const OF_STATUS: Readonly<Record<number, number>> = {
  400: Code.invalidArgument,
  401: Code.unauthenticated,
  403: Code.permissionDenied,
  404: Code.notFound,
  408: Code.deadlineExceeded,
  409: Code.alreadyExists,
  412: Code.failedPrecondition,
  429: Code.resourceExhausted,
  499: Code.cancelled,
  500: Code.internal,
  501: Code.unimplemented,
  502: Code.unavailable,
  503: Code.unavailable,
  504: Code.deadlineExceeded,
}

/** gRPC's code of an error; undefined when it is none of the service's. */
export function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined
  const code: unknown = 'code' in error ? error.code : undefined
  const number = typeof code === 'string' && /^\d+$/.test(code) ? Number(code) : code
  if (typeof number !== 'number') return undefined
  return number < 100 ? number : (OF_STATUS[number] ?? Code.unknown)
}

/** Whether the service has answered, and has certainly not done what it was asked. */
export function isRefusal(error: unknown): boolean {
  const code = error instanceof Error ? codeOf(error.cause) : undefined
  return (
    code !== undefined &&
    ![
      Code.cancelled as number,
      Code.unknown,
      Code.deadlineExceeded,
      Code.aborted,
      Code.internal,
      Code.unavailable,
    ].includes(code)
  )
}

export interface Attempt {
  /** As IAM names it. */
  readonly permission: string
  readonly endpoint: string
}

export function translate(error: unknown, { permission, endpoint }: Attempt): Error {
  if (!(error instanceof Error)) return new KeyStoreError('failed', `${endpoint}: ${String(error)}`)
  const cause = { cause: error }
  const words = quote(error.message)
  const what = `${endpoint}: ${permission}: ${words}`
  switch (codeOf(error)) {
    case Code.notFound:
      return new KesError('KEY_NOT_FOUND', cause)
    case Code.alreadyExists:
      return new KesError('KEY_EXISTS', cause)
    case Code.permissionDenied:
      return new KeyStoreError('denied', `${what}; ${permission} on the project is needed`, cause)
    case Code.unauthenticated:
      return new KeyStoreError('denied', `${what}; are the credentials and the clock right?`, cause)
    case Code.failedPrecondition:
      return new KeyStoreError(
        'failed',
        `${what}; is version 1 of the secret disabled or destroyed?`,
        cause,
      )
    case Code.unavailable:
    case Code.deadlineExceeded:
    case Code.resourceExhausted:
    case Code.cancelled:
      return new KeyStoreError('unreachable', what, cause)
    case undefined:
      break
    default:
      return new KeyStoreError('failed', what, cause)
  }
  return connectionError(error, endpoint) ?? new KeyStoreError('failed', what, cause)
}

/** Of a client that has not got ready to call. */
export function translateCredentials(error: unknown, endpoint: string): Error {
  const connection = connectionError(error, `${endpoint}: the credentials`)
  if (connection !== undefined) return connection
  const words = quote(error instanceof Error ? error.message : String(error))
  return new KeyStoreError('denied', `no usable Google credentials: ${words}`, { cause: error })
}
