import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import { SeenSignatures } from '#src/auth/seen-signatures.js'
import { Signers } from '#src/auth/signers.js'
import { Secret } from '#src/fields.js'
import { APP, OPS, type Request, sign, type SignOptions } from '../support/rustfs.ts'

const SIGNERS = new Signers([
  { accessKey: OPS.accessKey, secret: new Secret(OPS.secret), policy: 'admin' },
  { accessKey: APP.accessKey, secret: new Secret(APP.secret), policy: 'app' },
])
const NOW = Date.UTC(2026, 0, 2, 12)
const POST: Request = { method: 'POST', target: '/x', body: '{"a":1}' }

interface Change {
  readonly request?: Request
  readonly isPrivate?: boolean
  readonly key?: { readonly accessKey: string; readonly secret: string }
  readonly now?: number
  /** What came of a header, instead of what was signed. */
  readonly received?: Readonly<Record<string, readonly string[]>>
  readonly body?: string
}

/** Signs a request, and has it looked at as it then is. */
function attempt(options: SignOptions = {}, change: Change = {}) {
  const { request = POST, isPrivate = false, key = OPS, now = NOW, received = {} } = change
  const { headers } = sign(request, key, { at: NOW, ...options })
  const claim = SIGNERS.identify(
    {
      ...request,
      isPrivate,
      headerValues: (name) => {
        const value = headers[name]
        return received[name] ?? (value === undefined ? [] : [value])
      },
    },
    now,
  )
  claim.checkBody(Buffer.from(change.body ?? String(request.body ?? '')))
  return claim
}

test('a signed request is its access key’s', () => {
  const { signer, signedAt } = attempt()
  assert.deepEqual(signer, { identity: 'rustfs:ops', policy: 'admin' })
  assert.equal(signedAt, NOW)
  assert.deepEqual(attempt({}, { key: APP }).signer, { identity: 'rustfs:app', policy: 'app' })
})

test('any region and the services s3, sts and execute-api may be signed for', () => {
  for (const service of ['s3', 'sts', 'execute-api']) attempt({ service, region: 'eu-west-9' })
})

test('services other than S3 need not name the digest of the body, and the body is signed all the same', () => {
  attempt({ service: 'sts', payload: null })
  assert.throws(() => attempt({ service: 'sts', payload: null }, { body: '{"a":2}' }), {
    code: 'NOT_SIGNED',
  })
})

test('an unsigned body is taken over TLS only, and is told apart', () => {
  const options = { payload: 'UNSIGNED-PAYLOAD' }
  const { isBodyUnsigned } = attempt(options, { isPrivate: true, body: 'anything' })
  assert.deepEqual([isBodyUnsigned, attempt().isBodyUnsigned], [true, false])
  assert.throws(() => attempt(options), { code: 'BAD_REQUEST' })
})

const UNKNOWN = /the access key is unknown, or the signature is not right/

const REFUSALS: readonly [what: string, code: string, message: RegExp, SignOptions, Change?][] = [
  ['of nobody', 'NOT_SIGNED', /authentication required/, {}, { received: { authorization: [] } }],
  [
    'signed by version 2',
    'NOT_SIGNED',
    /AWS4-HMAC-SHA256/,
    {},
    { received: { authorization: ['AWS ops:x'] } },
  ],
  [
    'with two Authorization headers',
    'BAD_REQUEST',
    /malformed/,
    {},
    { received: { authorization: ['AWS4-HMAC-SHA256 a', 'AWS4-HMAC-SHA256 a'] } },
  ],
  [
    'with a damaged Authorization header',
    'BAD_REQUEST',
    /malformed/,
    {},
    { received: { authorization: ['AWS4-HMAC-SHA256 Credential=ops'] } },
  ],
  [
    'of an unknown access key',
    'NOT_SIGNED',
    UNKNOWN,
    {},
    { key: { accessKey: 'who', secret: OPS.secret } },
  ],
  [
    'with another secret',
    'NOT_SIGNED',
    UNKNOWN,
    {},
    { key: { accessKey: 'ops', secret: APP.secret } },
  ],
  ['for another service', 'NOT_SIGNED', /service ec2/, { service: 'ec2' }],
  ['of another day than its scope', 'NOT_SIGNED', /another day/, { date: '20260101' }],
  ['16 minutes old', 'NOT_SIGNED', /skewed/, {}, { now: NOW + 960_000 }],
  ['16 minutes ahead', 'NOT_SIGNED', /skewed/, {}, { now: NOW - 960_000 }],
  [
    'without a date',
    'BAD_REQUEST',
    /x-amz-date is missing/,
    {},
    { received: { 'x-amz-date': [] } },
  ],
  [
    'with a date that is none',
    'BAD_REQUEST',
    /x-amz-date/,
    {},
    { received: { 'x-amz-date': ['20260231T000000Z'] } },
  ],
  [
    'with two dates',
    'BAD_REQUEST',
    /more than once/,
    {},
    { received: { 'x-amz-date': ['20260102T120000Z', '20260102T120000Z'] } },
  ],
  ['without a digest', 'BAD_REQUEST', /x-amz-content-sha256 is missing/, { payload: null }],
  ['with a digest that is none', 'BAD_REQUEST', /not a SHA-256/, { payload: 'abc' }],
  ['with the digest of another body', 'BAD_REQUEST', /not the one/, {}, { body: '{"a":2}' }],
  [
    'signed in chunks',
    'NOT_IMPLEMENTED',
    /streaming/,
    { payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
  ],
  [
    'whose host is not signed',
    'NOT_SIGNED',
    /host must be signed/,
    { signed: ['x-amz-content-sha256', 'x-amz-date'] },
  ],
  [
    'whose date is not signed',
    'NOT_SIGNED',
    /x-amz-date must be signed/,
    { signed: ['host', 'x-amz-content-sha256'] },
  ],
  [
    'whose digest is not signed',
    'NOT_SIGNED',
    /x-amz-content-sha256 must be signed/,
    { signed: ['host', 'x-amz-date'] },
  ],
  [
    'that lacks a signed header',
    'NOT_SIGNED',
    /missing/,
    { headers: { 'x-amz-meta': '1' } },
    { received: { 'x-amz-meta': [] } },
  ],
  [
    'with another value of a signed header',
    'NOT_SIGNED',
    UNKNOWN,
    { headers: { 'x-amz-meta': '1' } },
    { received: { 'x-amz-meta': ['2'] } },
  ],
  [
    'with a session token',
    'NOT_SIGNED',
    /session tokens/,
    {},
    { received: { 'x-amz-security-token': ['t'] } },
  ],
  [
    'signed in its address',
    'NOT_SIGNED',
    /presigned/,
    {},
    { request: { method: 'GET', target: '/x?X-Amz-Signature=00' } },
  ],
]

for (const [what, code, message, options, change] of REFUSALS) {
  test(`a request ${what} is refused`, () => {
    assert.throws(
      () => attempt(options, change),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, code)
        assert.match(error.message, message)
        assert.doesNotMatch(error.message, /secret|[0-9a-f]{64}/)
        return true
      },
    )
  })
}

test('14 minutes of difference between two clocks are no fault', () => {
  attempt({}, { now: NOW + 840_000 })
  attempt({}, { now: NOW - 840_000 })
})

test('a signature may come again while its second lasts, and not later', () => {
  const seen = new SeenSignatures()
  const one = { signature: 'a', signedAt: NOW }
  seen.check(one, NOW)
  seen.check(one, NOW + 2900)
  assert.throws(() => seen.check(one, NOW + 3001), { code: 'NOT_SIGNED' })
  assert.throws(() => seen.check(one, NOW + 899_000), { code: 'NOT_SIGNED' })
  seen.check({ signature: 'b', signedAt: NOW }, NOW + 899_000)
})

test('a signature from a clock that is ahead may not come again for longer', () => {
  const seen = new SeenSignatures()
  const ahead = { signature: 'a', signedAt: NOW + 600_000 }
  seen.check(ahead, NOW)
  assert.throws(() => seen.check(ahead, NOW + 4000), { code: 'NOT_SIGNED' })
})

test('when there are too many signatures the oldest are refused, none is forgotten and taken again', () => {
  const seen = new SeenSignatures(100)
  const signed = (index: number) => ({ signature: `s${index}`, signedAt: NOW + index * 1000 })
  for (let index = 0; index < 500; index++) seen.check(signed(index), NOW + index * 1000)
  for (let index = 0; index < 490; index++)
    assert.throws(() => seen.check(signed(index), NOW + 500_000), { code: 'NOT_SIGNED' })
})

test('a digest is compared with the body that came, whatever its length', () => {
  for (const body of ['', 'x', 'x'.repeat(100_000)]) {
    const digest = createHash('sha256').update(body).digest('hex')
    attempt({}, { request: { method: 'POST', target: '/x', body } })
    attempt({ payload: digest.toUpperCase() }, { request: { ...POST, body } })
  }
})
