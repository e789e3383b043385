/**
 * Who sends a request that is signed with an access key (rustfs-kms-admin.md, 1). Stricter than RustFS: header signatures
 * only, what identifies the request must be signed, and the body must be the one that was signed.
 */

import { createHash, timingSafeEqual } from 'node:crypto'

import { type Identity, signerIdentity } from '../crypto/identity.ts'
import { randomBytes } from '../crypto/random.ts'
import {
  ALGORITHM,
  type Authorization,
  parseAmzDate,
  parseAuthorization,
  type Signable,
  SigningSecret,
} from '../crypto/sigv4.ts'
import { KesError } from '../errors.ts'
import type { Secret } from '../fields.ts'

/** Milliseconds that a client's clock may differ from ours. */
export const MAX_SKEW = 900_000

const SERVICES = new Set(['s3', 'sts', 'execute-api'])
const CONTENT_DIGEST = 'x-amz-content-sha256'
const UNSIGNED = 'UNSIGNED-PAYLOAD'
/** Told to whoever is not known, and to whoever is known and has another secret. */
const UNKNOWN = 'the access key is unknown, or the signature is not right'

export interface Credential {
  readonly accessKey: string
  readonly secret: Secret
  /** Name of a policy; `admin` may do everything. */
  readonly policy: string
}

export interface Signer {
  readonly identity: Identity
  readonly policy: string
}

export interface SignedRequest extends Signable {
  /** Nobody between the client and us can read or change it. */
  readonly isPrivate: boolean
}

/** A request whose head is right: as far as it can be said without the body. */
export interface Claim {
  readonly signer: Signer
  readonly signature: string
  /** Milliseconds since 1970. */
  readonly signedAt: number
  /** Nothing says that the body is the client's. */
  readonly isBodyUnsigned: boolean
  /** Who it is, is certain; else only `checkBody` can tell. */
  readonly isVerified: boolean
  /** @throws KesError NOT_SIGNED, BAD_REQUEST when it is not the body that was signed */
  checkBody(body: Buffer): void
}

interface Known {
  readonly signer: Signer
  readonly secret: SigningSecret
}

/** All of them throw KesError NOT_SIGNED, or BAD_REQUEST for what no signature can make right. */
export class Signers {
  readonly #known: ReadonlyMap<string, Known>
  /** Stands in for access keys that nobody has, so that they take as long as others. */
  readonly #nobody: Known = {
    signer: { identity: signerIdentity('-'), policy: '' },
    secret: new SigningSecret(randomBytes(32).toString('hex')),
  }

  constructor(credentials: readonly Credential[]) {
    this.#known = new Map(
      credentials.map(({ accessKey, secret, policy }) => [
        accessKey,
        {
          signer: { identity: signerIdentity(accessKey), policy },
          secret: new SigningSecret(secret.reveal()),
        },
      ]),
    )
  }

  /** @param now milliseconds since 1970 */
  identify(request: SignedRequest, now: number): Claim {
    const authorization = authorizationOf(request)
    const { accessKey, signature, signedHeaders, date, service } = authorization
    if (!SERVICES.has(service))
      throw refused(`the credential scope names the service ${service}; use s3, sts or execute-api`)
    const time = only(request, 'x-amz-date')
    if (time === undefined) throw bad('x-amz-date is missing')
    const signedAt = parseAmzDate(time)
    if (signedAt === undefined) throw bad('x-amz-date is not like 20260131T235959Z')
    if (!time.startsWith(date))
      throw refused('x-amz-date is of another day than the credential scope')
    if (Math.abs(now - signedAt) > MAX_SKEW) throw refused('request time too skewed')
    const payload = payloadOf(request, service)
    const needed = ['host', 'x-amz-date', ...(payload === undefined ? [] : [CONTENT_DIGEST])]
    for (const name of needed)
      if (!signedHeaders.includes(name)) throw refused(`the header ${name} must be signed`)
    for (const name of signedHeaders)
      if (request.headerValues(name).length === 0)
        throw refused('a signed header is missing from the request')
    const known = this.#known.get(accessKey)
    const { signer, secret } = known ?? this.#nobody
    const verify = (digest: string): void => {
      const isRight = secret.signed(request, authorization, time, digest)
      if (!isRight || known === undefined) throw refused(UNKNOWN)
    }
    if (payload !== undefined) verify(payload)
    return {
      signer,
      signature,
      signedAt,
      isBodyUnsigned: payload === UNSIGNED,
      isVerified: payload !== undefined,
      checkBody: (body) => {
        if (payload === UNSIGNED) return
        const digest = createHash('sha256').update(body).digest()
        if (payload === undefined) verify(digest.toString('hex'))
        else if (!timingSafeEqual(digest, Buffer.from(payload, 'hex')))
          throw bad(`the body is not the one that ${CONTENT_DIGEST} is of`)
      },
    }
  }
}

function authorizationOf(request: SignedRequest): Authorization {
  if (/[?&]x-amz-(?:signature|credential|algorithm)=/i.test(request.target))
    throw refused('presigned requests are not accepted: sign the headers')
  const headers = request.headerValues('authorization')
  const [header] = headers
  if (header === undefined) throw refused('authentication required')
  if (!header.startsWith(`${ALGORITHM} `))
    throw refused(`authentication required: sign the request with ${ALGORITHM} in one header`)
  const authorization = headers.length === 1 ? parseAuthorization(header) : undefined
  if (authorization === undefined) throw bad('the Authorization header is malformed')
  if (request.headerValues('x-amz-security-token').length > 0)
    throw refused('session tokens are not accepted: use an access key of the config')
  return authorization
}

/** What is signed for the body; undefined: its digest, which the request does not name. */
function payloadOf(request: SignedRequest, service: string): string | undefined {
  const payload = only(request, CONTENT_DIGEST)
  if (payload === undefined) {
    if (service === 's3') throw bad(`${CONTENT_DIGEST} is missing`)
    return undefined
  }
  if (payload === UNSIGNED && !request.isPrivate)
    throw bad(`${UNSIGNED} is accepted over TLS only: sign the digest of the body`)
  if (payload.startsWith('STREAMING-'))
    throw new KesError('NOT_IMPLEMENTED', {
      message: 'streaming signatures are not implemented: sign the digest of the body',
    })
  if (payload !== UNSIGNED && !/^[0-9a-f]{64}$/i.test(payload))
    throw bad(`${CONTENT_DIGEST} is not a SHA-256 digest in hex`)
  return payload
}

/** The value of a header that may come once. */
function only(request: SignedRequest, name: string): string | undefined {
  const values = request.headerValues(name)
  if (values.length > 1) throw bad(`the header ${name} came more than once`)
  return values[0]
}

export function refused(message: string): KesError {
  return new KesError('NOT_SIGNED', { message, headers: { 'www-authenticate': ALGORITHM } })
}

function bad(message: string): KesError {
  return new KesError('BAD_REQUEST', { message })
}
