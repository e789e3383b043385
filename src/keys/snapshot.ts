/**
 * What a key is beyond version 1: later versions, state, description, tags (key-lifecycle.md), and what each change
 * makes of it. Pure; how it is stored stands in record.ts.
 */

import { randomBytes } from '../crypto/random.ts'
import { KesError } from '../errors.ts'
import { inDays, type Timestamp } from '../time.ts'
import { type KeyParts, SECRET_SIZE } from './key-version.ts'

export type KeyState = 'enabled' | 'disabled' | 'pending-deletion'

/** A later version always has an HMAC key. */
export type LaterVersion = KeyParts & { readonly hmacKey: Uint8Array }

export interface Snapshot {
  /** Versions 2, 3, …, in order. */
  readonly later: readonly LaterVersion[]
  /** Goes on, out of sight, while a deletion is scheduled. */
  readonly isDisabled: boolean
  /** Of a disabled key only. */
  readonly deniesDecrypt: boolean
  /** When it may be destroyed; absent: not scheduled. */
  readonly deletionDate?: Timestamp | undefined
  /** Somebody has begun to destroy it: there is no way back. */
  readonly isDestroying: boolean
  /** '' for none. */
  readonly description: string
  readonly tags: ReadonlyMap<string, string>
}

/** Of a key that was never changed. */
export const UNCHANGED: Snapshot = {
  later: [],
  isDisabled: false,
  deniesDecrypt: false,
  isDestroying: false,
  description: '',
  tags: new Map(),
}

export function stateOf({ deletionDate, isDisabled }: Snapshot): KeyState {
  if (deletionDate !== undefined) return 'pending-deletion'
  return isDisabled ? 'disabled' : 'enabled'
}

/** What a key becomes by a change; the same object when there is nothing to change. */
export type Change = (before: Snapshot, first: KeyParts) => Snapshot

/** A new random version, of the newest one's cipher. @throws KesError KEY_DISABLED, KEY_PENDING */
export function rotate(by: string, at: Timestamp): Change {
  return (before, first) => {
    refusePending(before)
    if (before.isDisabled) throw new KesError('KEY_DISABLED')
    const version: LaterVersion = {
      cipher: (before.later.at(-1) ?? first).cipher,
      secret: randomBytes(SECRET_SIZE),
      hmacKey: randomBytes(SECRET_SIZE),
      createdAt: at,
      createdBy: by,
    }
    return { ...before, later: [...before.later, version] }
  }
}

/** As `rotate`, of an enabled key whose newest version is older than so many milliseconds; else nothing. */
export function rotateByAge(age: number, by: string, at: Timestamp): Change {
  return (before, first) => {
    const { createdAt } = before.later.at(-1) ?? first
    const isDue = stateOf(before) === 'enabled' && isOlder(createdAt, age, at)
    return isDue ? rotate(by, at)(before, first) : before
  }
}

/** Whether so many milliseconds have passed. */
export function isOlder(date: Timestamp, age: number, at: Timestamp): boolean {
  return date.seconds < at.seconds - age / 1000
}

/** @param denyDecrypt absent: as it is, or false. @throws KesError KEY_PENDING */
export function disable(denyDecrypt: boolean | undefined): Change {
  return (before) => {
    refusePending(before)
    const deniesDecrypt = denyDecrypt ?? before.deniesDecrypt
    const isSame = before.isDisabled && before.deniesDecrypt === deniesDecrypt
    return isSame ? before : { ...before, isDisabled: true, deniesDecrypt }
  }
}

/** @throws KesError KEY_PENDING */
export function enable(): Change {
  return (before) => {
    refusePending(before)
    return before.isDisabled ? { ...before, isDisabled: false, deniesDecrypt: false } : before
  }
}

/** @param at now. @throws KesError KEY_PENDING, BAD_REQUEST for too few or too many days */
export function schedule(days: number, at: Timestamp): Change {
  return (before) => {
    if (!Number.isInteger(days) || days < MIN_DAYS || days > MAX_DAYS)
      refuse(`days must be a whole number from ${MIN_DAYS} to ${MAX_DAYS}`)
    refusePending(before)
    return { ...before, deletionDate: inDays(days, at) }
  }
}

export const MIN_DAYS = 7
export const MAX_DAYS = 30

/** The state before comes back. @throws KesError KEY_NOT_PENDING */
export function restore(): Change {
  return (before) => {
    if (before.deletionDate === undefined) throw new KesError('KEY_NOT_PENDING')
    const { deletionDate: _, ...rest } = before
    return rest
  }
}

/** Claims a key whose date has passed, for its destruction; nothing when it may not be destroyed (any more). */
export function claim(at: Timestamp): Change {
  return (before) => {
    const isDue = before.deletionDate !== undefined && before.deletionDate.seconds < at.seconds
    return isDue ? { ...before, isDestroying: true } : before
  }
}

/** What is to be changed of a description and tags; absent stays, null goes. */
export interface Edit {
  readonly description?: string | null | undefined
  readonly tags?: ReadonlyMap<string, string | null> | undefined
}

/** UTF-8 bytes. */
export const MAX_DESCRIPTION = 8192
export const MAX_TAGS = 50
/** Characters (UTF-16 units), as of `MAX_TAG_VALUE`. */
export const MAX_TAG_NAME = 128
export const MAX_TAG_VALUE = 256

/** @throws KesError BAD_REQUEST beyond the limits */
export function edit({ description, tags }: Edit): Change {
  return (before) => {
    const merged = new Map(before.tags)
    for (const [name, value] of tags ?? []) {
      if (value === null) merged.delete(wellFormed(name))
      else merged.set(wellFormed(name), wellFormed(value))
    }
    const after: Snapshot = {
      ...before,
      description: description === undefined ? before.description : wellFormed(description ?? ''),
      tags: merged,
    }
    const fault = faultOf(after)
    if (fault !== undefined) refuse(fault)
    return isSameText(before, after) ? before : after
  }
}

/** Which limit a description, or the tags, exceed. */
export function faultOf({
  description,
  tags,
}: Pick<Snapshot, 'description' | 'tags'>): string | undefined {
  if (Buffer.byteLength(description) > MAX_DESCRIPTION)
    return `the description is too long: the limit is ${MAX_DESCRIPTION} bytes`
  if (tags.size > MAX_TAGS) return `there are too many tags: the limit is ${MAX_TAGS}`
  for (const [name, value] of tags) {
    if (name === '') return 'a tag has no name'
    if (name.length > MAX_TAG_NAME)
      return `the name of a tag is too long: the limit is ${MAX_TAG_NAME} characters`
    if (value.length > MAX_TAG_VALUE)
      return `the value of a tag is too long: the limit is ${MAX_TAG_VALUE} characters`
  }
  return undefined
}

function isSameText(a: Snapshot, b: Snapshot): boolean {
  return (
    a.description === b.description &&
    a.tags.size === b.tags.size &&
    [...a.tags].every(([name, value]) => b.tags.get(name) === value)
  )
}

/** Without halves of surrogate pairs, which UTF-8 cannot hold. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}

function refusePending({ deletionDate }: Snapshot): void {
  if (deletionDate !== undefined) throw new KesError('KEY_PENDING')
}

function refuse(message: string): never {
  throw new KesError('BAD_REQUEST', { message })
}
