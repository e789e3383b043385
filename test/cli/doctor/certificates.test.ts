import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type { TlsConfig } from '#src/config/config.js'
import { examineCertificates } from '#src/cli/doctor/certificates.js'
import type { Finding } from '#src/cli/doctor/finding.js'
import { type Certificate, certificate } from '../../support/certificates.ts'
import { tempDir } from '../../support/server.ts'

const DAY = 24 * 3_600_000

interface Options {
  readonly chain?: readonly Certificate[]
  readonly key?: string
  readonly host?: string
  readonly mode?: number
  readonly cas?: readonly Certificate[]
}

function examine(t: TestContext, leaf: Certificate, options: Options = {}): Finding[] {
  const directory = tempDir(t)
  const [key, cert, ca] = ['key', 'cert', 'ca'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(key, options.key ?? leaf.key)
  chmodSync(key, options.mode ?? 0o600)
  const texts = (list: readonly Certificate[]): string => list.map((one) => one.cert).join('')
  writeFileSync(cert, texts([leaf, ...(options.chain ?? [])]))
  writeFileSync(ca, texts(options.cas ?? []))
  const auth = options.cas !== undefined
  const proxy = { identities: [], header: '', admin: false }
  const tls: TlsConfig = { key, cert, password: '', auth, ca: auth ? ca : '', proxy }
  const address = { host: options.host ?? '', port: 7373 }
  return [...examineCertificates({ tls, address }, Date.now())]
}

function troubles(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ level, about }) => level !== 'ok' && about !== 'tls.auth')
    .map(({ level, what }) => `${level}: ${what}`)
}

const NAMES = { subject: 'kes', dns: ['kes.example.com'], ip: ['10.0.0.1'], notAfter: 90 * DAY }

test('a good certificate has no trouble, and is described', async (t) => {
  const findings = examine(t, await certificate(NAMES), { host: '10.0.0.1' })
  assert.deepEqual(troubles(findings), [])
  const [dates, trust, names] = findings.map(({ what }) => what)
  assert.equal(dates, 'is valid for another 89d 23h')
  assert.equal(trust, 'is self-signed: clients are given this certificate to trust it')
  assert.equal(names, 'is for kes.example.com, 10.0.0.1')
})

test('a certificate without names fails, and so does one of another key', async (t) => {
  const [good, bare] = [await certificate(NAMES), await certificate({ subject: 'kes' })]
  assert.match(troubles(examine(t, bare)).join(), /^fail: tls.cert: .* no subject alternative name/)
  assert.match(
    troubles(examine(t, good, { key: bare.key })).join(),
    /^fail: tls.key: .* does not belong to the certificate/,
  )
})

test('dates: expired and not yet valid fail; the last third of its life, or 30 days, is a warning', async (t) => {
  const of = async (notBefore: number, notAfter: number): Promise<string> =>
    troubles(examine(t, await certificate({ ...NAMES, notBefore, notAfter }))).join()
  assert.equal(await of(-9 * DAY, -2 * DAY - 3_600_000), 'fail: expired 2d 1h ago')
  assert.match(await of(DAY, 9 * DAY), /^fail: is valid from 20\S+ on only$/)
  assert.equal(await of(-300 * DAY, 29 * DAY), 'warn: expires in 28d 23h')
  // One for a week is not renewed all the time.
  assert.equal(await of(-2 * DAY, 5 * DAY), '')
  assert.equal(await of(-6 * DAY, DAY + 60_000), 'warn: expires in 1d')
})

test('a certificate for clients only fails; one without that extension does not', async (t) => {
  const of = async (usages: ('clientAuth' | 'serverAuth')[]): Promise<string> =>
    troubles(examine(t, await certificate({ ...NAMES, usages }))).join()
  assert.match(await of(['clientAuth']), /^fail: is not for servers/)
  assert.equal(await of(['serverAuth']), '')
  assert.equal(await of([]), '')
})

test('a chain out of order fails; a whole one says which CA clients must trust', async (t) => {
  const root = await certificate({ subject: 'root', ca: true })
  const inner = await certificate({ subject: 'inner', ca: true, issuer: root })
  const leaf = await certificate({ ...NAMES, issuer: inner })
  assert.match(troubles(examine(t, leaf, { chain: [root, inner] })).join(), /^fail: the chain is/)
  for (const chain of [[inner], [inner, root]]) {
    const findings = examine(t, leaf, { chain })
    assert.deepEqual(troubles(findings), [])
    assert.ok(findings.some(({ what }) => what === "clients must trust the CA 'CN=root'"))
  }
})

test('an address that the certificate is not for is a warning', async (t) => {
  const leaf = await certificate(NAMES)
  for (const host of ['', '0.0.0.0', '::', '10.0.0.1', 'kes.example.com'])
    assert.deepEqual(troubles(examine(t, leaf, { host })), [], host)
  for (const host of ['10.0.0.2', 'other.example.com'])
    assert.match(troubles(examine(t, leaf, { host })).join(), /^warn: is for .* and not for/, host)
})

test('a private key that others may read is a warning', async (t) => {
  const leaf = await certificate(NAMES)
  assert.match(
    troubles(examine(t, leaf, { mode: 0o640 })).join(),
    /^warn: '.*' may be read by other/,
  )
})

test('tls.auth off says how to switch it on; on, the CAs are looked at', async (t) => {
  const leaf = await certificate(NAMES)
  const ca = await certificate({ subject: 'ca', ca: true })
  const old = await certificate({ subject: 'old', ca: true, notBefore: -2 * DAY, notAfter: -DAY })
  const auth = (findings: Finding[]): Finding | undefined => findings.at(-1)
  const off = auth(examine(t, leaf))
  assert.equal(off?.level, 'warn')
  assert.match(off.mend ?? '', /tls\.auth: on/)
  assert.equal(auth(examine(t, leaf, { cas: [ca, old] }))?.level, 'ok')
  assert.match(auth(examine(t, leaf, { cas: [old] }))?.what ?? '', /^every CA of .* has expired/)
  assert.match(auth(examine(t, leaf, { cas: [] }))?.what ?? '', /has no CA certificate$/)
})
