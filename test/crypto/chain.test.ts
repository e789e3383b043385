/** Every verdict on a chain beside the one that OpenSSL reaches in a real handshake with the same certificate. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer, type TLSSocket } from 'node:tls'

import { TrustedCas, type Verdict } from '#src/crypto/chain.js'
import { type Certificate, certificate } from '../support/certificates.ts'

const HOUR = 3_600_000

/** What a TLS server says that asks for certificates of these CAs. */
async function inHandshake(leaf: Certificate, cas: readonly Certificate[]): Promise<boolean> {
  const server = await certificate({ subject: 'server' })
  const listener = createServer({
    ...pair(server),
    ca: cas.map(({ cert }) => cert),
    requestCert: true,
    rejectUnauthorized: false,
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  try {
    const accepted = new Promise<TLSSocket>((resolve, reject) => {
      listener.once('secureConnection', resolve)
      listener.once('tlsClientError', reject)
    })
    const { port } = listener.address() as AddressInfo
    const client = connect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      // The client shall send whatever it has; the server's level decides.
      ciphers: 'DEFAULT@SECLEVEL=0',
      ...pair(leaf),
    })
    client.on('error', () => {})
    const socket = await accepted
    socket.on('error', () => {})
    const { authorized } = socket
    socket.destroy()
    client.destroy()
    return authorized
  } finally {
    listener.close()
  }
}

function pair({ key, cert }: Certificate): { key: string; cert: string } {
  return { key, cert }
}

function judge(leaf: Certificate, cas: readonly Certificate[], now = Date.now()): Verdict {
  return new TrustedCas(cas.map(({ cert }) => cert)).judge(new X509Certificate(leaf.cert), now)
}

interface Case {
  readonly leaf: Certificate
  readonly cas: readonly Certificate[]
  /** Absent: it is good. */
  readonly fault?: RegExp
  /** Why OpenSSL thinks otherwise, on purpose. */
  readonly unlikeOpenSsl?: string
}

/** permittedSubtrees: the dNSName example.org */
const NAME_CONSTRAINTS = {
  id: '2.5.29.30',
  critical: true,
  value: '3011a00f300d820b6578616d706c652e6f7267',
}
const UNKNOWN = { id: '1.3.6.1.4.1.99999.1', critical: false, value: '0500' }
const UNKNOWN_CRITICAL = { ...UNKNOWN, critical: true }

const CASES: Readonly<Record<string, () => Promise<Case>>> = {
  'a certificate of the CA is good': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    return { leaf: await certificate({ subject: 'leaf', issuer: ca }), cas: [ca] }
  },
  'a certificate of one of several CAs is good': async () => {
    const cas = [
      await certificate({ subject: 'one', ca: true }),
      await certificate({ subject: 'two', ca: true }),
    ] as const
    return { leaf: await certificate({ subject: 'leaf', issuer: cas[1] }), cas }
  },
  'a certificate of an intermediate CA is good if all CAs up to the root are there': async () => {
    const root = await certificate({ subject: 'root', ca: true, pathLength: 1 })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root, pathLength: 0 })
    return { leaf: await certificate({ subject: 'leaf', issuer: middle }), cas: [middle, root] }
  },
  'an intermediate CA that is missing is a fault': async () => {
    const root = await certificate({ subject: 'root', ca: true })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root })
    const leaf = await certificate({ subject: 'leaf', issuer: middle })
    return { leaf, cas: [root], fault: /no CA of tls\.ca has issued/ }
  },
  'a root that is missing is a fault': async () => {
    const root = await certificate({ subject: 'root', ca: true })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root })
    const leaf = await certificate({ subject: 'leaf', issuer: middle })
    return { leaf, cas: [middle], fault: /lacks the CA that issued the CA/ }
  },
  'a certificate of another CA is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const other = await certificate({ subject: 'other', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: other })
    return { leaf, cas: [ca], fault: /no CA of tls\.ca has issued/ }
  },
  'a certificate of a CA with the same name and another key is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const other = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: other })
    return { leaf, cas: [ca], fault: /signature/ }
  },
  'of CAs with one name, the one whose key it is counts': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const other = await certificate({ subject: 'ca', ca: true })
    return {
      leaf: await certificate({ subject: 'leaf', issuer: ca }),
      cas: [other, ca],
      unlikeOpenSsl: 'without key identifiers it takes the first that has the name',
    }
  },
  'a CA that was renewed counts beside its expired certificate': async () => {
    const old = await certificate({
      subject: 'ca',
      ca: true,
      notBefore: -2 * HOUR,
      notAfter: -HOUR,
    })
    const ca = await certificate({ subject: 'ca', ca: true, holder: old })
    return { leaf: await certificate({ subject: 'leaf', issuer: ca }), cas: [old, ca] }
  },
  'an expired certificate is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
    const leaf = await certificate({ subject: 'leaf', issuer: ca, ...dates })
    return { leaf, cas: [ca], fault: /the certificate has expired/ }
  },
  'a certificate that is not valid yet is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const dates = { notBefore: HOUR, notAfter: 2 * HOUR }
    const leaf = await certificate({ subject: 'leaf', issuer: ca, ...dates })
    return { leaf, cas: [ca], fault: /the certificate is not valid yet/ }
  },
  'an expired CA is a fault': async () => {
    const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
    const ca = await certificate({ subject: 'ca', ca: true, ...dates })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /a CA of the certificate has expired/ }
  },
  'an expired intermediate CA is a fault': async () => {
    const root = await certificate({ subject: 'root', ca: true })
    const dates = { notBefore: -2 * HOUR, notAfter: -HOUR }
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root, ...dates })
    const leaf = await certificate({ subject: 'leaf', issuer: middle })
    return { leaf, cas: [middle, root], fault: /a CA of the certificate has expired/ }
  },
  'a CA that is not valid yet is a fault': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, notBefore: HOUR, notAfter: 2 * HOUR })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /a CA of the certificate is not valid yet/ }
  },
  'a certificate for servers only is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, usages: ['serverAuth'] })
    return { leaf, cas: [ca], fault: /not for TLS clients/ }
  },
  'a certificate that names no usages is good': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, usages: [] })
    return { leaf: await certificate({ subject: 'leaf', issuer: ca, usages: [] }), cas: [ca] }
  },
  'a certificate for any usage is good': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, usages: [] })
    const extensions = [{ id: '2.5.29.37', critical: false, value: '30060604551d2500' }]
    const leaf = await certificate({ subject: 'leaf', issuer: ca, usages: [], extensions })
    return { leaf, cas: [ca], unlikeOpenSsl: 'any stands for all (RFC 5280, 4.2.1.12)' }
  },
  'a CA for servers only has no clients': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, usages: ['serverAuth'] })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /a CA of the certificate is not for TLS clients/ }
  },
  'a key that may not sign is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, digitalSignature: false })
    return { leaf, cas: [ca], fault: /key usage/ }
  },
  'a certificate of somebody who is no CA is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const user = await certificate({ subject: 'user', issuer: ca })
    const leaf = await certificate({ subject: 'leaf', issuer: user })
    return { leaf, cas: [ca, user], fault: /./ }
  },
  'a self-signed certificate that is no CA’s vouches for nobody else': async () => {
    const user = await certificate({ subject: 'user' })
    const leaf = await certificate({ subject: 'leaf', issuer: user })
    return { leaf, cas: [user], fault: /./ }
  },
  'a CA whose key usage lacks keyCertSign vouches for nobody': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, keyCertSign: false })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /no CA of tls\.ca has issued/ }
  },
  'a self-signed certificate is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf' })
    return { leaf, cas: [ca], fault: /no CA of tls\.ca has issued/ }
  },
  'a self-signed certificate with the name of the CA is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    return { leaf: await certificate({ subject: 'ca' }), cas: [ca], fault: /signature/ }
  },
  'a self-signed certificate that is itself configured is good': async () => {
    const leaf = await certificate({ subject: 'leaf' })
    return { leaf, cas: [leaf] }
  },
  'a self-signed certificate that is configured expires': async () => {
    const leaf = await certificate({ subject: 'leaf', notBefore: -2 * HOUR, notAfter: -HOUR })
    return { leaf, cas: [leaf], fault: /expired/ }
  },
  'a configured certificate that somebody else signed needs him': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [leaf], fault: /no CA of tls\.ca has issued/ }
  },
  'a root with path length 0 has no CAs below it': async () => {
    const root = await certificate({ subject: 'root', ca: true, pathLength: 0 })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root })
    const leaf = await certificate({ subject: 'leaf', issuer: middle })
    return { leaf, cas: [root, middle], fault: /pathLenConstraint/ }
  },
  'a root with path length 1 has one CA below it, not two': async () => {
    const root = await certificate({ subject: 'root', ca: true, pathLength: 1 })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root })
    const low = await certificate({ subject: 'low', ca: true, issuer: middle })
    const leaf = await certificate({ subject: 'leaf', issuer: low })
    return { leaf, cas: [root, middle, low], fault: /pathLenConstraint/ }
  },
  'a root with path length 0 has clients': async () => {
    const root = await certificate({ subject: 'root', ca: true, pathLength: 0 })
    return { leaf: await certificate({ subject: 'leaf', issuer: root }), cas: [root] }
  },
  'a certificate with a critical extension that nobody knows is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const extensions = [UNKNOWN_CRITICAL]
    const leaf = await certificate({ subject: 'leaf', issuer: ca, extensions })
    return { leaf, cas: [ca], fault: /critical extension/ }
  },
  'a certificate with any other extension that nobody knows is good': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, extensions: [UNKNOWN] })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, extensions: [UNKNOWN] })
    return { leaf, cas: [ca] }
  },
  'a CA with a critical extension that nobody knows is a fault': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, extensions: [UNKNOWN_CRITICAL] })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /critical extension/ }
  },
  'a name outside of its CA’s name constraints is refused': async () => {
    const root = await certificate({ subject: 'root', ca: true })
    const middle = await certificate({
      subject: 'middle',
      ca: true,
      issuer: root,
      extensions: [NAME_CONSTRAINTS],
    })
    const leaf = await certificate({ subject: 'leaf', issuer: middle, dns: ['example.com'] })
    return { leaf, cas: [root, middle], fault: /name constraints/ }
  },
  'a name inside of its CA’s name constraints is refused, too': async () => {
    const extensions = [NAME_CONSTRAINTS]
    const ca = await certificate({ subject: 'ca', ca: true, extensions })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, dns: ['a.example.org'] })
    const unlikeOpenSsl = 'names are not looked at here'
    return { leaf, cas: [ca], fault: /name constraints/, unlikeOpenSsl }
  },
  'an RSA certificate is good': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, rsa: 2048 })
    return { leaf: await certificate({ subject: 'leaf', issuer: ca, rsa: 2048 }), cas: [ca] }
  },
  'a signature with SHA-1 is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, rsa: 2048 })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, digest: 'SHA-1' })
    return { leaf, cas: [ca], fault: /too weak/ }
  },
  'a CA that was signed with SHA-1 is a fault': async () => {
    const root = await certificate({ subject: 'root', ca: true, rsa: 2048 })
    const middle = await certificate({ subject: 'middle', ca: true, issuer: root, digest: 'SHA-1' })
    const leaf = await certificate({ subject: 'leaf', issuer: middle })
    return { leaf, cas: [root, middle], fault: /too weak/ }
  },
  'an RSA key of 512 bits is refused': async () => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const leaf = await certificate({ subject: 'leaf', issuer: ca, rsa: 512 })
    return { leaf, cas: [ca], fault: /too weak/ }
  },
  'a CA with an RSA key of 512 bits is a fault': async () => {
    const ca = await certificate({ subject: 'ca', ca: true, rsa: 512 })
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    return { leaf, cas: [ca], fault: /too weak/ }
  },
  'CAs that certified each other are no loop': async () => {
    const [one, two] = [
      await certificate({ subject: 'one', ca: true }),
      await certificate({ subject: 'two', ca: true }),
    ]
    const cas = [
      await certificate({ subject: 'one', ca: true, holder: one, issuer: two }),
      await certificate({ subject: 'two', ca: true, holder: two, issuer: one }),
    ]
    const leaf = await certificate({ subject: 'leaf', issuer: one })
    return { leaf, cas, fault: /lacks the CA/ }
  },
  'a root among CAs that certified each other is found': async () => {
    const [one, two] = [
      await certificate({ subject: 'one', ca: true }),
      await certificate({ subject: 'two', ca: true }),
    ]
    const cas = [
      await certificate({ subject: 'one', ca: true, holder: one, issuer: two }),
      await certificate({ subject: 'two', ca: true, holder: two, issuer: one }),
      two,
    ]
    return {
      leaf: await certificate({ subject: 'leaf', issuer: one }),
      cas,
      unlikeOpenSsl: 'it never goes back',
    }
  },
}

for (const [fact, make] of Object.entries(CASES)) {
  test(fact, async () => {
    const { leaf, cas, fault, unlikeOpenSsl } = await make()
    const verdict = judge(leaf, cas)
    if (fault === undefined) assert.ok(!('fault' in verdict), JSON.stringify(verdict))
    else assert.match('fault' in verdict ? verdict.fault : 'good', fault)
    const expected = (fault === undefined) !== (unlikeOpenSsl !== undefined)
    assert.equal(await inHandshake(leaf, cas), expected, 'OpenSSL thinks otherwise')
  })
}

test('a path is good for as long as all of its certificates are', async () => {
  const root = await certificate({
    subject: 'root',
    ca: true,
    notBefore: -HOUR,
    notAfter: 9 * HOUR,
  })
  const middle = await certificate({
    subject: 'middle',
    ca: true,
    issuer: root,
    notBefore: -2 * HOUR,
    notAfter: 2 * HOUR,
  })
  const dates = { notBefore: -3 * HOUR, notAfter: 3 * HOUR }
  const leaf = await certificate({ subject: 'leaf', issuer: middle, ...dates })
  const date = ({ cert }: Certificate, which: 'validFrom' | 'validTo') =>
    Date.parse(new X509Certificate(cert)[which])
  assert.deepEqual(judge(leaf, [root, middle]), {
    notBefore: date(root, 'validFrom'),
    notAfter: date(middle, 'validTo'),
  })
  assert.ok('fault' in judge(leaf, [root, middle], Date.now() + 2.5 * HOUR))
  assert.ok('fault' in judge(leaf, [root, middle], Date.now() - 1.5 * HOUR))
})

test('CAs that lead nowhere by many ways are given up soon', async () => {
  const keys = await Promise.all(
    [0, 1, 2, 3, 4, 5].map((number) => certificate({ subject: `ca-${number}`, ca: true })),
  )
  const cas: Certificate[] = []
  for (const holder of keys)
    for (const issuer of keys)
      if (issuer !== holder)
        cas.push(await certificate({ subject: holder.subject, ca: true, holder, issuer }))
  const leaf = await certificate({ subject: 'leaf', ...(keys[0] && { issuer: keys[0] }) })
  const verdict = judge(leaf, cas)
  assert.match('fault' in verdict ? verdict.fault : 'good', /maze/)
})

test('what is no certificate vouches for nobody, and does not keep others from it', async () => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const leaf = new X509Certificate((await certificate({ subject: 'leaf', issuer: ca })).cert)
  const garbage = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'
  assert.ok('fault' in new TrustedCas([garbage]).judge(leaf, Date.now()))
  assert.ok('notAfter' in new TrustedCas([garbage, ca.cert]).judge(leaf, Date.now()))
})
