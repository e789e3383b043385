/** PEM files with certificates and keys, and where operating systems keep their CAs. */

import { X509Certificate } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Where operating systems keep their CAs. */
const SYSTEM_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
]

/** A file that cannot be used; the message is for the operator. */
export class TlsFileError extends Error {
  override readonly name = 'TlsFileError'
}

/** @param field of the config that names the file. @throws TlsFileError */
export function readPem(path: string, field: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new TlsFileError(`${field}: cannot read '${path}': ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** @param what the file, and the field of the config that names it. @throws TlsFileError */
export function parseCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new TlsFileError(`${what} has a damaged certificate`, { cause: error })
  }
}

/**
 * The CA certificates of a file, or of every file in a directory.
 *
 * @param field that names it. @throws TlsFileError when there are none.
 */
export function readCas(path: string, field = 'tls.ca'): string[] {
  const cas = certificatesIn([path], field)
  if (cas.length > 0) return cas
  throw new TlsFileError(`${field}: '${path}' has no CA certificate`)
}

/** The operating system's CA certificates. @throws TlsFileError */
export function readSystemCas(): string[] {
  return certificatesIn(systemCaPlaces(), 'tls.ca')
}

/** Files and directories; OpenSSL's variables come first, as the Go server has it. */
export function systemCaPlaces(): string[] {
  const { SSL_CERT_FILE: file = '', SSL_CERT_DIR: directories = '' } = process.env
  const files = file === '' ? SYSTEM_FILES.filter((path) => existsSync(path)).slice(0, 1) : [file]
  return [...files, ...directories.split(':').filter((path) => path !== '' && existsSync(path))]
}

/** The certificates of files and directories, each once, always in the same order. @throws TlsFileError */
export function certificatesIn(places: readonly string[], field: string): string[] {
  const found = new Set<string>()
  for (const file of places.flatMap(filesIn)) {
    const text = readPem(file, field)
    const pems = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
    // A file that is still being written must not pass for one with fewer CAs.
    if (pems.length < (text.match(/-----BEGIN CERTIFICATE-----/g) ?? []).length)
      throw new TlsFileError(`${field}: '${file}' has a certificate that is cut off`)
    for (const pem of pems) found.add(pem)
  }
  return [...found]
}

/** The file itself, or those of the directory. */
function filesIn(place: string): string[] {
  if (statSync(place, { throwIfNoEntry: false })?.isDirectory() !== true) return [place]
  return readdirSync(place)
    .sort()
    .map((name) => join(place, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
}
