/** Deleting keys (rustfs-kms-admin.md, 7.5): scheduled with a way back, or at once where the operator allows it. */

import { KesError } from '../../errors.ts'
import { MAX_DAYS, MIN_DAYS } from '../../keys/snapshot.ts'
import type { Reply } from '../route.ts'
import { checkedKeyId, keyIdOf } from './key-id.ts'
import { impactOf, metadataOf, tombstoneOf } from './metadata.ts'
import { answer, badRequest, type KmsCall, kmsRoute } from './route.ts'

/** Set by the operator, never over the API. */
const ALLOW_IMMEDIATE = 'RUSTFS_KMS_ALLOW_IMMEDIATE_DELETION'

interface Wish {
  readonly days: number
  readonly isImmediate: boolean
  readonly confirmed: string | null | undefined
}

export const deleteKey = kmsRoute({
  operation: 'key:delete',
  method: 'DELETE',
  path: '/kms/keys/delete',
  right: { key: 'delete' },
  keyId: keyIdOf,
  refusal: { key_id: '', key_metadata: null, deletion_date: null, impact: null },
  failure: 'failed to delete key',
  async handle(call) {
    const wish = call.hasBody ? wishInBody(call) : wishInQuery(call)
    const { days, isImmediate } = wish
    if (days < MIN_DAYS || days > MAX_DAYS)
      throw badRequest(`pending_window_in_days must be between ${MIN_DAYS} and ${MAX_DAYS}`)
    const id = checkedKeyId(call)
    if (isImmediate) return destroy(call, id, wish)
    const { running } = call
    const key = await running.keys.schedule(id, call.caller, days, call)
    return deleted(call, id, metadataOf(id, key))
  },
})

function wishInBody({ fields }: KmsCall): Wish {
  const days = fields.value('pending_window_in_days') ?? MAX_DAYS
  const isImmediate = fields.boolean('force_immediate') ?? false
  const confirmed = fields.string('confirm_key_id')
  fields.end()
  if (typeof days !== 'number' || !Number.isInteger(days))
    throw badRequest('pending_window_in_days is not a whole number')
  return { days, isImmediate, confirmed }
}

function wishInQuery({ query }: KmsCall): Wish {
  if ((query('force_immediate') ?? 'false') !== 'false' || query('confirm_key_id') !== undefined) {
    throw badRequest(
      'immediate deletion is no longer accepted as a query parameter; send it as a JSON body with force_immediate and ' +
        'confirm_key_id set to the key id',
    )
  }
  const days = query('pending_window_in_days') ?? String(MAX_DAYS)
  if (!/^\d{1,4}$/.test(days)) throw badRequest('pending_window_in_days is not a whole number')
  return { days: Number(days), isImmediate: false, confirmed: undefined }
}

async function destroy(call: KmsCall, id: string, { confirmed }: Wish): Promise<Reply> {
  if (process.env[ALLOW_IMMEDIATE] !== 'true') {
    throw badRequest(
      `immediate deletion of key ${id} is not allowed; set ${ALLOW_IMMEDIATE}=true on the server, or schedule it`,
    )
  }
  if (confirmed !== id) throw badRequest('confirm_key_id must be the key id')
  const { keys, defaultKeyId } = call.running
  const key = await keys.get(id, call)
  if (id === defaultKeyId)
    throw new KesError('SERVICE_CONFLICT', {
      message: 'the key is still the default key of the configuration',
    })
  await keys.delete(id, call)
  return deleted(call, id, tombstoneOf(id, key))
}

function deleted(call: KmsCall, id: string, metadata: Readonly<Record<string, unknown>>): Reply {
  return answer({
    success: true,
    message: 'key deleted successfully',
    key_id: id,
    deletion_date: metadata['deletion_date'],
    key_metadata: metadata,
    impact: impactOf(id, call.running),
  })
}
