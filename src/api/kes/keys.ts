/** The KES API's calls on keys. */

import { versionOf } from '../../crypto/header.ts'
import { KesError } from '../../errors.ts'
import { stringify } from '../../json.ts'
import { cipherNamed } from '../../keys/codec.ts'
import { type KeyVersion, SECRET_SIZE } from '../../keys/key-version.ts'
import type { Key } from '../../keys/key.ts'
import { checkName, continueAt, firstPage, parseListing } from '../../names.ts'
import { rfc3339 } from '../../time.ts'
import { Body } from '../body.ts'
import {
  base64Body,
  type Call,
  EMPTY,
  json,
  JSON_TYPE,
  jsonBody,
  LARGE,
  largeBase64Body,
  MIB,
  type Reply,
  type Route,
  route,
} from '../route.ts'

const MAX_BULK = 1000
const NO_BYTES = Buffer.alloc(0)
const SECRET_HEADERS = { 'cache-control': 'no-store' }

const createKey = route({
  operation: 'key:create',
  method: 'PUT',
  path: '/v1/key/create/',
  access: 'permitted',
  async handle(call) {
    await call.realm.keys.create(keyName(call), call.caller, call)
    return EMPTY
  },
})

/** `{"key"|"bytes", "cipher"?, "hmac_key"?}` */
const importKey = route({
  operation: 'key:import',
  method: 'PUT',
  path: '/v1/key/import/',
  access: 'permitted',
  maxBody: MIB,
  async handle(call) {
    const name = keyName(call)
    const body = new Body(call.body, 'invalid import key request body')
    const spelling = body.optionalString('cipher') ?? 'AES256'
    const secret = body.optionalBytes('key') ?? body.bytes('bytes')
    const hmacKey = body.optionalBytes('hmac_key')
    const cipher = cipherNamed(spelling)
    if (cipher === undefined) {
      // The key itself may stand there by mistake.
      refuseImport(`algorithm '${spelling}' is not supported`, 'algorithm is not supported')
    }
    if (secret.length !== SECRET_SIZE) refuseImport(`invalid key size for '${cipher}'`)
    if (hmacKey !== undefined && hmacKey.length !== SECRET_SIZE) {
      refuseImport(`invalid HMAC key size for '${cipher}'`)
    }
    await call.realm.keys.import(name, { cipher, secret, hmacKey }, call.caller, call)
    return EMPTY
  },
})

function refuseImport(message: string, logged = message): never {
  throw new KesError('BAD_CIPHER', { message, logged })
}

const describeKey = route({
  operation: 'key:describe',
  method: 'GET',
  path: '/v1/key/describe/',
  access: 'permitted',
  async handle(call) {
    const name = keyName(call)
    return describe(name, await call.realm.keys.get(name, call))
  },
})

/** What the Go server says of a key, and what it does not know, of a key that has any of it. */
export function describe(name: string, key: Key): Reply {
  const { state, denyDecrypt, deletionDate, description, tags } = key
  const origin = ({ createdAt, createdBy }: Key | KeyVersion): object => ({
    created_at: rfc3339(createdAt),
    created_by: createdBy || undefined,
  })
  const more = !key.isPlain && {
    state,
    deny_decrypt: denyDecrypt || undefined,
    version: key.version,
    versions: key.versions.map((version) => ({ version: version.version, ...origin(version) })),
    deletion_date: deletionDate && rfc3339(deletionDate),
    description: description || undefined,
    tags: tags.size > 0 ? Object.fromEntries(tags) : undefined,
  }
  return json(stringify({ name, algorithm: key.cipher, ...origin(key), ...more }))
}

/** At once, or with `?days=` (or where the config says so) later: it can be cancelled until then. */
const deleteKey = route({
  operation: 'key:delete',
  method: 'DELETE',
  path: '/v1/key/delete/',
  access: 'permitted',
  async handle(call) {
    const { keys } = call.realm
    const name = keyName(call)
    const asked = call.query('days')
    const days = asked.length === 0 ? call.services.deletionWindow : wholeNumber(asked)
    if (days !== 0 || asked.length > 0)
      return describe(name, await keys.schedule(name, call.caller, days, call))
    await keys.delete(name, call)
    return EMPTY
  },
})

/** NaN for anything but one. */
function wholeNumber([text = '', ...more]: readonly string[]): number {
  return more.length === 0 && /^\d{1,9}$/.test(text) ? Number(text) : NaN
}

const listKeys = route({
  operation: 'key:list',
  method: 'GET',
  path: '/v1/key/list/',
  // The SDK drops the slash of a listing without prefix.
  aliases: ['/v1/key/list'],
  access: 'permitted',
  judged: firstPage,
  async handle(call) {
    const listing = parseListing(call.param)
    const page = await call.realm.keys.list(listing, call)
    // Unlike the other listings, this one leaves an empty continue_at out, as the Go server does.
    return json(
      stringify({ names: page.names, continue_at: continueAt(listing, page) || undefined }),
    )
  },
})

/** A new data key, in the clear and sealed under the named key. */
const generateKey = route({
  operation: 'key:generate',
  method: 'PUT',
  path: '/v1/key/generate/',
  access: 'permitted',
  maxBody: MIB,
  handle(call) {
    const name = keyName(call)
    const context = call.hasNoBody ? NO_BYTES : new Body(call.body).bytes('context')
    return withKey(call, name, 1, (key) => {
      const { plaintext, ciphertext } = key.dataKey(context)
      const reply = secretJson(
        `{"plaintext":"${plaintext.toString('base64')}","ciphertext":"${ciphertext.toString('base64')}"}\n`,
      )
      plaintext.fill(0)
      return reply
    })
  },
})

/** Seal a small plaintext under the named key. */
const encryptKey = route({
  operation: 'key:encrypt',
  method: 'PUT',
  path: '/v1/key/encrypt/',
  access: 'permitted',
  maxBody: MIB,
  handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const plaintext = body.bytes('plaintext')
    const context = body.bytes('context')
    return withKey(call, name, 1, (key) => {
      if (plaintext.length < LARGE)
        return jsonBody(base64Body('ciphertext', key.encrypt(plaintext, context)))
      const { length, parts } = key.encryptInParts(plaintext, context)
      return jsonBody(largeBase64Body('ciphertext', length, parts))
    })
  },
})

/**
 * Open a ciphertext. Its limit is twice that of the others: whatever could be sealed can be sent back to be
 * opened, in base64 and with the same context.
 */
const decryptKey = route({
  operation: 'key:decrypt',
  method: 'PUT',
  path: '/v1/key/decrypt/',
  access: 'permitted',
  maxBody: 2 * MIB,
  handle(call) {
    const name = keyName(call)
    const list = Body.list(call.body)
    if (list !== undefined) {
      // As v0.18's sample posts it. A denial of bulk decryption holds in this spelling, too.
      call.realm.access.checkDenials(call.caller, bulkDecryptKey.path + name)
      return bulkDecrypt(call, name, list)
    }
    const body = new Body(call.body)
    const ciphertext = body.bytes('ciphertext')
    const context = body.bytes('context')
    const version = versionOf(ciphertext)
    return withKey(call, name, version, (key) => {
      const plaintext = key.decrypt(ciphertext, context)
      const reply = secretJson(base64Body('plaintext', plaintext))
      plaintext.fill(0)
      return reply
    })
  },
})

/** Open up to 1,000 ciphertexts, in order: all or none. `[{"ciphertext","context"?}]` → `[{"plaintext"}]` */
const bulkDecryptKey = route({
  operation: 'key:bulk-decrypt',
  method: 'PUT',
  path: '/v1/key/bulk/decrypt/',
  access: 'permitted',
  twins: (name) => [decryptKey.path + name],
  maxBody: 2 * MIB,
  handle: (call) => bulkDecrypt(call, keyName(call), Body.list(call.body)),
})

function bulkDecrypt(
  call: Call,
  name: string,
  list: readonly Body[] | undefined,
): Reply | Promise<Reply> {
  if (list === undefined) throw new KesError('BAD_BODY')
  if (list.length > MAX_BULK) {
    throw new KesError('TOO_LARGE', {
      message: `request body is too large: the limit is ${MAX_BULK} ciphertexts`,
    })
  }
  const sealed = list.map((entry) => [entry.bytes('ciphertext'), entry.bytes('context')] as const)
  const newest = sealed.reduce((most, [ciphertext]) => Math.max(most, versionOf(ciphertext)), 1)
  return withKey(call, name, newest, (key) => {
    const opened = sealed.map(([ciphertext, context]) => {
      const plaintext = key.decrypt(ciphertext, context)
      const item = `{"plaintext":"${plaintext.toString('base64')}"}`
      plaintext.fill(0)
      return item
    })
    return secretJson(`[${opened.join(',')}]\n`)
  })
}

/** `{"message","version"?}`; of version 1 unless asked otherwise: a rotation does not change it. */
const hmacKey = route({
  operation: 'key:hmac',
  method: 'PUT',
  path: '/v1/key/hmac/',
  access: 'permitted',
  maxBody: MIB,
  handle(call) {
    const name = keyName(call)
    const body = new Body(call.body)
    const message = body.bytes('message')
    const version = body.optionalInteger('version')
    return withKey(call, name, version ?? 1, (key) =>
      secretJson(base64Body('hmac', key.hmac(message, version))),
    )
  },
})

export const KEY_ROUTES: readonly Route[] = [
  createKey,
  importKey,
  describeKey,
  deleteKey,
  listKeys,
  generateKey,
  encryptKey,
  decryptKey,
  bulkDecryptKey,
  hmacKey,
]

export function keyName(call: Call): string {
  return checkName(call.param, 'key name')
}

/** Answers at once when the key is cached. @param version that it is to know, if it has it */
export function withKey(
  call: Call,
  name: string,
  version: number,
  use: (key: Key) => Reply,
): Reply | Promise<Reply> {
  const key = call.realm.keys.get(name, call, version)
  return key instanceof Promise ? key.then(use) : use(key)
}

/** An answer that holds a secret: nothing between us and the caller may keep it. */
function secretJson(body: string | Buffer): Reply {
  return { status: 200, type: JSON_TYPE, body, headers: SECRET_HEADERS }
}
