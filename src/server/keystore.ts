/** Opens the keystore of a configuration, and makes the keys that it asks for. */

import { setTimeout as sleep } from 'node:timers/promises'

import type { Config } from '../config/config.ts'
import { KesError } from '../errors.ts'
import type { KeyService } from '../keys/service.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { openAnswering } from '../keystore/open.ts'
import type { ErrorLog } from '../telemetry/log.ts'

/** Milliseconds for each key. */
const CREATE_LIMIT = 15_000

export interface OpenOptions {
  /** How often a keystore is tried that cannot be reached: it may be starting, too. */
  readonly tries: number
  /** Milliseconds for all tries. */
  readonly limit: number
  readonly log: Pick<ErrorLog, 'write'>
  /** Ends the attempt. */
  readonly signal: AbortSignal
}

/** A keystore that has answered. @throws KeyStoreError that names it; nothing is left open then */
export async function openKeyStore(
  { keystore }: Pick<Config, 'keystore'>,
  { tries, limit, log, signal: stop }: OpenOptions,
): Promise<KeyStore> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(limit)])
  for (let attempt = 1; ; attempt++) {
    try {
      const { kind, settings } = keystore
      return await openAnswering((limit) => kind.open(settings, limit), signal)
    } catch (error) {
      const { name, message } = error as Error
      const reason = name === 'TimeoutError' ? `no answer within ${limit / 1000} s` : message
      const isUnreachable = error instanceof KeyStoreError && error.failure === 'unreachable'
      if (!isUnreachable || attempt === tries || signal.aborted) {
        throw new KeyStoreError('failed', `keystore ${titleOf(keystore)}: ${reason}`, {
          cause: error,
        })
      }
      log.write('WARN', `the keystore cannot be reached, try ${attempt} of ${tries}: ${reason}`)
      await sleep(250 * 2 ** attempt)
    }
  }
}

/** Of what kind it is, and where: for messages. */
export function titleOf({ kind, settings }: Config['keystore']): string {
  return `${kind.name} (${kind.describe(settings)})`
}

/** Creates those that do not exist. @throws KeyStoreError that names the first one that cannot be created */
export async function createKeys(
  keys: KeyService,
  names: readonly string[],
  by: string,
  stop: AbortSignal,
): Promise<void> {
  for (const name of names) {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(CREATE_LIMIT)])
    try {
      await keys.create(name, by, { signal })
    } catch (error) {
      if (error instanceof KesError && error.code === 'KEY_EXISTS') continue
      const cause = error instanceof KesError ? (error.cause as Error | undefined) : undefined
      throw new KeyStoreError(
        'failed',
        `key '${name}' of the config cannot be created: ${cause?.message ?? (error as Error).message}`,
        { cause: error },
      )
    }
  }
}
