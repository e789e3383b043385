/** The KES API's calls on the life of a key, which the Go server does not have (key-lifecycle.md). */

import { base64Length } from '../../base64-bytes.ts'
import { versionOf } from '../../crypto/header.ts'
import { KesError } from '../../errors.ts'
import { Body } from '../body.ts'
import { base64Body, jsonBody, MIB, type Route, route } from '../route.ts'
import { describe, keyName, withKey } from './keys.ts'

const rotateKey = route({
  operation: 'key:rotate',
  method: 'PUT',
  path: '/v1/key/rotate/',
  access: 'permitted',
  administrative: true,
  async handle(call) {
    const name = keyName(call)
    return describe(name, await call.realm.keys.rotate(name, call.caller, call))
  },
})

const MAX_REWRAP = 2 * MIB

/** Seal what a ciphertext holds under the newest version; nobody sees it. `{"ciphertext","context"?}` */
const rewrapKey = route({
  operation: 'key:rewrap',
  method: 'PUT',
  path: '/v1/key/rewrap/',
  access: 'permitted',
  twins: (name) => [`/v1/key/decrypt/${name}`, `/v1/key/encrypt/${name}`],
  maxBody: MAX_REWRAP,
  handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const old = body.bytes('ciphertext')
    const context = body.bytes('context')
    return withKey(call, name, versionOf(old), (key) => {
      const ciphertext = key.rewrap(old, context)
      checkSize(ciphertext, context)
      return jsonBody(base64Body('ciphertext', ciphertext, `,"version":${key.version}`))
    })
  },
})

/** What is sealed must fit into a request to open it. */
function checkSize(ciphertext: Buffer, context: Buffer): void {
  const envelope = '{"ciphertext":"","context":""}'.length
  const size = envelope + base64Length(ciphertext.length) + base64Length(context.length)
  if (size <= MAX_REWRAP) return
  throw new KesError('TOO_LARGE', {
    message: `request body is too large: the limit is ${MAX_REWRAP} bytes`,
  })
}

/** `{"deny_decrypt"?}`, or nothing at all */
const disableKey = route({
  operation: 'key:disable',
  method: 'PUT',
  path: '/v1/key/disable/',
  access: 'permitted',
  administrative: true,
  maxBody: MIB,
  async handle(call) {
    const name = keyName(call)
    const denyDecrypt =
      call.body.length === 0 ? undefined : new Body(call.body).optionalBoolean('deny_decrypt')
    const { keys } = call.realm
    return describe(name, await keys.disable(name, call.caller, { denyDecrypt }, call))
  },
})

const enableKey = route({
  operation: 'key:enable',
  method: 'PUT',
  path: '/v1/key/enable/',
  access: 'permitted',
  administrative: true,
  async handle(call) {
    const name = keyName(call)
    return describe(name, await call.realm.keys.enable(name, call.caller, call))
  },
})

/** `{"description"?: string | null, "tags"?: {name: value | null}}` */
const editKey = route({
  operation: 'key:edit',
  method: 'PUT',
  path: '/v1/key/edit/',
  access: 'permitted',
  administrative: true,
  maxBody: MIB,
  async handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const edit = { description: body.change('description'), tags: body.changes('tags') }
    return describe(name, await call.realm.keys.edit(name, call.caller, edit, call))
  },
})

/** Cancel a scheduled deletion. */
const restoreKey = route({
  operation: 'key:restore',
  method: 'PUT',
  path: '/v1/key/restore/',
  access: 'permitted',
  administrative: true,
  async handle(call) {
    const name = keyName(call)
    return describe(name, await call.realm.keys.restore(name, call.caller, call))
  },
})

export const KEY_LIFE_ROUTES: readonly Route[] = [
  rotateKey,
  rewrapKey,
  disableKey,
  enableKey,
  editKey,
  restoreKey,
]
