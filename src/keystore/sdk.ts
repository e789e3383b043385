/**
 * What the keystores with a vendor's own library share: an end to every call, and the meaning of the errors below
 * HTTP. What an answer means is the keystore's business.
 */

import { setTimeout as sleep } from 'node:timers/promises'

import { within } from '../deadline.ts'
import { KesError } from '../errors.ts'
import { KeyStoreError } from './keystore.ts'
import { importOptional } from './optional.ts'

/**
 * What `load` imports, of the AWS SDK.
 *
 * @throws KeyStoreError that says what to install
 */
export function importAwsSdk<T>(name: string, load: () => Promise<T>): Promise<T> {
  // The SDK's version is ours, so what AWS will support next year is no news for an operator's log.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
  return importOptional(name, load)
}

/**
 * What `work` resolves to. Libraries retry and sleep on their own; the caller waits no longer than `signal` lets.
 *
 * @throws what `translate` makes of the library's error, or the signal's reason
 */
export async function callSdk<T>(
  signal: AbortSignal,
  work: () => Promise<T>,
  translate: (error: unknown) => Error,
): Promise<T> {
  signal.throwIfAborted()
  try {
    return await within(work(), { signal })
  } catch (error) {
    // An aborted call fails in many ways; why it was aborted is what counts.
    signal.throwIfAborted()
    throw error instanceof KesError || error instanceof KeyStoreError ? error : translate(error)
  }
}

/** @throws the signal's reason */
export async function pause(millis: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(millis, undefined, { signal })
  } catch {
    signal.throwIfAborted()
  }
}

const UNREACHABLE = new Set([
  'EAI_AGAIN',
  'EAI_FAIL',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])
const BAD_CERTIFICATE = /CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$|^CRL_/

/**
 * The error of a connection, anywhere in the chain of causes; undefined when it was an answer that failed.
 *
 * @param moreCas where an operator names further CAs
 */
export function connectionError(
  error: unknown,
  endpoint: string,
  moreCas = 'NODE_EXTRA_CA_CERTS',
): KeyStoreError | undefined {
  for (let link: unknown = error; link instanceof Error; link = link.cause) {
    const code = 'code' in link ? String(link.code) : ''
    if (UNREACHABLE.has(code))
      return new KeyStoreError('unreachable', `${endpoint}: ${link.message || code}`, {
        cause: error,
      })
    if (BAD_CERTIFICATE.test(code)) {
      const message = `${endpoint}: its certificate is not trusted: ${link.message}; ${moreCas} names further CAs`
      return new KeyStoreError('failed', message, { cause: error })
    }
    if (code === 'EPROTO' || code.startsWith('ERR_SSL'))
      return new KeyStoreError('failed', `${endpoint}: ${link.message}; does it speak TLS?`, {
        cause: error,
      })
    if (code.startsWith('HPE_'))
      return new KeyStoreError('failed', `${endpoint}: ${link.message}; does it speak HTTP?`, {
        cause: error,
      })
  }
  return undefined
}
