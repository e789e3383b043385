/**
 * A change record: an immutable entry of the keystore that says all that a key is beyond version 1, and what it follows
 * (docs/formats.md, "Change records"). There is one way only to write one, and a reader takes no other, so that whatever
 * a later release may add is noticed, not overlooked.
 */

import { createHash } from 'node:crypto'

import { bytesField, Message, varintField } from '../crypto/protobuf.ts'
import { decodeBase64 } from '../json.ts'
import type { Timestamp } from '../time.ts'
import {
  DamagedKeyError,
  decodeVersion,
  encodeVersion,
  entryOf,
  intact,
  readTime,
  timeField,
} from './codec.ts'
import type { KeyParts } from './key-version.ts'
import { faultOf, type LaterVersion, type Snapshot } from './snapshot.ts'

const FORMAT = 1
const HASH_SIZE = 32

/** Ordinary changes of one key. A deletion and its way back need a few more: they must never be impossible. */
export const MAX_CHANGES = 100
/** Behind a scheduled deletion there is always room for its claim, or for its cancellation. */
export const MAX_SCHEDULES = 198
const MAX_NUMBER = 200

const FIELDS = {
  format: 1,
  number: 2,
  owner: 3,
  predecessor: 4,
  changedAt: 5,
  changedBy: 6,
  isDisabled: 7,
  deniesDecrypt: 8,
  deletionDate: 9,
  isDestroying: 10,
  description: 11,
  tag: 12,
  version: 13,
  checksum: 14,
} as const
const TAG = { name: 1, value: 2 } as const

/** What a record says beside its snapshot. */
export interface Link {
  /** 1, 2, 3, …; as in its name. */
  readonly number: number
  /** SHA-256 of the key's own entry, as it is stored. */
  readonly owner: Buffer
  /** SHA-256 of the record before, as it is stored; absent from the first. */
  readonly predecessor: Buffer | undefined
}

export interface ChangeRecord extends Link {
  readonly changedAt: Timestamp
  /** Hex identity; '' for nobody's. */
  readonly changedBy: string
  readonly snapshot: Snapshot
}

/** What records are tied together by. */
export function hashOf(entry: Uint8Array): Buffer {
  return createHash('sha256').update(entry).digest()
}

/** The entry of a record: base64 of its message. It has secrets: the caller wipes it. */
export function encodeRecord(record: ChangeRecord): Buffer {
  return entryOf(encodeMessage(record))
}

/** @throws DamagedKeyError. The secrets are the caller's, to be wiped. */
export function decodeRecord(entry: Uint8Array): ChangeRecord {
  return intact('not a change record', () => {
    const bytes = bytesOf(entry)
    const message = new Message(bytes)
    const record: ChangeRecord = {
      ...linkOf(message),
      changedAt: readTime(message.message(FIELDS.changedAt), 'the date of a change'),
      changedBy: message.bytes(FIELDS.changedBy)?.toString() ?? '',
      snapshot: snapshotOf(message),
    }
    check(record)
    if (!encodeMessage(record).equals(bytes))
      throw new DamagedKeyError('a change record has something that this release does not know')
    return record
  })
}

/**
 * The last record of a chain, of which every other is the predecessor of the next.
 *
 * @param entries records 1, 2, 3, …, at least one
 * @throws DamagedKeyError when one is damaged, or is not where it should be
 */
export function lastOf(entries: readonly Uint8Array[], owner: Buffer): ChangeRecord {
  let predecessor: Buffer | undefined
  for (const [index, entry] of entries.entries()) {
    const link = intact('not a change record', () => linkOf(new Message(bytesOf(entry))))
    const isNext =
      link.number === index + 1 &&
      link.owner.equals(owner) &&
      (predecessor === undefined
        ? link.predecessor === undefined
        : link.predecessor?.equals(predecessor) === true)
    if (!isNext) throw new DamagedKeyError(`change record ${index + 1} does not belong there`)
    predecessor = hashOf(entry)
  }
  const last = entries.at(-1)
  if (last === undefined) throw new Error('bug: a chain without records')
  return decodeRecord(last)
}

function bytesOf(entry: Uint8Array): Buffer {
  const text = Buffer.from(entry.buffer, entry.byteOffset, entry.length).toString('latin1')
  const bytes = decodeBase64(text)
  // Of several texts that mean the same bytes only the one that is written.
  if (bytes === undefined || bytes.toString('base64') !== text)
    throw new DamagedKeyError('a change record is not base64')
  return bytes
}

function linkOf(message: Message): Link {
  if (message.integer(FIELDS.format) !== FORMAT)
    throw new DamagedKeyError('a change record is of an unknown format')
  const owner = message.bytes(FIELDS.owner)
  const predecessor = message.bytes(FIELDS.predecessor)
  if (owner?.length !== HASH_SIZE) throw new DamagedKeyError('a change record has no owner')
  return { number: message.integer(FIELDS.number), owner, predecessor }
}

function snapshotOf(message: Message): Snapshot {
  const date = message.message(FIELDS.deletionDate)
  return {
    later: message.list(FIELDS.version).map(laterVersion),
    isDisabled: message.integer(FIELDS.isDisabled) !== 0,
    deniesDecrypt: message.integer(FIELDS.deniesDecrypt) !== 0,
    deletionDate: date && readTime(date, 'the date of the deletion'),
    isDestroying: message.integer(FIELDS.isDestroying) !== 0,
    description: message.bytes(FIELDS.description)?.toString() ?? '',
    tags: new Map(
      message.list(FIELDS.tag).map((bytes) => {
        const tag = new Message(bytes)
        return [tag.bytes(TAG.name)?.toString() ?? '', tag.bytes(TAG.value)?.toString() ?? '']
      }),
    ),
  }
}

function laterVersion(bytes: Buffer): LaterVersion {
  const parts: KeyParts = decodeVersion(bytes)
  const { hmacKey } = parts
  if (hmacKey === undefined) throw new DamagedKeyError('a later version has no HMAC key')
  return { ...parts, hmacKey }
}

/** What no writer would write. @throws DamagedKeyError */
function check({ number, predecessor, snapshot }: ChangeRecord): void {
  const { later, isDisabled, deniesDecrypt, deletionDate, isDestroying } = snapshot
  const isLinked = number === 1 ? predecessor === undefined : predecessor?.length === HASH_SIZE
  const fault =
    number < 1 || number > MAX_NUMBER || !isLinked
      ? 'a change record has an impossible place'
      : later.length > number
        ? 'a change record has too many versions'
        : (deniesDecrypt && !isDisabled) || (isDestroying && deletionDate === undefined)
          ? 'a change record has an impossible state'
          : faultOf(snapshot)
  if (fault !== undefined) throw new DamagedKeyError(fault)
}

function encodeMessage({ snapshot, ...record }: ChangeRecord): Buffer {
  const { predecessor, changedBy } = record
  const { deletionDate, description, tags, later } = snapshot
  const names = [...tags.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const message = Buffer.concat([
    varintField(FIELDS.format, FORMAT),
    varintField(FIELDS.number, record.number),
    bytesField(FIELDS.owner, record.owner),
    predecessor === undefined ? NOTHING : bytesField(FIELDS.predecessor, predecessor),
    timeField(FIELDS.changedAt, record.changedAt),
    textField(FIELDS.changedBy, changedBy),
    varintField(FIELDS.isDisabled, Number(snapshot.isDisabled)),
    varintField(FIELDS.deniesDecrypt, Number(snapshot.deniesDecrypt)),
    deletionDate === undefined ? NOTHING : timeField(FIELDS.deletionDate, deletionDate),
    varintField(FIELDS.isDestroying, Number(snapshot.isDestroying)),
    textField(FIELDS.description, description),
    ...names.map((name) => {
      const fields = [textField(TAG.name, name), textField(TAG.value, tags.get(name) ?? '')]
      return bytesField(FIELDS.tag, Buffer.concat(fields))
    }),
    ...later.map((parts) => bytesField(FIELDS.version, encodeVersion(parts))),
  ])
  // Of the last record no other knows the hash, and one that was cut between two fields would be well-formed.
  return Buffer.concat([message, bytesField(FIELDS.checksum, hashOf(message))])
}

const NOTHING = Buffer.alloc(0)

function textField(number: number, text: string): Buffer {
  return text === '' ? NOTHING : bytesField(number, Buffer.from(text))
}
