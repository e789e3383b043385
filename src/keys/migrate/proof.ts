/** Whether two keys are one key, shown by using every version of them, in whatever state they are. */

import { randomBytes } from 'node:crypto'

import { splitHeader } from '../../crypto/header.ts'
import { isCode } from '../../errors.ts'
import type { KeyVersion } from '../key-version.ts'
import type { Key } from '../key.ts'

/** What `theirs` cannot do that `ours` needs it to; undefined when it is as good. */
export function disprove(ours: Key, theirs: Key): string | undefined {
  for (const version of ours.versions) {
    const fault = disproveVersion(version, theirs.versions[version.version - 1])
    if (fault !== undefined)
      return version.version === 1 ? fault : `version ${version.version}: ${fault}`
  }
  return undefined
}

function disproveVersion(ours: KeyVersion, theirs: KeyVersion | undefined): string | undefined {
  if (theirs === undefined) return 'the target’s key does not have it'
  const [message, context] = [randomBytes(32), randomBytes(32)]
  const sealed = ours.seal(message, context)
  const body = ours.version === 1 ? sealed : (splitHeader(sealed)?.rest ?? sealed)
  if (theirs.open(body, context)?.equals(message) !== true)
    return 'the target’s key does not open what the source’s has sealed'
  const [wanted, found] = [macOf(ours, message), macOf(theirs, message)]
  if (wanted === undefined || found === undefined)
    return wanted === found ? undefined : `the ${found ? 'source' : 'target'}’s key has no HMAC key`
  return wanted.equals(found) ? undefined : 'the HMACs of the two keys differ'
}

function macOf(version: KeyVersion, message: Buffer): Buffer | undefined {
  try {
    return version.hmac(message)
  } catch (error) {
    if (isCode(error, 'NO_HMAC')) return undefined
    throw error
  }
}
