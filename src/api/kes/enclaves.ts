/** Calls that make and delete enclaves: the server's admin's, and nobody else's (kes-dialects.md, "Enclaves"). */

import { parseIdentity } from '../../crypto/identity.ts'
import { KesError } from '../../errors.ts'
import { Body } from '../body.ts'
import { EMPTY, MIB, type Route, route } from '../route.ts'

/** `{"admin"?}`: without it, the caller is its admin. */
const createEnclave = route({
  operation: 'enclave:create',
  method: 'PUT',
  path: '/v1/enclave/create/',
  access: 'admin',
  maxBody: MIB,
  async handle(call) {
    const text = call.body.length === 0 ? undefined : new Body(call.body).optionalString('admin')
    const admin = text === undefined ? call.caller : parseIdentity(text)
    if (admin === undefined) {
      const message = 'the admin of an enclave must be 64 lower-case hex digits'
      throw new KesError('BAD_ASSIGNMENT', { message })
    }
    if (call.services.access.isProxy(admin))
      throw new KesError('BAD_ASSIGNMENT', { message: 'a TLS proxy cannot be an admin' })
    await call.services.enclaves.create(call.param, admin, call)
    return EMPTY
  },
})

const deleteEnclave = route({
  operation: 'enclave:delete',
  method: 'DELETE',
  post: true,
  path: '/v1/enclave/delete/',
  access: 'admin',
  async handle(call) {
    const { enclaves, deletionWindow } = call.services
    await enclaves.delete(call.param, deletionWindow, call)
    return EMPTY
  },
})

export const ENCLAVE_ROUTES: readonly Route[] = [createEnclave, deleteEnclave]
