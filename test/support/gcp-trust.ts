/**
 * Makes gRPC of this process, and of those it starts, trust the certificate of our fakes. gRPC looks where to find its
 * roots when it is loaded, so this module comes before it, and imports nothing that could hold it up.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Certificate } from './certificates.ts'

const directory = mkdtempSync(join(tmpdir(), 'kes-test-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const roots = join(directory, 'roots.pem')
process.env['GRPC_DEFAULT_SSL_ROOTS_FILE_PATH'] = roots

let made: Promise<Certificate> | undefined

/** Of localhost and 127.0.0.1. */
export function trustedCertificate(): Promise<Certificate> {
  made ??= (async () => {
    const { certificate } = await import('./certificates.ts')
    const issuer = await certificate({ subject: 'the CA of the fakes', ca: true })
    writeFileSync(roots, issuer.cert)
    return certificate({ subject: 'localhost', issuer, dns: ['localhost'], ip: ['127.0.0.1'] })
  })()
  return made
}
