/** What TLS needs: the server's certificate, the CAs that client certificates are verified against, ticket keys. */

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import type { TlsOptions } from 'node:tls'

import { randomBytes } from '../crypto/random.ts'
import { readCas, readPem, readSystemCas, TlsFileError } from '../pem.ts'

/** Paths of PEM files. */
export interface TlsFiles {
  readonly key: string
  readonly cert: string
  /** Of an encrypted key. */
  readonly password: string
  /** Verify client certificates: chain, dates, usage. */
  readonly auth: boolean
  /** File or directory; '' for the operating system's CAs. */
  readonly ca: string
}

/** @throws TlsFileError */
export function tlsOptions(files: TlsFiles, address: string): TlsOptions {
  const key = readPem(files.key, 'tls.key')
  const cert = readPem(files.cert, 'tls.cert')
  checkPair(files, key, cert)
  const ca = files.auth ? clientCas(files.ca) : []
  return {
    key,
    cert,
    ...(files.password !== '' && { passphrase: files.password }),
    // Node's own list of CAs is never used for clients: an empty one keeps it away.
    ca,
    // Whether a certificate is demanded, and is good, is decided after the handshake: some routes do without.
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: 10_000,
    ticketKeys: newTicketKeys(),
    // A session made under other rules must not be resumed under these.
    sessionIdContext: createHash('sha256')
      .update(JSON.stringify([address, files.auth, ca]))
      .digest('hex')
      .slice(0, 32),
  }
}

/** To be replaced hourly: a session can be resumed for as long as its ticket's key lives. */
export function newTicketKeys(): Buffer {
  return randomBytes(48)
}

function checkPair(
  { key: keyPath, cert: certPath, password }: TlsFiles,
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
  if (path !== '') return readCas(path)
  const cas = readSystemCas()
  if (cas.length > 0) return cas
  throw new TlsFileError(
    'tls.auth: on needs CA certificates, and this system has none in the usual places; set tls.ca',
  )
}
