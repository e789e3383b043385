/** What TLS needs: the server's certificate and key, the CAs of its clients, ticket keys. */

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext, type TlsOptions } from 'node:tls'

import type { Config, TlsConfig } from '../config/config.ts'
import { randomBytes } from '../crypto/random.ts'
import {
  parseCertificate,
  readCas,
  readPem,
  readSystemCas,
  systemCaPlaces,
  TlsFileError,
} from '../pem.ts'
import { HANDSHAKE_TIMEOUT } from '../wire/limits.ts'

/** As RFC 7301, 3.1 has them: Node would write a list in that way anew for each connection. */
const PROTOCOLS = Buffer.from('\x02h2\x08http/1.1')

/** Checked: nothing of it is refused when it is put to use. */
export interface Tls {
  /** Complete but for ticket keys. Equal for equal files and settings. */
  readonly options: TlsOptions
  /** `tls.auth: on`: client certificates must be good, not just there. */
  readonly verify: boolean
  /** PEM; none unless they are verified. */
  readonly cas: readonly string[]
  /** Stands for who is let in and by whom: address, verification, CAs. */
  readonly trust: string
  /** Stands for all of it, in every process: contents of files and settings. */
  readonly fingerprint: string
}

/** Reads the files anew. @throws TlsFileError */
export function loadTls({ tls: files, address }: Pick<Config, 'tls' | 'address'>): Tls {
  const key = readPem(files.key, 'tls.key')
  const cert = readPem(files.cert, 'tls.cert')
  checkPair(files, key, cert)
  const ca = files.auth ? clientCas(files.ca) : []
  const trust = hash([address, files.auth, ca]).slice(0, 32)
  const options: TlsOptions = {
    key,
    cert,
    ...(files.password !== '' && { passphrase: files.password }),
    // Node's own list of CAs is never used for clients: an empty one keeps it away.
    ca,
    // Whether a certificate is demanded, and is good, is decided after the handshake: some routes do without.
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: PROTOCOLS,
    handshakeTimeout: HANDSHAKE_TIMEOUT,
    // A session made under other rules must not be resumed under these.
    sessionIdContext: trust,
  }
  checkContext(files, options)
  const fingerprint = hash([trust, key, cert, files.password])
  return { options, verify: files.auth, cas: ca, trust, fingerprint }
}

/** Files and directories that `loadTls` reads. */
export function tlsPaths({ key, cert, auth, ca }: TlsConfig): readonly string[] {
  return [key, cert, ...(!auth ? [] : ca === '' ? systemCaPlaces() : [ca])]
}

/** Milliseconds after which ticket keys are replaced: a session can be resumed for as long as its ticket's key lives. */
export const TICKET_LIFETIME = 3_600_000

export function newTicketKeys(): Buffer {
  return randomBytes(48)
}

function hash(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function checkPair(
  { key: keyPath, cert: certPath, password }: TlsConfig,
  key: string,
  cert: string,
): void {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(cert)
  } catch (error) {
    throw new TlsFileError(`tls.cert: '${certPath}' is not a PEM certificate`, { cause: error })
  }
  let matches: boolean
  try {
    const privateKey = createPrivateKey({ key, ...(password !== '' && { passphrase: password }) })
    matches = certificate.checkPrivateKey(privateKey)
  } catch (error) {
    const what = key.includes('ENCRYPTED')
      ? 'needs another password: check tls.password'
      : 'is not a PEM private key'
    throw new TlsFileError(`tls.key: '${keyPath}' ${what}`, { cause: error })
  }
  if (!matches)
    throw new TlsFileError(`tls.key: '${keyPath}' does not belong to the certificate '${certPath}'`)
  if (certificate.subjectAltName === undefined) {
    throw new TlsFileError(
      `tls.cert: '${certPath}' has no subject alternative name (SAN), so no client accepts it; ` +
        `make one with: kes identity new --key KEY --cert CERT --dns NAME --ip ADDRESS`,
    )
  }
}

function clientCas(path: string): string[] {
  const cas = path === '' ? readSystemCas() : readCas(path)
  if (cas.length === 0) {
    throw new TlsFileError(
      'tls.auth: on needs CA certificates, and this system has none in the usual places; set tls.ca',
    )
  }
  // OpenSSL would leave a damaged one out without a word.
  for (const pem of cas) parseCertificate(pem, `tls.ca: '${path}'`)
  return cas
}

/** What OpenSSL does not like, it says here and not when the old options are gone: a weak key, a damaged chain. */
function checkContext({ cert }: TlsConfig, options: TlsOptions): void {
  try {
    createSecureContext(options)
  } catch (error) {
    throw new TlsFileError(`tls.cert: '${cert}' cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
