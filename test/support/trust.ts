/**
 * Makes this process, and those it starts, trust the certificate of our fakes where a vendor's client has no option for
 * that. gRPC looks where to find its roots when it is loaded, so this module comes before it, and imports nothing that
 * could hold it up.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Certificate } from './certificates.ts'

const directory = mkdtempSync(join(tmpdir(), 'kes-test-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const ca = join(directory, 'ca.pem')
process.env['GRPC_DEFAULT_SSL_ROOTS_FILE_PATH'] = ca

/** What the fakes are called; those below azure.test are found on loopback. */
export const NAMES = ['localhost', 'keys.test', 'my-vault.vault.azure.test', 'login.azure.test']

let made: Promise<Certificate> | undefined

/** Of 127.0.0.1, and of the names. */
export function trustedCertificate(): Promise<Certificate> {
  made ??= (async () => {
    const { certificate } = await import('./certificates.ts')
    const issuer = await certificate({ subject: 'the CA of the fakes', ca: true })
    writeFileSync(ca, issuer.cert)
    process.env['KES_TEST_CA'] = ca
    process.env['NODE_OPTIONS'] = `--import=${new URL('./trusting.js', import.meta.url).href}`
    await import('./trusting.ts')
    return certificate({ subject: 'localhost', issuer, dns: NAMES, ip: ['127.0.0.1'] })
  })()
  return made
}
