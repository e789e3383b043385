/** What the server is told to be: a config file, checked and made whole. */

import type { Generation } from '../auth/policy.ts'
import type { Identity } from '../crypto/identity.ts'
import type { Address, Secret } from '../fields.ts'
import type { CacheExpiry } from '../keys/cache.ts'
import type { KeyStoreKind } from '../keystore/keystore.ts'
import type { LogFormat } from '../telemetry/log.ts'

export interface PolicyConfig {
  readonly name: string
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  readonly identities: readonly Identity[]
  /** What the rules are written in. */
  readonly language: Generation
  /** How its identities are answered, where the file says. */
  readonly generation: Generation | undefined
}

export interface TlsConfig {
  /** Path of a PEM file, as is `cert`. */
  readonly key: string
  readonly cert: string
  /** Of an encrypted key. */
  readonly password: string
  /** Verify client certificates: chain, dates, usage. */
  readonly auth: boolean
  /** File or directory; '' for the operating system's CAs. */
  readonly ca: string
  readonly proxy: {
    /** None of them is the admin, or has a policy. */
    readonly identities: readonly Identity[]
    /** Name of the header with a client's certificate. */
    readonly header: string
    /** May the admin come through a proxy? */
    readonly admin: boolean
  }
}

export interface RustfsConfig {
  readonly address: Address
  readonly credentials: readonly {
    readonly accessKey: string
    readonly secret: Secret
    /** Of one of the policies; `admin` may do everything. */
    readonly policy: string
  }[]
  /** What runs from the start: a body of POST /kms/configure. */
  readonly start: Secret | undefined
  /** What may be named over the API. Paths are '' where there is none. */
  readonly backends: {
    readonly vault: readonly string[]
    readonly secretFiles: string
    /** CAs of these Vaults, and of those that `start` names. */
    readonly ca: string
  }
  readonly keyRoot: string
  readonly state: string
}

export interface KeyConfig {
  readonly name: string
  /** Milliseconds after which the newest version is too old; 0 = never. */
  readonly rotateEvery: number
}

/** When requests are refused; 0 = never for this reason. */
export interface OverloadConfig {
  /** Requests that are being worked on. */
  readonly inFlight: number
  /** Milliseconds that requests have waited for others. */
  readonly delay: number
}

/** All times in milliseconds. */
export interface Config {
  readonly address: Address
  /** Undefined when switched off. */
  readonly admin: Identity | undefined
  readonly tls: TlsConfig
  readonly api: ReadonlyMap<
    string,
    { readonly skipAuth: boolean; readonly timeout: number | undefined }
  >
  readonly policies: readonly PolicyConfig[]
  /** How callers are answered whose policy does not say. */
  readonly generation: Generation
  readonly cache: CacheExpiry
  readonly log: { readonly threshold: number; readonly audit: boolean; readonly format: LogFormat }
  /** Keys to create if absent. */
  readonly keys: readonly KeyConfig[]
  /** Days that a deletion waits for; 0: it is done at once. */
  readonly deletionWindow: number
  readonly http: 'node' | 'lean'
  readonly overload: OverloadConfig
  /** Undefined when it is off. */
  readonly rustfs: RustfsConfig | undefined
  readonly keystore: { readonly kind: KeyStoreKind; readonly settings: unknown }
}

/** What the command line says instead of the file. */
export interface Overrides {
  readonly address?: string | undefined
  readonly key?: string | undefined
  readonly cert?: string | undefined
  readonly auth?: boolean | undefined
}

export interface LoadOptions {
  readonly overrides?: Overrides
  /** Unknown fields are warnings. */
  readonly lenient?: boolean
  readonly env?: Readonly<Record<string, string | undefined>>
}
