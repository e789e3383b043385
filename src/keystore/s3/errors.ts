/** What the errors of S3 and its SDK mean for a keystore. */

import type { S3ServiceException } from '@aws-sdk/client-s3'

import { KesError } from '../../errors.ts'
import { KeyStoreError } from '../keystore.ts'
import { isNoAnswer, quote } from '../said.ts'
import { connectionError } from '../sdk.ts'

/** As IAM policies name it. */
export type Action = 's3:PutObject' | 's3:GetObject' | 's3:DeleteObject' | 's3:ListBucket'

export interface Attempt {
  readonly action: Action
  readonly bucket: string
  /** Where the bucket is, for messages. */
  readonly where: string
}

const BAD_CREDENTIALS = new Set([
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
])
const NO_ANSWER = new Set(['RequestTimeout', 'ServiceUnavailable', 'SlowDown', 'TimeoutError'])

/** The condition of a conditional write was looked at, and does not hold. */
export function isExisting(error: unknown): boolean {
  return isException(error) && error.$metadata.httpStatusCode === 412
}

/** Another conditional write of the same object is under way; this one was not done. */
export function isConflict(error: unknown): boolean {
  return isException(error) && error.$metadata.httpStatusCode === 409
}

/** An earlier try of the SDK's may have reached the service, too. */
export function wasRepeated(error: unknown): boolean {
  return isException(error) && (error.$metadata.attempts ?? 1) > 1
}

/** The service does not know conditional writes, and says so. */
export function isUnknownCondition(error: unknown): boolean {
  return isException(error) && error.$metadata.httpStatusCode === 501
}

export function translate(error: unknown, { action, bucket, where }: Attempt): Error {
  if (!(error instanceof Error)) return new KeyStoreError('failed', `${where}: ${String(error)}`)
  const words = quote(error.message)
  const as = (failure: KeyStoreError['failure'], hint = ''): KeyStoreError =>
    new KeyStoreError(failure, `${where}: ${action}: ${error.name}: ${words}${hint}`, {
      cause: error,
    })
  if (error.name === 'NoSuchKey') return new KesError('KEY_NOT_FOUND', { cause: error })
  if (error.name === 'NoSuchBucket') return as('failed', `; create the bucket '${bucket}'`)
  if (error.name === 'CredentialsProviderError') {
    const hint = 'set keystore.s3.credentials, or give the process a role'
    return new KeyStoreError('denied', `no credentials: ${words}; ${hint}`, { cause: error })
  }
  if (BAD_CREDENTIALS.has(error.name)) return as('denied', '; check keystore.s3.credentials')
  if (!isException(error) || error.$metadata.httpStatusCode === undefined)
    return connectionError(error, where, 'keystore.s3.tls.ca') ?? as(silence(error))
  const { httpStatusCode: status } = error.$metadata
  if (status === 401 || status === 403) return as('denied', rightFor(action, bucket))
  if (status === 301 || status === 307 || status === 400)
    return as('failed', '; check keystore.s3.region, endpoint and path_style')
  return as(isNoAnswer(status) ? 'unreachable' : silence(error))
}

function silence(error: Error): 'unreachable' | 'failed' {
  return NO_ANSWER.has(error.name) ? 'unreachable' : 'failed'
}

function rightFor(action: Action, bucket: string): string {
  // Who may not list is not told that an object does not exist.
  const also = action === 's3:GetObject' ? ` and s3:ListBucket on the bucket '${bucket}'` : ''
  return `; the policy must allow ${action}${also}`
}

function isException(error: unknown): error is S3ServiceException {
  return error instanceof Error && '$metadata' in error
}
