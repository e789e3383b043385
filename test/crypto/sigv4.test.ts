import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import {
  amzDate,
  type Authorization,
  canonicalRequests,
  parseAmzDate,
  parseAuthorization,
  type Scope,
  SigningSecret,
} from '#src/crypto/sigv4.js'
import { RUNS } from '../support/bytes.ts'
import { fuzz, mutate } from '../support/fuzz.ts'

const EMPTY = createHash('sha256').digest('hex')

interface Example {
  readonly name: string
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly payload?: string
  readonly signature: string
}

interface Suite {
  readonly secret: string
  readonly scope: Scope
  readonly time: string
  readonly host: string
  readonly examples: readonly Example[]
}

/** Of AWS's test suite for Signature Version 4. */
const GENERAL: Suite = {
  secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  scope: { date: '20150830', region: 'us-east-1', service: 'service' },
  time: '20150830T123600Z',
  host: 'example.amazonaws.com',
  examples: [
    {
      name: 'get-vanilla',
      method: 'GET',
      target: '/',
      headers: [],
      signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    },
    {
      name: 'post-vanilla',
      method: 'POST',
      target: '/',
      headers: [],
      signature: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    },
    {
      name: 'get-vanilla-query-order-key-case',
      method: 'GET',
      target: '/?Param2=value2&Param1=value1',
      headers: [],
      signature: 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    },
    {
      name: 'get-vanilla-query-order-value',
      method: 'GET',
      target: '/?Param1=value2&Param1=value1',
      headers: [],
      signature: '5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694',
    },
    {
      name: 'get-vanilla-utf8-query',
      method: 'GET',
      target: '/?%E1%88%B4=bar',
      headers: [],
      signature: '2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04',
    },
    {
      name: 'get-utf8',
      method: 'GET',
      target: '/%E1%88%B4',
      headers: [],
      signature: '8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85',
    },
    {
      name: 'get-unreserved',
      method: 'GET',
      target: '/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
      headers: [],
      signature: '07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f',
    },
    {
      name: 'get-header-value-trim',
      method: 'GET',
      target: '/',
      headers: [
        ['my-header1', ' value1 '],
        ['my-header2', ' "a   b   c" '],
      ],
      signature: 'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
    },
    {
      name: 'get-header-key-duplicate',
      method: 'GET',
      target: '/',
      headers: [
        ['my-header1', 'value2'],
        ['my-header1', 'value2'],
        ['my-header1', 'value1'],
      ],
      signature: 'c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea',
    },
    {
      name: 'post-header-value-case',
      method: 'POST',
      target: '/',
      headers: [['my-header1', 'VALUE1']],
      signature: 'cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d',
    },
    {
      name: 'post-x-www-form-urlencoded',
      method: 'POST',
      target: '/',
      headers: [['content-type', 'application/x-www-form-urlencoded']],
      payload: createHash('sha256').update('Param1=value1').digest('hex'),
      signature: 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
    },
  ],
}

/** Of the reference of the S3 API, "Authenticating Requests". */
const S3: Suite = {
  secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  scope: { date: '20130524', region: 'us-east-1', service: 's3' },
  time: '20130524T000000Z',
  host: 'examplebucket.s3.amazonaws.com',
  examples: [
    {
      name: 'GET object',
      method: 'GET',
      target: '/test.txt',
      headers: [
        ['range', 'bytes=0-9'],
        ['x-amz-content-sha256', EMPTY],
      ],
      signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    },
    {
      name: 'PUT object',
      method: 'PUT',
      target: '/test%24file.text',
      headers: [
        ['date', 'Fri, 24 May 2013 00:00:00 GMT'],
        ['x-amz-storage-class', 'REDUCED_REDUNDANCY'],
        [
          'x-amz-content-sha256',
          '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
        ],
      ],
      payload: '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      signature: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    },
    {
      name: 'GET bucket lifecycle',
      method: 'GET',
      target: '/?lifecycle',
      headers: [['x-amz-content-sha256', EMPTY]],
      signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    },
    {
      name: 'GET bucket (list objects)',
      method: 'GET',
      target: '/?max-keys=2&prefix=J',
      headers: [['x-amz-content-sha256', EMPTY]],
      signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    },
  ],
}

interface Sent {
  readonly suite: Suite
  readonly request: {
    readonly method: string
    readonly target: string
    readonly headers: readonly (readonly [string, string])[]
  }
  readonly authorization: Authorization
  readonly time: string
  readonly payload: string
}

function sent(suite: Suite, { method, target, headers, payload, signature }: Example): Sent {
  const all = [['host', suite.host] as const, ['x-amz-date', suite.time] as const, ...headers]
  const signedHeaders = [...new Set(all.map(([name]) => name))].sort()
  return {
    suite,
    request: { method, target, headers: all },
    authorization: { ...suite.scope, accessKey: 'AKIDEXAMPLE', signedHeaders, signature },
    time: suite.time,
    payload: payload ?? EMPTY,
  }
}

function isSigned({ suite, request, authorization, time, payload }: Sent, secret = suite.secret) {
  const headerValues = (name: string): string[] =>
    request.headers.filter(([other]) => other === name).map(([, value]) => value)
  return new SigningSecret(secret).signed(
    { ...request, headerValues },
    authorization,
    time,
    payload,
  )
}

const ALL = [GENERAL, S3].flatMap((suite) =>
  suite.examples.map((example) => [example.name, sent(suite, example)] as const),
)

for (const [name, example] of ALL) {
  test(`AWS's example "${name}" is signed`, () => {
    assert.equal(isSigned(example), true)
  })

  test(`AWS's example "${name}" is not signed once anything of it is another`, () => {
    const { request, authorization } = example
    const changed: readonly [what: string, Sent][] = [
      ['method', { ...example, request: { ...request, method: 'DELETE' } }],
      ['path', { ...example, request: { ...request, target: `/x${request.target}` } }],
      ['query', { ...example, request: { ...request, target: `${request.target}&x=1` } }],
      ['payload', { ...example, payload: '0'.repeat(64) }],
      ['time', { ...example, time: example.time.replace('Z', '1Z') }],
      ['date', { ...example, authorization: { ...authorization, date: '20160101' } }],
      ['region', { ...example, authorization: { ...authorization, region: 'eu-west-9' } }],
      ['service', { ...example, authorization: { ...authorization, service: 'sts' } }],
      [
        'signature',
        {
          ...example,
          authorization: {
            ...authorization,
            signature: authorization.signature.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
          },
        },
      ],
      [
        'signed headers',
        {
          ...example,
          authorization: { ...authorization, signedHeaders: authorization.signedHeaders.slice(1) },
        },
      ],
      ...request.headers.map(([header], index): [string, Sent] => [
        header,
        {
          ...example,
          request: {
            ...request,
            headers: request.headers.map((field, at) =>
              at === index ? ([header, `${field[1]}0`] as const) : field,
            ),
          },
        },
      ]),
    ]
    for (const [what, other] of changed) assert.equal(isSigned(other), false, what)
    assert.equal(isSigned(example, `${example.suite.secret}x`), false, 'secret')
  })
}

test('a path is signed as S3 writes it, encoded twice, or as it was sent', () => {
  const paths = (target: string, service: string): string[] =>
    canonicalRequests(
      { method: 'GET', target, headerValues: () => [] },
      { service, signedHeaders: [] },
      '',
    ).map((canonical) => canonical.split('\n')[1] ?? '')
  assert.deepEqual(paths('/kms/a%20b', 's3'), ['/kms/a%20b'])
  assert.deepEqual(paths('/kms/a%20b', 'execute-api'), ['/kms/a%20b', '/kms/a%2520b'])
  assert.deepEqual(paths('/kms/a:b', 's3'), ['/kms/a%3Ab', '/kms/a:b'])
  assert.deepEqual(paths('/kms/%e4', 's3'), ['/kms/%E4', '/kms/%e4'])
})

test('what is signed of a query does not depend on how it was written', () => {
  const [first] = canonicalRequests(
    { method: 'GET', target: '/?b=%7e&a=x+y&b=!&c', headerValues: () => [] },
    { service: 's3', signedHeaders: [] },
    '',
  )
  assert.equal(first?.split('\n')[2], 'a=x%20y&b=%21&b=~&c=')
})

const HEADER =
  'AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, ' +
  `Signature=${'0a'.repeat(32)}`

test('an Authorization header is read, with and without spaces', () => {
  const expected = {
    accessKey: 'AKID',
    date: '20150830',
    region: 'us-east-1',
    service: 's3',
    signedHeaders: ['host', 'x-amz-date'],
    signature: '0a'.repeat(32),
  }
  assert.deepEqual(parseAuthorization(HEADER), expected)
  assert.deepEqual(parseAuthorization(HEADER.replaceAll(', ', ',')), expected)
})

for (const [what, header] of [
  ['of version 2', 'AWS AKID:frJIUN8DYpKDtOLCwo//yllqDzg='],
  ['of another algorithm', HEADER.replace('HMAC-SHA256', 'ECDSA-P256-SHA256')],
  ['without a region', HEADER.replace('us-east-1', '')],
  ['with a region that is none', HEADER.replace('us-east-1', 'us east')],
  ['with another end of the scope', HEADER.replace('aws4_request', 'aws5_request')],
  ['with a slash in the access key', HEADER.replace('AKID', 'AK/ID')],
  ['with a short date', HEADER.replace('20150830', '2015083')],
  ['without signed headers', HEADER.replace('host;x-amz-date', '')],
  ['whose headers are not sorted', HEADER.replace('host;x-amz-date', 'x-amz-date;host')],
  ['with a header twice', HEADER.replace('host;', 'host;host;')],
  ['with an empty header', HEADER.replace('host;', 'host;;')],
  ['with a header in upper case', HEADER.replace('host', 'Host')],
  ['with a short signature', HEADER.slice(0, -1)],
  ['with a long signature', `${HEADER}0`],
  ['with a signature in upper case', HEADER.replace(/0a/g, '0A')],
  ['that goes on', `${HEADER}, X=y`],
  ['with a line feed', HEADER.replace('us-east-1', 'us-east-1\n')],
] as const) {
  test(`an Authorization header ${what} is none`, () => {
    assert.equal(parseAuthorization(header), undefined)
  })
}

test('whatever an Authorization header is, it is read as it stands there, or not at all', async () => {
  await fuzz('authorization', mutate, (input) => {
    const text = input.toString('latin1')
    const read = parseAuthorization(text)
    if (read === undefined) return
    const { accessKey, date, region, service, signedHeaders, signature } = read
    const again =
      `AWS4-HMAC-SHA256 Credential=${accessKey}/${date}/${region}/${service}/aws4_request,` +
      `SignedHeaders=${signedHeaders.join(';')},Signature=${signature}`
    assert.equal(text.replaceAll(/ *, */g, ',').replace(/ +/, ' '), again)
  })
})

test('a date of AWS is one of the calendar', () => {
  const now = Date.UTC(2026, 1, 28, 23, 59, 59)
  assert.equal(amzDate(now), '20260228T235959Z')
  assert.equal(parseAmzDate('20260228T235959Z'), now)
  for (const bad of ['20260229T000000Z', '20260228T240000Z', '20261301T000000Z', '20260228', ''])
    assert.equal(parseAmzDate(bad), undefined, bad)
})

test('what is signed for a request is not signed for another one', () => {
  const secret = new SigningSecret('secret')
  const scope = { date: '20260101', region: 'r', service: 's3' }
  const [one, other] = [fc.webPath(), fc.webPath()]
  fc.assert(
    fc.property(one, other, (a, b) => {
      const request = (target: string) => ({
        method: 'GET',
        target: `/${target}`,
        headerValues: () => ['x'],
      })
      const [canonical = ''] = canonicalRequests(
        request(a),
        { service: 's3', signedHeaders: ['host'] },
        EMPTY,
      )
      const signature = secret.sign(canonical, '20260101T000000Z', scope).toString('hex')
      const authorization = { ...scope, accessKey: 'a', signedHeaders: ['host'], signature }
      assert.equal(secret.signed(request(a), authorization, '20260101T000000Z', EMPTY), true)
      const same = decodeURIComponent(a) === decodeURIComponent(b)
      assert.equal(secret.signed(request(b), authorization, '20260101T000000Z', EMPTY), same)
    }),
    RUNS,
  )
})
