/** What AWS's errors mean for a keystore (keystores.md 6). */

import type { SecretsManagerServiceException } from '@aws-sdk/client-secrets-manager'

import { KesError } from '../../errors.ts'
import { KeyStoreError } from '../keystore.ts'
import { isNoAnswer, quote } from '../said.ts'
import { connectionError } from '../sdk.ts'

/** As IAM policies name it. */
export type Action =
  | 'secretsmanager:CreateSecret'
  | 'secretsmanager:DeleteSecret'
  | 'secretsmanager:GetSecretValue'
  | 'secretsmanager:ListSecrets'

export interface Attempt {
  readonly action: Action
  readonly endpoint: string
  /** What must not come back in a message. */
  readonly value?: string | undefined
}

const BAD_CREDENTIALS = new Set([
  'ExpiredTokenException',
  'IncompleteSignature',
  'IncompleteSignatureException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'MissingAuthenticationToken',
  'MissingAuthenticationTokenException',
  'NotAuthorized',
  'OptInRequired',
  'RequestExpired',
  'SignatureDoesNotMatch',
  'UnrecognizedClientException',
])
const NO_ANSWER = new Set([
  'RequestTimeout',
  'ServiceUnavailable',
  'Throttling',
  'ThrottlingException',
  'TimeoutError',
])

export function translate(error: unknown, { action, endpoint, value }: Attempt): Error {
  if (!(error instanceof Error)) return new KeyStoreError('failed', `${endpoint}: ${String(error)}`)
  const cause = { cause: error }
  const words = quote(error.message, value)
  const what = `${endpoint}: ${action}: ${error.name}${words === '' ? '' : `: ${words}`}`
  switch (error.name) {
    case 'ResourceExistsException':
      return new KesError('KEY_EXISTS', cause)
    case 'ResourceNotFoundException':
      return new KesError('KEY_NOT_FOUND', cause)
    case 'AccessDeniedException':
      return new KeyStoreError(
        'denied',
        `${what}; the policy must allow ${neededFor(action)}`,
        cause,
      )
    case 'DecryptionFailure':
      return new KeyStoreError(
        'denied',
        `${what}; kms:Decrypt on the secret's KMS key is needed`,
        cause,
      )
    case 'EncryptionFailure':
      return new KeyStoreError(
        'denied',
        `${what}; kms:GenerateDataKey and kms:Decrypt on kmskey are needed, and it must be enabled`,
        cause,
      )
    case 'CredentialsProviderError':
      return new KeyStoreError(
        'denied',
        `no AWS credentials: ${words}; set credentials, or give the process a role`,
        cause,
      )
  }
  if (BAD_CREDENTIALS.has(error.name))
    return new KeyStoreError(
      'denied',
      `${what}; are the credentials, region and clock right?`,
      cause,
    )
  if (isPendingDeletion(error))
    return new KeyStoreError(
      'failed',
      `${what}; restore the secret, or delete it without recovery`,
      cause,
    )
  const connection = connectionError(error, endpoint)
  if (connection !== undefined) return connection
  const status = isException(error) ? error.$metadata.httpStatusCode : undefined
  const failure = NO_ANSWER.has(error.name) || isNoAnswer(status) ? 'unreachable' : 'failed'
  return new KeyStoreError(failure, what, cause)
}

/** A custom KMS key needs rights of its own, and AWS says no more than that access was denied. */
function neededFor(action: Action): string {
  if (action === 'secretsmanager:CreateSecret')
    return `${action}, and with kmskey also kms:GenerateDataKey and kms:Decrypt`
  if (action === 'secretsmanager:GetSecretValue')
    return `${action}, and with kmskey also kms:Decrypt`
  return action
}

export function isException(error: unknown): error is SecretsManagerServiceException {
  return error instanceof Error && '$metadata' in error
}

/** The name is taken until a deletion is over. */
export function isPendingDeletion(error: unknown): boolean {
  return (
    error instanceof Error &&
    error.name === 'InvalidRequestException' &&
    /deletion|deleted/i.test(error.message)
  )
}
