/**
 * Who is at the other end of a connection: the identity of its client certificate, and only of the first one, whose
 * key the client has proved to hold (kes-api.md 1). The Go server takes the first certificate that is no CA's,
 * so that a client can append somebody else's and act as them; this one never looks at another.
 */

import { clientFault } from '../crypto/chain.ts'
import { DerError, readCertificate } from '../crypto/der.ts'
import { type Identity, identityOf } from '../crypto/identity.ts'

export interface Peer {
  readonly identity: Identity
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  /** Its key may be used by a TLS client. */
  readonly clientAuth: boolean
}

/** Certificates, and bytes of one, that are remembered. */
const MOST_KNOWN = 500
const LONGEST_KNOWN = 2048
/** By the certificate's bytes: clients that open many connections come with the same one. */
const known = new Map<string, Peer>()

/**
 * The peer of a client certificate; undefined when it is no client's: a CA's (by basicConstraints, whatever
 * its key usage), or not a readable certificate.
 *
 * @param der the certificate that the client proved to hold the key of
 */
export function peerOf(der: Buffer): Peer | undefined {
  if (der.length > LONGEST_KNOWN) return read(der)
  const bytes = der.toString('latin1')
  let peer = known.get(bytes)
  if (peer === undefined) {
    peer = read(der)
    if (known.size >= MOST_KNOWN) known.clear()
    if (peer !== undefined) known.set(bytes, peer)
  }
  return peer
}

function read(der: Buffer): Peer | undefined {
  try {
    const { publicKey, notBefore, notAfter, isCa, clientAuth } = readCertificate(der)
    return isCa ? undefined : { identity: identityOf(publicKey), notBefore, notAfter, clientAuth }
  } catch (error) {
    if (error instanceof DerError) return undefined
    throw error
  }
}

/** Why a certificate is not good now, where `tls.auth: on` asks for it; undefined when it is. */
export function certificateFault(peer: Peer, now: number): string | undefined {
  const fault = clientFault(peer, now)
  return fault === undefined ? undefined : `the certificate ${fault}`
}
