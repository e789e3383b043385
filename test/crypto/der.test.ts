import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { type CertificateFacts, DerError, readCertificate } from '#src/crypto/der.js'
import { bytes } from '../support/bytes.ts'
import { certificate } from '../support/certificates.ts'
import { vectors } from '../support/vectors.ts'

for (const { type, cert_pem } of vectors.certificates) {
  const x509 = new X509Certificate(cert_pem)

  test(`the public key of an ${type} certificate is read`, () => {
    const spki = x509.publicKey.export({ type: 'spki', format: 'der' })
    assert.deepEqual(readCertificate(x509.raw).publicKey, spki)
  })

  test(`the dates of an ${type} certificate are read`, () => {
    const { notBefore, notAfter } = readCertificate(x509.raw)
    assert.equal(notBefore, Date.parse(x509.validFrom))
    assert.equal(notAfter, Date.parse(x509.validTo))
  })

  test(`an ${type} certificate that is mutated anywhere is read or refused, nothing else`, () => {
    const change = fc.tuple(fc.nat(x509.raw.length - 1), fc.nat(255))
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 4 }),
        fc.nat(x509.raw.length),
        fc.boolean(),
        (changes, cut, isCut) => {
          const mutated = Buffer.from(x509.raw)
          for (const [at, byte] of changes) mutated[at] = byte
          try {
            readCertificate(isCut ? mutated.subarray(0, cut) : mutated)
          } catch (error) {
            assert.ok(error instanceof DerError, String(error))
          }
        },
      ),
      { numRuns: 500 },
    )
  })
}

test('arbitrary bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (data) => {
      assert.throws(() => readCertificate(Buffer.from(data)), DerError)
    }),
    { numRuns: 500 },
  )
})

async function factsOf(request: object): Promise<CertificateFacts> {
  const { cert } = await certificate({ subject: 'somebody', ...request })
  return readCertificate(new X509Certificate(cert).raw)
}

test('a CA certificate is one', async () => {
  assert.equal((await factsOf({ ca: true })).isCa, true)
})

test('a CA certificate without keyCertSign is one, too', async () => {
  assert.equal((await factsOf({ ca: true, keyCertSign: false })).isCa, true)
})

test('an ordinary certificate is no CA certificate', async () => {
  assert.equal((await factsOf({})).isCa, false)
})

test('a certificate for servers only is not for clients', async () => {
  assert.equal((await factsOf({ usages: ['serverAuth'] })).clientAuth, false)
})

test('a certificate for clients is for clients', async () => {
  assert.equal((await factsOf({ usages: ['clientAuth'] })).clientAuth, true)
})

test('a certificate that does not say what it is for is also for clients', async () => {
  assert.equal((await factsOf({ usages: [] })).clientAuth, true)
})

/** One tag-length-value. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts)
  const length =
    value.length < 128 ? [value.length] : [0x82, value.length >> 8, value.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), value])
}

const SEQUENCE = 0x30
const PUBLIC_KEY = der(SEQUENCE, bytes(''))

function oid(id: string): Buffer {
  return der(0x06, Buffer.from(id, 'hex'))
}

function extension(id: string, value: Buffer, critical?: boolean): Buffer {
  const flag = critical === undefined ? [] : [der(0x01, Buffer.of(critical ? 0xff : 0))]
  return der(SEQUENCE, oid(id), ...flag, der(0x04, value))
}

interface Handmade {
  readonly version?: boolean
  readonly notBefore?: Buffer
  readonly extensions?: readonly Buffer[]
}

/** A certificate with only what is looked at. */
function handmade({ version = true, notBefore = utc('260101000000Z'), extensions }: Handmade) {
  const tbs = der(
    SEQUENCE,
    ...(version ? [der(0xa0, der(0x02, Buffer.of(2)))] : []),
    der(0x02, Buffer.of(1)),
    der(SEQUENCE),
    der(SEQUENCE),
    der(SEQUENCE, notBefore, utc('360101000000Z')),
    der(SEQUENCE),
    PUBLIC_KEY,
    ...(extensions === undefined ? [] : [der(0xa3, der(SEQUENCE, ...extensions))]),
  )
  return readCertificate(der(SEQUENCE, tbs, der(SEQUENCE), der(0x03)))
}

function utc(text: string): Buffer {
  return der(0x17, bytes(text))
}

const CA = extension('551d13', der(SEQUENCE, der(0x01, Buffer.of(0xff))), true)
const NO_CA = extension('551d13', der(SEQUENCE), true)
const FOR_SERVERS = extension('551d25', der(SEQUENCE, oid('2b06010505070301')))
const FOR_ANYTHING = extension('551d25', der(SEQUENCE, oid('551d2500')))
const UNKNOWN = extension('2a0304', der(0x0c, bytes('?')))

test('basicConstraints twice is refused, whatever it says', () => {
  for (const extensions of [
    [NO_CA, CA],
    [CA, NO_CA],
    [NO_CA, UNKNOWN, NO_CA],
  ])
    assert.throws(() => handmade({ extensions }), DerError)
})

test('extKeyUsage twice is refused', () => {
  assert.throws(() => handmade({ extensions: [FOR_SERVERS, FOR_ANYTHING] }), DerError)
})

test('an unknown extension twice is refused', () => {
  assert.throws(() => handmade({ extensions: [UNKNOWN, UNKNOWN] }), DerError)
})

test('an unknown extension is not looked at', () => {
  assert.equal(handmade({ extensions: [UNKNOWN, CA] }).isCa, true)
})

test('a certificate of version 1, without version and extensions, is read', () => {
  assert.deepEqual(handmade({ version: false }).publicKey, PUBLIC_KEY)
})

test('CA:FALSE that is written out is no CA', () => {
  const written = extension('551d13', der(SEQUENCE, der(0x01, Buffer.of(0))))
  assert.equal(handmade({ extensions: [written] }).isCa, false)
})

test('CA:TRUE with a path length is a CA', () => {
  const constraints = der(SEQUENCE, der(0x01, Buffer.of(0xff)), der(0x02, Buffer.of(0)))
  assert.equal(handmade({ extensions: [extension('551d13', constraints)] }).isCa, true)
})

test('anyExtendedKeyUsage includes clients', () => {
  assert.equal(handmade({ extensions: [FOR_ANYTHING] }).clientAuth, true)
})

function withPathLength(...octets: readonly number[]): number {
  const constraints = der(SEQUENCE, der(0x01, Buffer.of(0xff)), der(0x02, Buffer.from(octets)))
  return handmade({ extensions: [extension('551d13', constraints)] }).pathLength
}

test('a path length is read; without one there is no limit', () => {
  assert.equal(withPathLength(0), 0)
  assert.equal(withPathLength(3), 3)
  assert.equal(withPathLength(0x01, 0x00), 256)
  assert.equal(handmade({ extensions: [CA] }).pathLength, Infinity)
  assert.equal(handmade({}).pathLength, Infinity)
})

test('a path length that is none is refused, or allows nobody', () => {
  assert.throws(() => withPathLength(), DerError)
  assert.throws(() => withPathLength(1, 2, 3, 4, 5, 6, 7), DerError)
  assert.ok(withPathLength(0xff) < 0)
})

test('a key usage must be for signatures or key agreement to be for TLS', () => {
  const usage = (...octets: readonly number[]) =>
    handmade({ extensions: [extension('551d0f', der(0x03, Buffer.from(octets)))] }).handshake
  assert.equal(handmade({}).handshake, true)
  assert.equal(usage(7, 0x80), true)
  assert.equal(usage(3, 0x08), true)
  assert.equal(usage(5, 0xa0), true)
  assert.equal(usage(5, 0x20), false, 'keyEncipherment')
  assert.equal(usage(1, 0x06), false, 'keyCertSign, cRLSign')
  assert.equal(usage(0), false, 'none')
})

test('a critical extension that is not known is a limit, and so are name constraints', () => {
  const limits = (...extensions: readonly Buffer[]) => handmade({ extensions }).hasOtherLimits
  assert.equal(limits(CA, FOR_SERVERS, UNKNOWN), false)
  assert.equal(limits(extension('2a0304', der(0x0c), true)), true)
  assert.equal(limits(extension('2a0304', der(0x0c), false)), false)
  assert.equal(limits(extension('551d1e', der(SEQUENCE), true)), true)
  assert.equal(limits(extension('551d1e', der(SEQUENCE))), true)
  assert.equal(limits(extension('551d11', der(SEQUENCE), true)), false, 'subjectAltName')
})

test('two-digit years from 50 on belong to the last century', () => {
  const year = (text: string) => new Date(handmade({ notBefore: utc(text) }).notBefore)
  assert.equal(year('491231235959Z').toISOString(), '2049-12-31T23:59:59.000Z')
  assert.equal(year('500101000000Z').toISOString(), '1950-01-01T00:00:00.000Z')
})

test('dates beyond 2049 are read', () => {
  const notBefore = der(0x18, bytes('20991231235959Z'))
  assert.equal(handmade({ notBefore }).notBefore, Date.UTC(2099, 11, 31, 23, 59, 59))
})

test('a date that is none is refused', () => {
  for (const text of ['', '2601010000Z', '260101000000', '260101000000+0100', '26010100000xZ'])
    assert.throws(() => handmade({ notBefore: utc(text) }), DerError)
  assert.throws(() => handmade({ notBefore: der(0x0c, bytes('260101000000Z')) }), DerError)
})
