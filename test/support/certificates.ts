/** Certificates of every kind, good and bad, for tests. */

import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

import { readCertificate } from '#src/crypto/der.js'
import { type Identity, identityOf } from '#src/crypto/identity.js'
import { X509Certificate } from 'node:crypto'

export interface Certificate {
  /** PEM. */
  readonly cert: string
  /** PEM. */
  readonly key: string
  readonly identity: Identity
  readonly privateKey: KeyObject
  readonly subject: string
}

export interface CertificateRequest {
  readonly subject: string
  readonly issuer?: Certificate
  /** basicConstraints CA:TRUE */
  readonly ca?: boolean
  /** false: a CA certificate whose key usage lacks keyCertSign */
  readonly keyCertSign?: boolean
  readonly usages?: readonly ('clientAuth' | 'serverAuth')[]
  /** Milliseconds from now. */
  readonly notBefore?: number
  readonly notAfter?: number
  readonly dns?: readonly string[]
  readonly ip?: readonly string[]
}

export async function certificate(request: CertificateRequest): Promise<Certificate> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const { subject, issuer, ca = false, usages = ['clientAuth', 'serverAuth'] } = request
  const signer = issuer?.privateKey ?? privateKey
  const subtle = {
    sign: async (_: unknown, __: unknown, data: ArrayBuffer) =>
      sign(null, Buffer.from(data), signer),
  }
  const flags =
    x509.KeyUsageFlags.digitalSignature |
    (ca && request.keyCertSign !== false ? x509.KeyUsageFlags.keyCertSign : 0)
  const names = [
    ...(request.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ip ?? []).map((value) => ({ type: 'ip' as const, value })),
  ]
  const made = await x509.X509CertificateGenerator.create(
    {
      serialNumber: Math.floor(Math.random() * 2 ** 47)
        .toString(16)
        .padStart(12, '1'),
      subject: [{ CN: [subject] }],
      issuer: [{ CN: [issuer?.subject ?? subject] }],
      notBefore: new Date(Date.now() + (request.notBefore ?? -60_000)),
      notAfter: new Date(Date.now() + (request.notAfter ?? 3_600_000)),
      publicKey: new Uint8Array(
        createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
      ),
      signingKey: { algorithm: { name: 'Ed25519' } },
      extensions: [
        new x509.KeyUsagesExtension(flags, true),
        new x509.BasicConstraintsExtension(ca, undefined, true),
        ...(usages.length > 0
          ? [
              new x509.ExtendedKeyUsageExtension(
                usages.map((usage) => x509.ExtendedKeyUsage[usage]),
              ),
            ]
          : []),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      ],
    },
    { subtle },
  )
  const cert = `${made.toString('pem')}\n`
  const { raw } = new X509Certificate(cert)
  return {
    cert,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    identity: identityOf(readCertificate(raw).publicKey),
    privateKey,
    subject,
  }
}
