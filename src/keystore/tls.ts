/** TLS towards a keystore's service: whom we trust, and the certificate that we show. Files are read once. */

import { createPrivateKey } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'

import type { ClientTlsFiles } from '../fields.ts'
import { parseCertificate, readCas, readPem, readSystemCas, TlsFileError } from '../pem.ts'
import { KeyStoreError } from './keystore.ts'

/** @throws KeyStoreError `failed`, which names the file and the field */
export function clientTls({ ca, cert = '', key = '' }: ClientTlsFiles): SecureContext {
  try {
    const cas = ca === '' ? readSystemCas() : readCas(ca)
    for (const pem of ca === '' ? [] : cas) parseCertificate(pem, `tls.ca: '${ca}'`)
    return createSecureContext({
      minVersion: 'TLSv1.2',
      // Node's own list, where the system has none.
      ...(cas.length > 0 && { ca: cas }),
      ...(cert !== '' && readPair(cert, key)),
    })
  } catch (error) {
    if (!(error instanceof TlsFileError)) throw error
    throw new KeyStoreError('failed', error.message, { cause: error })
  }
}

function readPair(certPath: string, keyPath: string): { cert: string; key: string } {
  const cert = readPem(certPath, 'tls.cert')
  const key = readPem(keyPath, 'tls.key')
  const certificate = parseCertificate(cert, `tls.cert: '${certPath}'`)
  let matches: boolean
  try {
    matches = certificate.checkPrivateKey(createPrivateKey(key))
  } catch (error) {
    throw new TlsFileError(`tls.key: '${keyPath}' is not a PEM private key without a password`, {
      cause: error,
    })
  }
  if (matches) return { cert, key }
  throw new TlsFileError(`tls.key: '${keyPath}' does not belong to the certificate '${certPath}'`)
}
