/** Keystore entries for tests. */

import { isCode } from '#src/errors.js'
import { decodeEntry, encodeKey } from '#src/keys/codec.js'
import { KeyEntries, type StoredKey } from '#src/keys/entries.js'
import type { KeyParts } from '#src/keys/key-version.js'
import { Key } from '#src/keys/key.js'
import { type ChangeRecord, hashOf } from '#src/keys/record.js'
import { recordName } from '#src/keys/record-name.js'
import { type Change, type LaterVersion, rotate, UNCHANGED } from '#src/keys/snapshot.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { now } from '#src/time.js'
import { bytes, SIGNAL } from './bytes.ts'

export const PARTS: KeyParts = {
  cipher: 'AES256',
  secret: Buffer.alloc(32, 1),
  hmacKey: Buffer.alloc(32, 2),
  createdAt: { seconds: 1_700_000_000, nanos: 123_456_789 },
  createdBy: 'a'.repeat(64),
}

/** A later version of a key. */
export const LATER: LaterVersion = {
  ...PARTS,
  secret: Buffer.alloc(32, 3),
  hmacKey: Buffer.alloc(32, 4),
}

/** The second change of a key, with something in each field. */
export const CHANGE: ChangeRecord = {
  number: 2,
  owner: Buffer.alloc(32, 5),
  predecessor: Buffer.alloc(32, 6),
  changedAt: { seconds: 1_700_000_001, nanos: 5 },
  changedBy: 'b'.repeat(64),
  snapshot: {
    later: [LATER],
    isDisabled: true,
    deniesDecrypt: true,
    deletionDate: { seconds: 1_700_600_000, nanos: 7 },
    isDestroying: true,
    description: 'text',
    tags: new Map([['name', 'value']]),
  },
}

/** An entry as the server writes it. */
export function entry(parts: Partial<KeyParts> = {}): Buffer {
  return encodeKey({ ...PARTS, ...parts })
}

/** Version 1 of a key, as its entry says: all that the Go server reads. @throws DamagedKeyError */
export function decodeKey(entry: Uint8Array): Key {
  return new Key(decodeEntry(entry))
}

/** An entry in the form of older releases. */
export function jsonEntry(fields: object = {}): Buffer {
  return bytes(JSON.stringify({ bytes: Buffer.alloc(32, 1).toString('base64'), ...fields }))
}

export const ROTATE: Change = (before, first) => rotate('', now())(before, first)

/** Names of records of a key that `makeChanged` has made. */
export function recordsOf(name: string, ...numbers: readonly number[]): string[] {
  return numbers.map((number) => recordName(number, hashOf(entry()), name))
}

/** Makes a key that was changed so often, each time otherwise; or changes one on that is there. */
export async function makeChanged(
  store: KeyStore,
  name: string,
  changes: readonly Change[],
  parts: KeyParts = PARTS,
): Promise<void> {
  const entries = new KeyEntries(store, true)
  const before = await entries.read(name, SIGNAL).catch((error: unknown) => {
    if (isCode(error, 'KEY_NOT_FOUND')) return entries.create(name, parts, UNCHANGED, SIGNAL)
    throw error
  })
  let stored: StoredKey = before
  for (const change of changes) {
    const next = await entries.append(
      name,
      stored,
      change(stored.snapshot, parts),
      { at: now(), by: '' },
      SIGNAL,
    )
    if (next === undefined) throw new Error('somebody else changes the key')
    stored = next
  }
}
