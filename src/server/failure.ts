/** What went wrong, as the log and a client of KES's own API are told; the other door has its own words (api/rustfs/refusal.ts). */

import { JSON_TYPE, type Reply } from '../api/route.ts'
import { KesError } from '../errors.ts'
import { quote } from '../json.ts'

/** What the log says: the client's message, and what only the operator may know. */
export function describe(error: KesError): string {
  const { cause } = error
  if (cause === undefined) return error.logged
  if (!(cause instanceof Error)) return `${error.logged}: ${JSON.stringify(cause)}`
  // Only the stack tells where an unexpected error comes from.
  return `${error.logged}: ${(error.code === 'INTERNAL' && cause.stack) || cause.message}`
}

/** What the client is told. */
export function failure(error: KesError): Reply {
  if (error.code === 'NO_ROUTE') {
    const headers = { 'x-content-type-options': 'nosniff' }
    return { status: 404, type: 'text/plain; charset=utf-8', body: `${error.message}\n`, headers }
  }
  let fields = `{"message":${quote(error.message)}`
  for (const [name, value] of Object.entries(error.detail ?? {})) {
    fields += `,"${name}":${value === null ? 'null' : quote(value)}`
  }
  // The line feed stands where the Go server has it, before the brace.
  const reply: Reply = { status: error.status, type: JSON_TYPE, body: `${fields}\n}` }
  return error.headers === undefined ? reply : { ...reply, headers: error.headers }
}

/** Nothing was done, and a second later it may be. */
export const OVERLOAD = new KesError('OVERLOADED', { headers: { 'retry-after': '1' } })

/** One for all: a head that is always the same object is prepared once. */
export const OVERLOADED = failure(OVERLOAD)
