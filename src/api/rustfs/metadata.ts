/** A key as this API describes it: the fields of the document, and those of today's RustFS (rustfs-kms-admin.md, 7.1 to 7.4). */

import type { Key } from '../../keys/key.ts'
import type { Running } from '../../keys/managed.ts'
import type { KeyState } from '../../keys/snapshot.ts'
import type { Timestamp } from '../../time.ts'

/** The tag that names a key; it is not kept with it. */
export const NAME_TAG = 'name'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const STATES: Readonly<Record<KeyState, string>> = {
  enabled: 'Enabled',
  disabled: 'Disabled',
  'pending-deletion': 'PendingDeletion',
}

/** Of an item of a listing. */
export const STATUSES: Readonly<Record<KeyState, string>> = {
  ...STATES,
  enabled: 'Active',
}

export function metadataOf(id: string, key: Key): Readonly<Record<string, unknown>> {
  return {
    key_id: id,
    description: key.description === '' ? null : key.description,
    enabled: key.state === 'enabled',
    key_usage: 'ENCRYPT_DECRYPT',
    creation_date: micros(key.createdAt),
    deletion_date: key.deletionDate === undefined ? null : micros(key.deletionDate),
    rotation_enabled: false,
    key_state: STATES[key.state],
    origin: 'KMS',
    key_manager: 'CUSTOMER',
    tags: tagsOf(id, key),
  }
}

/** What is left of a key that was destroyed just now. */
export function tombstoneOf(id: string, key: Key): Readonly<Record<string, unknown>> {
  return { ...metadataOf(id, key), enabled: false, key_state: 'Unavailable' }
}

export function listItemOf(id: string, key: Key): Readonly<Record<string, unknown>> {
  const newest = key.versions.at(-1)
  return {
    key_id: id,
    description: key.description === '' ? null : key.description,
    algorithm: key.cipher === 'AES256' ? 'AES_256' : key.cipher,
    usage: 'ENCRYPT_DECRYPT',
    status: STATUSES[key.state],
    version: key.version,
    metadata: {},
    tags: tagsOf(id, key),
    created_at: micros(key.createdAt),
    rotated_at: key.version === 1 || newest === undefined ? null : micros(newest.createdAt),
    created_by: key.createdBy === '' ? null : key.createdBy,
    rotation_due: false,
  }
}

/** Objects with names of the caller's choice are made of entries: `__proto__` is a name like any other. */
function tagsOf(id: string, key: Key): Readonly<Record<string, string>> {
  const named = UUID.test(id) ? [] : [[NAME_TAG, id] as const]
  return Object.fromEntries([...named, ...key.tags])
}

/**
 * Who is known to need a key. Never that nobody does: what is encrypted under it, this server has not seen.
 */
export function impactOf(id: string, { defaultKeyId }: Running): Readonly<Record<string, unknown>> {
  const isDefault = defaultKeyId === id
  return {
    key_id: id,
    completeness: 'observed-only',
    coverage: {
      scanned: ['service-default-key'],
      not_scanned: [
        'bucket-default-encryption',
        'object-envelopes',
        'in-progress-multipart-uploads',
      ],
    },
    references: isDefault
      ? [{ kind: 'service-default-key', id, detail: 'default_key_id of the configuration' }]
      : [],
  }
}

/** RFC 3339 in UTC with microseconds, as in the document. */
function micros({ seconds, nanos }: Timestamp): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, -5)
  return `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z`
}
