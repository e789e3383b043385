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
  /** false: a key usage without digitalSignature */
  readonly digitalSignature?: boolean
  /** pathLenConstraint */
  readonly pathLength?: number
  readonly usages?: readonly ('clientAuth' | 'serverAuth')[]
  readonly extensions?: readonly Extension[]
  /** Milliseconds from now. */
  readonly notBefore?: number
  readonly notAfter?: number
  readonly dns?: readonly string[]
  readonly ip?: readonly string[]
  /** Whose key it is for; a new one by default. */
  readonly holder?: Certificate
  /** Bits of an RSA key; without, it is Ed25519. */
  readonly rsa?: number
  /** Of the signature, if the issuer's key is RSA. */
  readonly digest?: 'SHA-1' | 'SHA-256'
}

export interface Extension {
  /** With dots. */
  readonly id: string
  readonly critical: boolean
  /** DER in hex. */
  readonly value: string
}

export async function certificate(request: CertificateRequest): Promise<Certificate> {
  const { subject, issuer, ca = false, usages = ['clientAuth', 'serverAuth'], rsa } = request
  const { privateKey } =
    request.holder ??
    (rsa === undefined
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: rsa }))
  const signer = issuer?.privateKey ?? privateKey
  const { digest = 'SHA-256' } = request
  const isRsa = signer.asymmetricKeyType === 'rsa'
  const subtle = {
    sign: async (_: unknown, __: unknown, data: ArrayBuffer) =>
      sign(isRsa ? digest : null, Buffer.from(data), signer),
  }
  const flags =
    (request.digitalSignature === false
      ? x509.KeyUsageFlags.keyEncipherment
      : x509.KeyUsageFlags.digitalSignature) |
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
      signingKey: {
        algorithm: isRsa ? { name: 'RSASSA-PKCS1-v1_5', hash: digest } : { name: 'Ed25519' },
      },
      extensions: [
        new x509.KeyUsagesExtension(flags, true),
        new x509.BasicConstraintsExtension(ca, request.pathLength, true),
        ...(request.extensions ?? []).map(
          ({ id, critical, value }) => new x509.Extension(id, critical, Buffer.from(value, 'hex')),
        ),
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
