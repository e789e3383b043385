/** Why a backend cannot start, in words that whoever configures it may read: without paths of secrets, and no secret. */

import { KeyStoreError, type KeyStoreFailure } from '../../keystore/keystore.ts'

export class BackendError extends KeyStoreError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('failed', message, options)
  }
}

const WORDS: Readonly<Record<KeyStoreFailure, string>> = {
  unreachable: 'it cannot be reached',
  denied: 'it denies access',
  failed: 'it does not work; the log of the server has the reason',
}

/** What a caller of the API is told; the whole truth is for the log. */
export function wordsFor(error: unknown): string {
  if (error instanceof BackendError) return error.message
  if (error instanceof KeyStoreError) return WORDS[error.failure]
  if (error instanceof Error && error.name === 'TimeoutError') return WORDS.unreachable
  return WORDS.failed
}
