/** The RustFS KMS Admin API's calls on keys, but for listing and deleting them (rustfs-kms-admin.md, 7). */

import { randomUUID } from 'node:crypto'

import type { Key } from '../../keys/key.ts'
import { JsonError } from '../../json.ts'
import type { StrictFields } from '../../strict-json.ts'
import type { Reply } from '../route.ts'
import { bodyKeyId, checkedKeyId, keyIdOf, queryKeyId } from './key-id.ts'
import { impactOf, metadataOf, NAME_TAG } from './metadata.ts'
import {
  answer,
  badRequest,
  type KeyIdSource,
  type KmsCall,
  type KmsRoute,
  kmsRoute,
  required,
} from './route.ts'

/** The tag `name`, what MinIO's clients put into the query, or a new one. */
function newKeyId({ fields, query }: KeyIdSource): string {
  const named = tagsIn(fields)?.get(NAME_TAG)
  const asked = query('key-id')
  if (named !== undefined && asked !== undefined && asked !== named)
    throw badRequest('the body and the query name two keys')
  return named ?? asked ?? randomUUID()
}

function tagsIn(fields: StrictFields): ReadonlyMap<string, string> | null | undefined {
  return fields.texts('Tags', 'tags')
}

const createKey = kmsRoute({
  operation: 'key:create',
  method: 'POST',
  path: '/kms/keys',
  aliases: ['/kms/create-key', '/kms/key/create'],
  right: { key: 'create' },
  keyId: newKeyId,
  refusal: { key_id: '', key_metadata: null },
  failure: 'failed to create key',
  async handle(call) {
    const { fields } = call
    const usage = fields.string('KeyUsage', 'key_usage') ?? 'ENCRYPT_DECRYPT'
    const description = fields.string('Description', 'description')
    const tags = new Map(tagsIn(fields))
    fields.end()
    if (!/^(?:ENCRYPT_DECRYPT|EncryptDecrypt)$/.test(usage))
      throw new JsonError('field KeyUsage is not ENCRYPT_DECRYPT, the only usage that there is')
    tags.delete(NAME_TAG)
    const id = checkedKeyId(call)
    const key = await call.running.keys.create(id, call.caller, call, { description, tags })
    return done('key created successfully', id, key)
  },
})

const describeKey = kmsRoute({
  operation: 'key:describe',
  method: 'GET',
  path: '/kms/keys/',
  right: { key: 'describe' },
  keyId: ({ param }) => param,
  refusal: { key_metadata: null, impact: null },
  failure: 'failed to describe key',
  handle: describe,
})

/** As MinIO's clients ask. */
const describeByQuery = kmsRoute({
  ...describeKey,
  path: '/kms/describe-key',
  aliases: ['/kms/key/status'],
  keyId: queryKeyId,
})

async function describe(call: KmsCall): Promise<Reply> {
  const impact = call.query('impact') ?? 'false'
  if (impact !== 'true' && impact !== 'false')
    throw badRequest("invalid value for 'impact': expected 'true' or 'false'")
  const id = checkedKeyId(call)
  const { running } = call
  const key = await running.keys.get(id, call)
  return answer({
    success: true,
    message: 'Key described successfully',
    key_metadata: metadataOf(id, key),
    impact: impact === 'true' ? impactOf(id, running) : null,
  })
}

type Change = (call: KmsCall, id: string) => Promise<Key>

/** A change of a key that needs nothing but its name. */
function change(
  verb: 'enable' | 'disable' | 'rotate' | 'restore',
  path: KmsRoute['path'],
  failure: string,
  message: string,
  make: Change,
): KmsRoute {
  return kmsRoute({
    operation: `key:${verb}`,
    method: 'POST',
    path,
    right: { key: verb },
    keyId: keyIdOf,
    refusal: { key_id: '', key_metadata: null },
    failure,
    async handle(call) {
      call.fields.end()
      const id = checkedKeyId(call)
      return done(message, id, await make(call, id))
    },
  })
}

const changes = [
  change(
    'enable',
    '/kms/keys/enable',
    'failed to enable key',
    'key enabled successfully',
    (call, id) => call.running.keys.enable(id, call.caller, call),
  ),
  change(
    'disable',
    '/kms/keys/disable',
    'failed to disable key',
    'key disabled successfully',
    (call, id) => call.running.keys.disable(id, call.caller, {}, call),
  ),
  change(
    'rotate',
    '/kms/keys/rotate',
    'failed to rotate key',
    'key rotated successfully',
    (call, id) => call.running.keys.rotate(id, call.caller, call),
  ),
  change(
    'restore',
    '/kms/keys/cancel-deletion',
    'failed to cancel key deletion',
    'key deletion cancelled successfully',
    (call, id) => call.running.keys.restore(id, call.caller, call),
  ),
]

/** A change of what is said of a key. @param read takes its fields off the body */
function edit(
  path: KmsRoute['path'],
  failure: string,
  message: string,
  read: (fields: StrictFields) => Parameters<KmsCall['running']['keys']['edit']>[2],
): KmsRoute {
  return kmsRoute({
    operation: 'key:edit',
    method: 'POST',
    path,
    right: { key: 'edit' },
    keyId: bodyKeyId,
    refusal: { key_id: '', key_metadata: null },
    failure,
    async handle(call) {
      const said = read(call.fields)
      call.fields.end()
      const id = checkedKeyId(call)
      return done(message, id, await call.running.keys.edit(id, call.caller, said, call))
    },
  })
}

const edits = [
  edit(
    '/kms/keys/update-description',
    'failed to update key description',
    'key description updated',
    (fields) => ({ description: required(fields.string('description'), 'description') }),
  ),
  edit('/kms/keys/tag', 'failed to tag key', 'key tags updated', (fields) => ({
    tags: notTheName(required(fields.texts('tags'), 'tags')),
  })),
  edit('/kms/keys/untag', 'failed to untag key', 'key tags removed', (fields) => ({
    tags: notTheName(
      new Map(required(fields.strings('tag_keys'), 'tag_keys').map((name) => [name, null])),
    ),
  })),
]

function notTheName<T>(tags: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  if (!tags.has(NAME_TAG)) return tags
  throw badRequest("Tag 'name' identifies the key and cannot be updated or removed")
}

function done(message: string, id: string, key: Key): Reply {
  return answer({ success: true, message, key_id: id, key_metadata: metadataOf(id, key) })
}

export const KEY_ROUTES: readonly KmsRoute[] = [
  createKey,
  describeKey,
  describeByQuery,
  ...changes,
  ...edits,
]
