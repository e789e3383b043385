import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'

import { certificateFault, type Peer, peerOf } from '#src/auth/peer.js'
import { type CertificateRequest, certificate } from '../support/certificates.ts'

async function peer(request: Partial<CertificateRequest>): Promise<Peer | undefined> {
  const { cert } = await certificate({ subject: 'somebody', ...request })
  return peerOf(new X509Certificate(cert).raw)
}

async function fault(request: Partial<CertificateRequest>): Promise<string | undefined> {
  const found = await peer(request)
  assert.ok(found)
  return certificateFault(found, Date.now())
}

test('a client has the identity of its certificate', async () => {
  const { cert, identity } = await certificate({ subject: 'somebody' })
  assert.equal(peerOf(new X509Certificate(cert).raw)?.identity, identity)
})

test('a CA certificate is no client’s', async () => {
  assert.equal(await peer({ ca: true }), undefined)
})

test('a CA certificate without keyCertSign is no client’s', async () => {
  assert.equal(await peer({ ca: true, keyCertSign: false }), undefined)
})

test('bytes that are no certificate are no client’s', () => {
  assert.equal(peerOf(Buffer.from('certificate')), undefined)
  assert.equal(peerOf(Buffer.alloc(0)), undefined)
})

test('an expired certificate is a client’s, with a fault', async () => {
  assert.equal(await fault({ notAfter: -1000 }), 'the certificate has expired')
})

test('a certificate of the future is a client’s, with a fault', async () => {
  assert.equal(await fault({ notBefore: 600_000 }), 'the certificate is not valid yet')
})

test('a certificate for servers only is a client’s, with a fault', async () => {
  assert.match((await fault({ usages: ['serverAuth'] })) ?? '', /not for TLS clients/)
})

test('a good certificate has no fault', async () => {
  assert.equal(await fault({}), undefined)
})
