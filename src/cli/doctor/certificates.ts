/** The server's certificate as its clients will judge it, and how it judges theirs. */

import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import { isIP } from 'node:net'

import type { Config, TlsConfig } from '../../config/config.ts'
import { readCertificate } from '../../crypto/der.ts'
import { certificatesIn, TlsFileError } from '../../pem.ts'
import { loadTls, type Tls } from '../../server/tls.ts'
import { span } from '../figures.ts'
import { isEverywhere } from '../host.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const DAY = 24 * 3_600_000
/** Later than that nobody needs to think of the next certificate. */
const SOON = 30 * DAY
/** RFC 5280, 4.2.1.12. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const ANY_USAGE = '2.5.29.37.0'

/** @param now milliseconds since 1970 */
export function* examineCertificates(
  config: Pick<Config, 'tls' | 'address'>,
  now: number,
): Generator<Finding> {
  let tls: Tls
  let chain: readonly X509Certificate[]
  try {
    tls = loadTls(config)
    chain = certificatesIn([config.tls.cert], 'tls.cert').map((pem) => new X509Certificate(pem))
  } catch (error) {
    if (!(error instanceof TlsFileError)) throw error
    yield fail('tls', error.message)
    return
  }
  yield* examineKeyFile(config.tls)
  const [leaf, ...others] = chain
  if (leaf !== undefined) {
    yield* examineDates(leaf, now)
    yield* examineUsage(leaf)
    yield* examineChain(leaf, others)
    yield examineNames(leaf, config.address.host)
  }
  yield* examineClientAuth(config.tls, tls.cas, now)
}

function* examineKeyFile({ key }: TlsConfig): Generator<Finding> {
  const { mode } = statSync(key)
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    yield warn('tls.key', `'${key}' may be read by other users of this machine`, `chmod 600 ${key}`)
}

function* examineDates(leaf: X509Certificate, now: number): Generator<Finding> {
  const { notBefore, notAfter } = readCertificate(leaf.raw)
  const renew = 'replace key and certificate; the server takes changed files without a restart'
  const left = span(Math.abs(notAfter - now) / 1000)
  if (now > notAfter) yield fail('tls.cert', `expired ${left} ago`, renew)
  else if (now < notBefore)
    yield fail(
      'tls.cert',
      `is valid from ${new Date(notBefore).toISOString()} on only`,
      'check the clock of this machine, and whether it is the right certificate',
    )
  else if (notAfter - now < Math.min(SOON, (notAfter - notBefore) / 3))
    yield warn('tls.cert', `expires in ${left}`, renew)
  else yield ok('tls.cert', `is valid for another ${left}`)
}

function* examineUsage(leaf: X509Certificate): Generator<Finding> {
  // Node calls the extended key usages so.
  const { keyUsage: usages } = leaf as { keyUsage?: readonly string[] }
  if (usages === undefined || usages.includes(SERVER_AUTH) || usages.includes(ANY_USAGE)) return
  yield fail(
    'tls.cert',
    'is not for servers: its extended key usage lacks serverAuth, so clients refuse it',
    'make one with serverAuth, as kes identity new does',
  )
}

/** A file has the certificate first, and behind each the one of its issuer. */
function* examineChain(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
): Generator<Finding> {
  let child = leaf
  for (const issuer of others) {
    if (!child.checkIssued(issuer) || !child.verify(issuer.publicKey)) {
      yield fail(
        'tls.cert',
        `the chain is broken: '${line(issuer.subject)}' has not issued '${line(child.subject)}', which stands before it`,
        'put the server’s certificate first, then its issuer’s, then that one’s issuer’s',
      )
      return
    }
    child = issuer
  }
  const isSelfSigned = child.subject === child.issuer
  yield ok(
    'tls.cert',
    isSelfSigned && child === leaf
      ? 'is self-signed: clients are given this certificate to trust it'
      : `clients must trust the CA '${line(isSelfSigned ? child.subject : child.issuer)}'`,
  )
}

/** One line per attribute is how Node writes them. */
function line(name: string): string {
  return name.replaceAll('\n', ', ')
}

/** @param host that the server listens on; '' and the like are all addresses */
function examineNames(leaf: X509Certificate, host: string): Finding {
  const names = (leaf.subjectAltName ?? '').replace(/\b(?:DNS|IP Address):/g, '')
  const isNamed = isIP(host) > 0 ? leaf.checkIP(host) : leaf.checkHost(host)
  if (isEverywhere(host) || isNamed !== undefined) return ok('tls.cert', `is for ${names}`)
  return warn(
    'tls.cert',
    `is for ${names}, and not for ${host}, where the server listens`,
    'clients must use one of its names; else make one with: kes identity new --key KEY --cert CERT --dns NAME --ip ADDRESS',
  )
}

function* examineClientAuth(
  { auth, ca }: TlsConfig,
  cas: readonly string[],
  now: number,
): Generator<Finding> {
  const place = ca === '' ? 'the operating system’s CAs' : `'${ca}'`
  if (!auth) {
    yield warn(
      'tls.auth',
      'off: any well-formed client certificate is let in, also an expired one; policies alone decide what it may do',
      'to verify them, give every client a certificate of a CA, name the CA in tls.ca and set tls.auth: on; API keys are self-signed and do not work then',
    )
    return
  }
  const expired = cas.filter((pem) => readCertificate(new X509Certificate(pem).raw).notAfter < now)
  if (expired.length === cas.length)
    yield fail('tls.ca', `every CA of ${place} has expired, so no client is let in`, 'renew them')
  else yield ok('tls.auth', `on: client certificates are verified against ${place}`)
}
