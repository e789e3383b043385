/** What TLS towards the servers is made with: whom we trust, and the certificate that we show. */

import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'

import { certificateOf } from '../crypto/certificate.ts'
import { ApiKey } from '../crypto/identity.ts'
import { readSystemCas, TlsFileError } from '../pem.ts'
import { KesClientError } from './errors.ts'
import type { CertificateAndKey, Pem, Settings } from './options.ts'

/** The certificate of an API key is valid for 90 days; long before that it is made anew. */
const CERTIFICATE_USE = 30 * 24 * 3_600_000

/** `given`: the CAs of the options, else those that Node trusts. `system`: those of the operating system. */
export type Trust = 'given' | 'system'

/** Parsing PEM takes longer than a handshake: it is done once for all connections. */
export class Contexts {
  readonly #settings: Settings
  readonly #made = new Map<Trust, { context: Promise<SecureContext>; until: number }>()

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** @throws KesClientError BAD_OPTIONS */
  get(trust: Trust): Promise<SecureContext> {
    const made = this.#made.get(trust)
    if (made !== undefined && Date.now() < made.until) return made.context
    const context = this.#make(trust)
    this.#made.set(trust, { context, until: Date.now() + CERTIFICATE_USE })
    context.catch(() => this.#made.delete(trust))
    return context
  }

  /** Whether there is somebody else to trust: where no CA was given, and the system has some. */
  get hasOther(): boolean {
    const { ca, insecure } = this.#settings
    return ca === undefined && !insecure && systemCas().length > 0
  }

  async #make(trust: Trust): Promise<SecureContext> {
    const pair = await this.#certificate()
    try {
      const { ca } = this.#settings
      const given = ca === undefined ? undefined : list(ca).flatMap(certificatesOf)
      const cas = trust === 'system' ? systemCas() : given
      return createSecureContext({
        minVersion: 'TLSv1.2',
        ...(cas !== undefined && { ca: cas }),
        ...(pair !== undefined && { cert: text(pair.cert), key: text(pair.key) }),
        ...(pair?.passphrase !== undefined && { passphrase: pair.passphrase }),
      })
    } catch (cause) {
      const said = (cause as Error).message
      throw new KesClientError('BAD_OPTIONS', '', `cert, key, passphrase or ca: ${said}`, { cause })
    }
  }

  async #certificate(): Promise<CertificateAndKey | undefined> {
    const { credentials } = this.#settings
    if (!(credentials instanceof ApiKey)) return credentials
    const { certificate, privateKey } = await certificateOf(credentials)
    return { cert: certificate, key: privateKey, passphrase: undefined }
  }
}

/** None where they cannot be read: then only Node's count. */
function systemCas(): string[] {
  try {
    return readSystemCas()
  } catch (error) {
    if (error instanceof TlsFileError) return []
    throw error
  }
}

function list(pems: Pem | readonly Pem[]): readonly Pem[] {
  return typeof pems === 'string' || pems instanceof Uint8Array ? [pems] : pems
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Node passes over what is no certificate, and then trusts nobody without saying why. @throws Error */
function certificatesOf(pem: Pem): string[] {
  const blocks = text(pem).match(CERTIFICATE) ?? []
  if (blocks.length === 0) throw new Error('ca has no PEM certificate')
  return blocks.map((block) => new X509Certificate(block).toString())
}

function text(pem: Pem): string {
  return typeof pem === 'string' ? pem : Buffer.from(pem).toString()
}
