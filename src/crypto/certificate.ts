/**
 * Writes self-signed certificates: for an API key, so that it can be used in TLS, and for a server.
 * The X.509 library is loaded on first use: a server that has its certificate never needs it.
 */

import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

import type { ApiKey } from './identity.ts'
import { randomBytes } from './random.ts'

export interface CertificateOptions {
  /** Common name of subject and issuer. */
  readonly subject: string
  readonly dns?: readonly string[]
  readonly ip?: readonly string[]
  /** Milliseconds from now. */
  readonly lifetime: number
}

export interface CertificatePair {
  /** PEM. */
  readonly certificate: string
  /** PEM, PKCS #8. */
  readonly privateKey: string
}

const DAY = 24 * 3600 * 1000
const CLOCK_SKEW = 60_000

/** The certificate that a client makes of an API key, as the Go SDK does: valid for 90 days. */
export async function certificateOf(apiKey: ApiKey): Promise<CertificatePair> {
  return issue(apiKey.privateKey(), { subject: apiKey.identity, lifetime: 90 * DAY })
}

/** A new Ed25519 key with a self-signed certificate for both sides of TLS. */
export async function newCertificate(options: CertificateOptions): Promise<CertificatePair> {
  return issue(generateKeyPairSync('ed25519').privateKey, options)
}

async function issue(key: KeyObject, options: CertificateOptions): Promise<CertificatePair> {
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const { subject, dns = [], ip = [], lifetime } = options
  const names = [
    ...dns.map((value) => ({ type: 'dns' as const, value })),
    ...ip.map((value) => ({ type: 'ip' as const, value })),
  ]
  // The library signs through WebCrypto, where Ed25519 is an experiment on Node 20: this is its one
  // call, on node:crypto.
  const subtle = {
    sign: async (_: unknown, __: unknown, data: ArrayBuffer) => sign(null, Buffer.from(data), key),
  }
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: [{ CN: [subject] }],
      issuer: [{ CN: [subject] }],
      notBefore: new Date(Date.now() - CLOCK_SKEW),
      notAfter: new Date(Date.now() + lifetime),
      publicKey: new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' })),
      signingKey: { algorithm: { name: 'Ed25519' } },
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.clientAuth,
          x509.ExtendedKeyUsage.serverAuth,
        ]),
        new x509.BasicConstraintsExtension(false, undefined, true),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      ],
    },
    { subtle },
  )
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** 127 random bits in hex: RFC 5280, 4.1.2.2 wants a positive number. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01
  return bytes.toString('hex')
}
