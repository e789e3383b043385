/** Listing keys, with what is said of each (rustfs-kms-admin.md, 7.3). */

import { setMaxListeners } from 'node:events'

import { isCode, KesError } from '../../errors.ts'
import { DamagedKeyError } from '../../keys/codec.ts'
import type { Key } from '../../keys/key.ts'
import { isName } from '../../names.ts'
import { listItemOf, STATUSES } from './metadata.ts'
import { answer, badRequest, type KmsCall, kmsRoute } from './route.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1000
/** Keys that are read at the same time. */
const AT_ONCE = 32
const USAGES = ['EncryptDecrypt', 'SignVerify'] as const
/** A deleted key is in no listing; asking for some is no mistake. */
const KNOWN_STATUSES = [...Object.values(STATUSES), 'Deleted']

export const listKeys = kmsRoute({
  operation: 'key:list',
  method: 'GET',
  path: '/kms/keys',
  aliases: ['/kms/list-keys'],
  right: { key: 'list' },
  failure: 'failed to list keys',
  // It reads every key of the page.
  timeout: 60_000,
  async handle(call) {
    const limit = limitOf(call)
    const from = markerOf(call)
    const status = choiceOf(call, 'status', KNOWN_STATUSES)
    const usage = choiceOf(call, 'usage', USAGES)
    const { names, isTruncated } = await page(call, from, limit)
    const { found, unreadable } = await read(call, names)
    const isWhole = from === '' && !isTruncated
    if (isWhole && found.size === 0 && unreadable.length > 0)
      throw new KesError('BACKEND_FAILED', { message: 'no key can be read' })
    const keys = [...found]
      .filter(([, key]) => status === undefined || STATUSES[key.state] === status)
      .map(([id, key]) => listItemOf(id, key))
    return answer({
      success: true,
      message: 'keys listed successfully',
      keys: usage === 'SignVerify' ? [] : keys,
      truncated: isTruncated,
      next_marker: isTruncated ? names.at(-1) : null,
      ...(unreadable.length > 0 && { unreadable_key_ids: unreadable }),
    })
  },
})

function limitOf({ query }: KmsCall): number {
  const raw = query('limit') ?? String(DEFAULT_LIMIT)
  if (!/^\d{1,19}$/.test(raw))
    throw badRequest(`invalid limit '${raw.slice(0, 32)}': expected a non-negative integer`)
  return Math.min(Number(raw), MAX_LIMIT)
}

/** Keys behind this one. */
function markerOf({ query }: KmsCall): string {
  const marker = query('marker') ?? ''
  if (marker !== '' && !isName(marker))
    throw badRequest('invalid marker: take the last next_marker')
  return marker
}

function choiceOf<T extends string>(
  { query }: KmsCall,
  name: string,
  choices: readonly T[],
): T | undefined {
  const asked = query(name)
  if (asked === undefined) return undefined
  const fold = (text: string): string => text.toLowerCase().replace(/[_-]/g, '')
  const chosen = choices.find((choice) => fold(choice) === fold(asked))
  if (chosen !== undefined) return chosen
  throw badRequest(
    `invalid value for '${name}': expected one of ${choices.join(', ')}, got '${asked.slice(0, 32)}'`,
  )
}

interface Names {
  readonly names: readonly string[]
  /** There are more. */
  readonly isTruncated: boolean
}

async function page(call: KmsCall, marker: string, limit: number): Promise<Names> {
  const { keys } = call.running
  if (limit === 0) return { names: [], isTruncated: false }
  // The first name that can follow it: no character of a name sorts before the hyphen.
  const from = marker === '' ? '' : `${marker}-`
  const { names, next } = await keys.list({ prefix: '', from }, call)
  return { names: names.slice(0, limit), isTruncated: names.length > limit || next !== undefined }
}

/** Keys that were deleted meanwhile are left out. */
async function read(call: KmsCall, names: readonly string[]) {
  const { keys } = call.running
  const found = new Map<string, Key>()
  const unreadable: string[] = []
  // Each of them listens to the signal, more than once.
  setMaxListeners(4 * AT_ONCE, call.signal)
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const some = names.slice(at, at + AT_ONCE)
    const read = await Promise.allSettled(some.map(async (id) => keys.peek(id, call)))
    for (const [index, outcome] of read.entries()) {
      const id = some[index] ?? ''
      if (outcome.status === 'fulfilled') found.set(id, outcome.value)
      else if (isDamage(outcome.reason)) unreadable.push(id)
      else if (!isCode(outcome.reason, 'KEY_NOT_FOUND')) throw outcome.reason
    }
  }
  return { found, unreadable }
}

function isDamage(thrown: unknown): boolean {
  return thrown instanceof KesError && thrown.cause instanceof DamagedKeyError
}
