/** Whether two stored keys are one key, shown by using them. */

import { randomBytes } from 'node:crypto'

import { KesError } from '../../errors.ts'
import { DamagedKeyError, decodeKey } from '../codec.ts'
import type { Key } from '../key.ts'

/** What `theirs` cannot do that `ours` needs it to; undefined when it is as good. */
export function disprove(ours: Key, theirs: Uint8Array): string | undefined {
  let copy: Key
  try {
    copy = decodeKey(theirs)
  } catch (error) {
    if (!(error instanceof DamagedKeyError)) throw error
    return `the target’s entry is damaged: ${error.message}`
  }
  const [message, context] = [randomBytes(32), randomBytes(32)]
  if (!opens(copy, ours.encrypt(message, context), context, message))
    return 'the target’s key does not open what the source’s has sealed'
  const [wanted, found] = [macOf(ours, message), macOf(copy, message)]
  if (wanted === undefined || found === undefined)
    return wanted === found ? undefined : `the ${found ? 'source' : 'target'}’s key has no HMAC key`
  return wanted.equals(found) ? undefined : 'the HMACs of the two keys differ'
}

function opens(key: Key, sealed: Buffer, context: Buffer, plaintext: Buffer): boolean {
  try {
    return key.decrypt(sealed, context).equals(plaintext)
  } catch (error) {
    if (error instanceof KesError && error.code === 'DECRYPT') return false
    throw error
  }
}

function macOf(key: Key, message: Buffer): Buffer | undefined {
  try {
    return key.hmac(message)
  } catch (error) {
    if (error instanceof KesError && error.code === 'NO_HMAC') return undefined
    throw error
  }
}
