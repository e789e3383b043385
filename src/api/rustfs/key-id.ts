/** Which key a request names, and whether it can be one's name. */

import { KesError } from '../../errors.ts'
import { isName } from '../../names.ts'
import { badRequest, type KeyIdSource, type KmsCall, required } from './route.ts'

/** Of the body's `key_id`; without a body of the query's `keyId`. @throws JsonError, KesError BAD_REQUEST */
export function keyIdOf(request: KeyIdSource): string {
  return request.hasBody ? bodyKeyId(request) : (request.query('keyId') ?? missing())
}

/** Of the body, which must be there. @throws JsonError, KesError BAD_REQUEST */
export function bodyKeyId({ hasBody, fields }: KeyIdSource): string {
  if (!hasBody) throw badRequest('a request body is required')
  return required(fields.string('key_id'), 'key_id')
}

/** Of the query, in one of the spellings of MinIO's clients. @throws KesError BAD_REQUEST */
export function queryKeyId({ query }: KeyIdSource): string {
  const spellings = ['keyId', 'key-id', 'key']
  return (
    spellings.map((name) => query(name)).find((id) => id !== undefined && id !== '') ?? missing()
  )
}

function missing(): never {
  throw badRequest("missing required parameter: 'keyId'")
}

/** What a call is about; with every backend the names of KES. @throws KesError BAD_NAME, BAD_REQUEST */
export function checkedKeyId({ keyId: id, query }: Pick<KmsCall, 'keyId' | 'query'>): string {
  const asked = query('keyId') ?? ''
  // Two programs could read it in two ways.
  if (asked !== '' && asked !== id) throw badRequest('the body and the query name two keys')
  if (isName(id)) return id
  throw new KesError('BAD_NAME', {
    message: 'invalid key id: 1 to 80 of 0-9 A-Z a-z _ - are expected, no - first or last',
  })
}
