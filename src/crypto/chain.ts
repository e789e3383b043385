/**
 * Whether configured CAs vouch for a client certificate that came by another way than a TLS handshake: path
 * validation after RFC 5280, 6, meant to reach OpenSSL's verdicts on handshakes with the same certificate. Every CA of
 * a path must be configured, up to a self-signed one. No revocation lists, and no names: name constraints are refused.
 */

import { type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'

import { type CertificateFacts, readCertificate } from './der.ts'

/** Milliseconds since 1970. */
export interface Validity {
  readonly notBefore: number
  readonly notAfter: number
}

/** Between when a path is good; or why there is none, for the log. */
export type Verdict = Validity | { readonly fault: string }

interface Ca {
  readonly certificate: X509Certificate
  readonly facts: CertificateFacts
  readonly publicKey: KeyObject
  /** Self-signed. */
  readonly isRoot: boolean
  /** Has the name of its issuer, so that it does not count for path lengths. */
  readonly isSelfIssued: boolean
  readonly weakness: string | undefined
}

/** Signatures that are looked at for one certificate. CAs that certify each other have more paths than that. */
const MAX_SIGNATURES = 100

export class TrustedCas {
  readonly #pems: readonly string[]
  /** Read at first use: those of an operating system take a while, and most servers never ask. */
  #read: readonly Ca[] | undefined

  /** @param pems a certificate each; one that cannot be read vouches for nobody. */
  constructor(pems: readonly string[]) {
    this.#pems = pems
  }

  get #cas(): readonly Ca[] {
    this.#read ??= this.#pems.flatMap((pem) => readCa(pem) ?? [])
    return this.#read
  }

  /** @throws DerError for a certificate that cannot be read. @param now milliseconds since 1970 */
  judge(leaf: X509Certificate, now: number): Verdict {
    const facts = readCertificate(leaf.raw)
    const fault = leafFault(facts, now)
    if (fault !== undefined) return { fault: `the certificate ${fault}` }
    const path = this.#isPinned(leaf) ? facts : new Search(this.#cas, now).above(leaf, [])
    if ('fault' in path) return path
    // Last: it is dear, and so only for certificates of our CAs.
    const weakness = weaknessOf(leaf)
    return weakness === undefined
      ? intersection(path, facts)
      : { fault: `the certificate ${weakness}` }
  }

  /** A self-signed certificate among the CAs needs nobody else to vouch for it. */
  #isPinned({ raw }: X509Certificate): boolean {
    return this.#cas.some(({ certificate, isRoot }) => isRoot && certificate.raw.equals(raw))
  }
}

/** Depth first through the CAs that may have issued a certificate. */
class Search {
  readonly #cas: readonly Ca[]
  readonly #now: number
  #signatures = 0

  constructor(cas: readonly Ca[], now: number) {
    this.#cas = cas
    this.#now = now
  }

  /** @param below the CAs between the leaf and what is above `child`; none is asked twice in one path. */
  above(child: X509Certificate, below: readonly Ca[]): Verdict {
    let fault =
      below.length === 0
        ? 'no CA of tls.ca has issued the certificate'
        : 'tls.ca lacks the CA that issued the CA of the certificate'
    for (const ca of this.#cas) {
      // Names, key identifiers, keyCertSign; not the signature.
      if (below.includes(ca) || !child.checkIssued(ca.certificate)) continue
      const path = this.#through(ca, child, below)
      if (!('fault' in path)) return path
      fault = path.fault
    }
    return { fault }
  }

  #through(ca: Ca, child: X509Certificate, below: readonly Ca[]): Verdict {
    if (++this.#signatures > MAX_SIGNATURES) return { fault: 'the CAs of tls.ca form a maze' }
    if (!child.verify(ca.publicKey)) return { fault: 'the signature is not that of the named CA' }
    const fault = caFault(ca, this.#now, below)
    if (fault !== undefined) return { fault: `a CA of the certificate ${fault}` }
    if (ca.isRoot) return ca.facts
    const rest = this.above(ca.certificate, [...below, ca])
    return 'fault' in rest ? rest : intersection(rest, ca.facts)
  }
}

/** What dates and usages say against a certificate in TLS, of a client or above it. */
export function clientFault(
  { notBefore, notAfter, clientAuth }: Validity & Pick<CertificateFacts, 'clientAuth'>,
  now: number,
): string | undefined {
  if (now < notBefore) return 'is not valid yet'
  if (now > notAfter) return 'has expired'
  if (!clientAuth) return 'is not for TLS clients (extended key usage clientAuth)'
  return undefined
}

function leafFault(facts: CertificateFacts, now: number): string | undefined {
  if (facts.isCa) return 'is a CA’s'
  if (!facts.handshake) return 'is not for TLS (key usage digitalSignature)'
  return clientFault(facts, now) ?? limitFault(facts)
}

function caFault({ facts, weakness }: Ca, now: number, below: readonly Ca[]): string | undefined {
  if (!facts.isCa) return 'is none (basicConstraints CA:TRUE)'
  if (below.filter(({ isSelfIssued }) => !isSelfIssued).length > facts.pathLength)
    return 'may not have so many others below it (pathLenConstraint)'
  return clientFault(facts, now) ?? limitFault(facts) ?? weakness
}

function limitFault({ hasOtherLimits }: CertificateFacts): string | undefined {
  return hasOtherLimits
    ? 'has name constraints, or a critical extension that is not known'
    : undefined
}

/** OpenSSL's own opinion on the key's size and the signature's digest, at the security level that TLS has here. */
function weaknessOf(certificate: X509Certificate): string | undefined {
  try {
    // Without a list of CAs Node would load its own.
    createSecureContext({ cert: certificate.toString(), ca: [] })
    return undefined
  } catch (error) {
    return `is too weak: ${(error as Error).message}`
  }
}

function readCa(pem: string): Ca | undefined {
  try {
    const certificate = new X509Certificate(pem)
    const { publicKey, subject, issuer } = certificate
    return {
      certificate,
      facts: readCertificate(certificate.raw),
      publicKey,
      isRoot: subject === issuer && certificate.verify(publicKey),
      isSelfIssued: subject === issuer,
      weakness: weaknessOf(certificate),
    }
  } catch {
    return undefined
  }
}

function intersection(one: Validity, other: Validity): Validity {
  return {
    notBefore: Math.max(one.notBefore, other.notBefore),
    notAfter: Math.min(one.notAfter, other.notAfter),
  }
}
