/** PEM files with certificates and keys, and where operating systems keep their CAs. Certificates are not judged here. */

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

/** The CA certificates of a file, or of every file in a directory. @throws TlsFileError when there are none. */
export function readCas(path: string): string[] {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory()
  const cas = certificatesIn(isDirectory ? filesIn(path) : [path])
  if (cas.length > 0) return cas
  throw new TlsFileError(`tls.ca: '${path}' has no CA certificate`)
}

/** The operating system's CA certificates; OpenSSL's variables come first, as the Go server has it. */
export function readSystemCas(): string[] {
  const { SSL_CERT_FILE: file, SSL_CERT_DIR: directories } = process.env
  const files =
    file !== undefined && file !== ''
      ? [file]
      : SYSTEM_FILES.filter((path) => existsSync(path)).slice(0, 1)
  const more = (directories ?? '').split(':').filter((path) => path !== '' && existsSync(path))
  return certificatesIn([...files, ...more.flatMap(filesIn)])
}

function certificatesIn(files: readonly string[]): string[] {
  const pattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
  return files.flatMap((file) => [...new Set(readPem(file, 'tls.ca').match(pattern))])
}

function filesIn(directory: string): string[] {
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
}
