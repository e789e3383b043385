/** Identities, which are hashes of public keys, and API keys, which are private ones (formats.md). */

import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'

import { decodeBase64 } from '../json.ts'
import { randomBytes } from './random.ts'

/** Lower-case hex SHA-256 of a SubjectPublicKeyInfo: 64 digits; of who signs with an access key, `rustfs:<access key>`. */
export type Identity = string & { readonly __brand: 'Identity' }

/** The identity of a public key. @param spki DER of its SubjectPublicKeyInfo */
export function identityOf(spki: Uint8Array): Identity {
  return createHash('sha256').update(spki).digest('hex') as Identity
}

/** The identity of who signs requests with an access key; no certificate has it. */
export function signerIdentity(accessKey: string): Identity {
  return `rustfs:${accessKey}` as Identity
}

export function parseIdentity(text: string): Identity | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (text as Identity) : undefined
}

const PREFIX = 'kes:v1:'
const ED25519 = 0x00
const SEED_SIZE = 32
// The PKCS #8 shell of an Ed25519 private key (RFC 8410, 7); the seed follows.
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** An Ed25519 private key in KES's text form, `kes:v1:` ‖ base64(0x00 ‖ seed). */
export class ApiKey {
  readonly identity: Identity
  readonly #seed: Buffer

  private constructor(seed: Buffer) {
    this.#seed = seed
    const spki = createPublicKey(this.privateKey()).export({ type: 'spki', format: 'der' })
    this.identity = identityOf(spki)
  }

  static generate(): ApiKey {
    return new ApiKey(randomBytes(SEED_SIZE))
  }

  /** The prefix may be missing. @returns undefined for anything else than an API key. */
  static parse(text: string): ApiKey | undefined {
    const bytes = decodeBase64(text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text)
    if (bytes?.length !== 1 + SEED_SIZE || bytes[0] !== ED25519) return undefined
    return new ApiKey(bytes.subarray(1))
  }

  privateKey(): KeyObject {
    const key = Buffer.concat([PKCS8, this.#seed])
    const object = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    key.fill(0)
    return object
  }

  /** The secret itself, for the one time that it is shown. */
  reveal(): string {
    return PREFIX + Buffer.concat([Buffer.of(ED25519), this.#seed]).toString('base64')
  }
}

/** Whether a text is an API key, or was meant to be: a secret, not to be repeated. */
export function isApiKey(text: string): boolean {
  return text.startsWith('kes:') || ApiKey.parse(text) !== undefined
}
