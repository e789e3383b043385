import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { type Caller, ForwardedCertificates } from '#src/auth/forwarded.js'
import { TrustedCas } from '#src/crypto/chain.js'
import type { Identity } from '#src/crypto/identity.js'
import { RUNS } from '../support/bytes.ts'
import { type Certificate, certificate } from '../support/certificates.ts'

const PROXY = 'f'.repeat(64) as Identity
const HEADER = 'X-Tls-Client-Cert'
const HOUR = 3_600_000

const ca = await certificate({ subject: 'ca', ca: true })
const member = await certificate({ subject: 'member', issuer: ca })
const stranger = await certificate({ subject: 'stranger' })

const strict = (...cas: readonly Certificate[]) =>
  new ForwardedCertificates(HEADER, new TrustedCas(cas.map(({ cert }) => cert)))
const lax = () => new ForwardedCertificates(HEADER, undefined)

/** As nginx writes `$ssl_client_escaped_cert`. */
const escaped = ({ cert }: Pick<Certificate, 'cert'>) => encodeURIComponent(cert)

function caller(certificates: ForwardedCertificates, ...values: readonly string[]): Caller {
  return certificates.callerOf(PROXY, values, Date.now())
}

/** What the client is told; undefined when it is who it says. */
function told({ identity, fault }: Caller): string | undefined {
  assert.ok(identity !== undefined || fault !== undefined)
  return fault?.message
}

test('the caller is the owner of the forwarded certificate, and the proxy is noted', () => {
  const { identity, proxy, fault } = caller(strict(ca), escaped(member))
  assert.deepEqual([identity, proxy, fault], [member.identity, PROXY, undefined])
})

test('without verification any well-formed certificate is its owner’s, also an expired one for servers', async () => {
  const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
  const old = await certificate({ subject: 'old', usages: ['serverAuth'], ...dates })
  for (const owner of [stranger, old]) {
    const { identity, fault, until } = caller(lax(), escaped(owner))
    assert.deepEqual([identity, fault, until], [owner.identity, undefined, Infinity])
  }
})

test('with verification a certificate counts until it, or its CA, expires', async () => {
  const brief = await certificate({ subject: 'brief', issuer: ca, notAfter: HOUR / 2 })
  const { until } = caller(strict(ca), escaped(brief))
  assert.equal(until, Date.parse(new X509Certificate(brief.cert).validTo))
  const late = await certificate({ subject: 'late', issuer: ca, notAfter: 9 * HOUR })
  assert.equal(
    caller(strict(ca), escaped(late)).until,
    Date.parse(new X509Certificate(ca.cert).validTo),
  )
})

const ENCODINGS: Readonly<Record<string, (pem: string) => string>> = {
  'everything but letters and digits escaped': (pem) =>
    pem.replace(/[^A-Za-z0-9]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`),
  'pluses, slashes and equal signs left as they are': (pem) =>
    pem.replaceAll(' ', '%20').replaceAll('\n', '%0A'),
  'spaces as pluses, as in forms': (pem) => encodeURIComponent(pem).replaceAll('%20', '+'),
  'lines that end in CR LF': (pem) => encodeURIComponent(pem.replaceAll('\n', '\r\n')),
  'base64 in one line': (pem) =>
    `-----BEGIN%20CERTIFICATE-----%0A${base64(pem)}%0A-----END%20CERTIFICATE-----`,
}

function base64(pem: string): string {
  return new X509Certificate(pem).raw.toString('base64')
}

for (const [how, encode] of Object.entries(ENCODINGS)) {
  test(`a certificate is read with ${how}`, () => {
    assert.equal(caller(strict(ca), encode(member.cert)).identity, member.identity)
    assert.equal(told(caller(strict(ca), encode(member.cert))), undefined)
  })
}

test('a missing or empty header is no certificate, and the log says so', () => {
  for (const values of [[], ['']]) {
    const { identity, proxy, fault } = caller(strict(ca), ...values)
    assert.equal(identity, undefined)
    assert.equal(proxy, PROXY)
    assert.equal(fault?.status, 400)
    assert.equal(fault.message, 'tls: client certificate is required')
    assert.match((fault.cause as Error).message, /x-tls-client-cert is missing/)
  }
})

const MANY = 'tls: received more than one client certificate'

test('a header that came twice is refused, also with the same value', () => {
  for (const values of [
    [escaped(member), escaped(stranger)],
    [escaped(member), escaped(member)],
    ['', escaped(member)],
    [escaped(member), ''],
  ]) {
    const { identity, fault } = caller(lax(), ...values)
    assert.equal(identity, undefined)
    assert.deepEqual([fault?.status, fault?.message], [400, MANY])
  }
})

test('two certificates in one value are refused', () => {
  for (const value of [
    escaped({ cert: member.cert + stranger.cert }),
    escaped({ cert: member.cert + member.cert }),
    `${escaped(member)}, ${escaped(stranger)}`,
    `${escaped(member)}${escaped(stranger)}`,
  ])
    assert.equal(told(caller(lax(), value)), MANY)
})

test('what is not one URL-encoded PEM certificate is refused, and the client is told what it is not', () => {
  const der = new X509Certificate(member.cert).raw
  const pem = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64')}\n-----END CERTIFICATE-----\n`
  const cases: readonly (readonly [string, RegExp])[] = [
    ['garbage', /not a URL-encoded PEM/],
    ['%', /URL encoding is damaged/],
    ['%zz', /URL encoding is damaged/],
    ['%ff%fe', /URL encoding is damaged/],
    [member.cert.replaceAll('\n', ' '), /not a URL-encoded PEM/],
    [member.cert.replaceAll('\n', '\t'), /not a URL-encoded PEM/],
    [encodeURIComponent(escaped(member)), /not a URL-encoded PEM/],
    [base64(member.cert), /not a URL-encoded PEM/],
    [`:${base64(member.cert)}:`, /not a URL-encoded PEM/],
    [escaped({ cert: member.key }), /not a URL-encoded PEM/],
    [escaped({ cert: `x${member.cert}` }), /not a URL-encoded PEM/],
    [escaped({ cert: `${member.cert}x` }), /not a URL-encoded PEM/],
    [escaped({ cert: member.cert.replace('-----END', 'AAA-----END') }), /base64 is damaged/],
    [escaped({ cert: pem(Buffer.from('certificate')) }), /not an X\.509 certificate/],
    [escaped({ cert: pem(der.subarray(0, -1)) }), /not an X\.509 certificate/],
    [escaped({ cert: pem(Buffer.concat([der, Buffer.of(0)])) }), /not in DER/],
    ['A'.repeat(16_000), /not a URL-encoded PEM/],
    ['%41'.repeat(5000), /not a URL-encoded PEM/],
  ]
  for (const [value, why] of cases) {
    const { identity, fault } = caller(lax(), value)
    assert.equal(identity, undefined, value.slice(0, 40))
    assert.equal(fault?.status, 400)
    assert.match(fault.message, /^tls: client certificate is not accepted: /)
    assert.match(fault.message, why, value.slice(0, 40))
  }
})

test('a CA certificate is no client’s', async () => {
  const hidden = await certificate({ subject: 'hidden', ca: true, keyCertSign: false })
  for (const owner of [ca, hidden])
    for (const certificates of [strict(ca), lax()])
      assert.equal(
        told(caller(certificates, escaped(owner))),
        'tls: client certificate is required',
      )
})

test('with verification a certificate that the CAs do not vouch for is refused, and the log has whose it is', async () => {
  const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
  for (const [owner, why] of [
    [stranger, /no CA of tls\.ca has issued the certificate/],
    [await certificate({ subject: 'old', issuer: ca, ...dates }), /has expired/],
    [
      await certificate({ subject: 's', issuer: ca, usages: ['serverAuth'] }),
      /not for TLS clients/,
    ],
  ] as const) {
    const { identity, fault } = caller(strict(ca), escaped(owner))
    assert.equal(identity, owner.identity)
    assert.equal(fault?.status, 400)
    assert.match(fault.message, why)
  }
})

test('a certificate that was good is refused once it has expired', async () => {
  const brief = await certificate({ subject: 'brief', issuer: ca, notAfter: HOUR / 2 })
  const certificates = strict(ca)
  const at = (time: number) => certificates.callerOf(PROXY, [escaped(brief)], Date.now() + time)
  assert.equal(at(0).fault, undefined)
  assert.match(told(at(0.6 * HOUR)) ?? '', /has expired/)
  assert.match(told(at(-HOUR)) ?? '', /not valid yet/)
  assert.equal(at(0).fault, undefined)
})

test('a certificate outlives its CA when another one vouches for it', async () => {
  const renewed = await certificate({ subject: 'ca', ca: true, holder: ca, notAfter: 9 * HOUR })
  const late = await certificate({ subject: 'late', issuer: ca, notAfter: 5 * HOUR })
  const certificates = strict(ca, renewed)
  const at = (time: number) => certificates.callerOf(PROXY, [escaped(late)], Date.now() + time)
  const inAnHour = Date.parse(new X509Certificate(ca.cert).validTo)
  assert.equal(at(0).until, inAnHour)
  assert.equal(at(2 * HOUR).identity, late.identity)
  assert.ok((at(2 * HOUR).until ?? 0) > inAnHour)
})

test('however many certificates come, the first is still its owner’s', async () => {
  const certificates = lax()
  const others = await Promise.all(
    Array.from({ length: 300 }, (_, n) => certificate({ subject: `client-${n}` })),
  )
  for (const owner of [member, ...others, member, ...others.slice(0, 10)])
    assert.equal(caller(certificates, escaped(owner)).identity, owner.identity)
})

test('a certificate that was changed anywhere is nobody’s', () => {
  const der = new X509Certificate(member.cert).raw
  const certificates = strict(ca)
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(der)
      changed[at] = (changed[at] ?? 0) ^ mask
      const cert = `-----BEGIN CERTIFICATE-----\n${changed.toString('base64')}\n-----END CERTIFICATE-----\n`
      assert.notEqual(told(caller(certificates, escaped({ cert }))), undefined)
    }),
    RUNS,
  )
})

test('any value is answered with a caller or a fault of status 400', () => {
  const certificates = lax()
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 3 }), (values) => {
      const { identity, fault } = caller(certificates, ...values)
      assert.equal(identity, undefined)
      assert.equal(fault?.status, 400)
    }),
    RUNS,
  )
})
