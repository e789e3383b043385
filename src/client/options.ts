/** What a client is made with, checked once. Paths of files are not its business: it takes their contents. */

import { ApiKey } from '../crypto/identity.ts'
import { KesClientError } from './errors.ts'

/** PEM. */
export type Pem = string | Uint8Array

export interface KesClientOptions {
  /**
   * Servers with the same keystore: `https://host:port`, `host:port` or `host`; scheme https and port 7373 unless
   * given. A list may also be one text with commas.
   */
  readonly endpoints: string | readonly string[]
  /** `kes:v1:…`. A certificate is made of it, as the Go SDK does. */
  readonly apiKey?: string | ApiKey | undefined
  /** Instead of an API key: PEM of the client's certificate (and of those between it and its CA) … */
  readonly cert?: Pem | undefined
  /** … and of its private key … */
  readonly key?: Pem | undefined
  /** … and that key's password, if it is encrypted. */
  readonly passphrase?: string | undefined
  /** PEM of the CAs that sign the servers' certificates; by default those that Node or the operating system trusts. */
  readonly ca?: Pem | readonly Pem[] | undefined
  /** Does not verify the server's certificate: whoever stands between reads every key. For trying out only. */
  readonly insecure?: boolean | undefined
  /** Milliseconds for a whole call, with all its attempts. Default 30,000. Log streams: until the answer begins. */
  readonly timeout?: number | undefined
  /**
   * Milliseconds after which a call that may be repeated is tried on another endpoint. Default 10,000. Without another
   * endpoint, and for calls that may not be repeated, only `timeout` counts.
   */
  readonly attemptTimeout?: number | undefined
  /** Milliseconds for TCP and TLS to connect. Default 5000. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds between the pings on an HTTP/2 connection that calls wait on; it is given up when one is unanswered
   * for as long. Default 5000.
   */
  readonly pingInterval?: number | undefined
  /** How often a call is repeated at most. Default 6, with pauses from 0.1 s growing to 2 s; 0: never. */
  readonly retries?: number | undefined
  /** Speaks only this. Default: what the server prefers. */
  readonly http?: 'h2' | 'h1' | undefined
  /** Sent as `Kes-Enclave` with each call, as the Go SDK does. */
  readonly enclave?: string | undefined
}

/** Where a server is. */
export interface Address {
  /** `https://host:port`; an IPv6 address stands in brackets. */
  readonly url: string
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

/** The options that connections and retries depend on, complete. */
export interface Settings {
  readonly ca: Pem | readonly Pem[] | undefined
  readonly credentials: ApiKey | CertificateAndKey | undefined
  readonly insecure: boolean
  readonly timeout: number
  readonly attemptTimeout: number
  readonly connectTimeout: number
  readonly pingInterval: number
  readonly retries: number
  readonly http: 'h2' | 'h1' | undefined
}

export interface CertificateAndKey {
  readonly cert: Pem
  readonly key: Pem
  readonly passphrase: string | undefined
}

/** @throws KesClientError BAD_OPTIONS */
export function settingsOf(options: KesClientOptions): Settings {
  const { enclave } = options
  if (enclave !== undefined && !/^[\x21-\x7e]+$/.test(enclave))
    throw badOption(`enclave is no name: '${enclave}'`)
  return {
    ca: options.ca,
    credentials: credentialsOf(options),
    insecure: options.insecure ?? false,
    timeout: millis('timeout', options.timeout ?? 30_000),
    attemptTimeout: millis('attemptTimeout', options.attemptTimeout ?? 10_000),
    connectTimeout: millis('connectTimeout', options.connectTimeout ?? 5000),
    pingInterval: millis('pingInterval', options.pingInterval ?? 5000),
    retries: whole('retries', options.retries ?? 6),
    http: options.http,
  }
}

function credentialsOf(options: KesClientOptions): Settings['credentials'] {
  const { apiKey, cert, key, passphrase } = options
  if (apiKey !== undefined) {
    if (cert !== undefined || key !== undefined)
      throw badOption('apiKey and cert/key exclude each other')
    const parsed = typeof apiKey === 'string' ? ApiKey.parse(apiKey) : apiKey
    // The text is a secret, or was meant to be one.
    if (parsed === undefined) throw badOption('apiKey is no API key: it looks like kes:v1:…')
    return parsed
  }
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined) throw badOption('key needs the certificate that belongs to it: cert')
  if (key === undefined) throw badOption('cert needs the private key that belongs to it: key')
  return { cert, key, passphrase }
}

const LONGEST_TIMER = 2 ** 31 - 1

export function millis(name: string, value: number): number {
  if (value > 0 && value <= LONGEST_TIMER) return value
  throw badOption(`${name} is not a number of milliseconds: ${value}`)
}

function whole(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0) return value
  throw badOption(`${name} is not a whole number: ${value}`)
}

/** @throws KesClientError BAD_OPTIONS */
export function parseEndpoints(endpoints: string | readonly string[]): Address[] {
  const texts = typeof endpoints === 'string' ? endpoints.split(',') : endpoints
  const addresses = new Map<string, Address>()
  for (const text of texts) {
    const address = parseEndpoint(text.trim())
    addresses.set(address.url, address)
  }
  if (addresses.size === 0) throw badOption('endpoints is empty: name at least one server')
  return [...addresses.values()]
}

const DEFAULT_PORT = 7373
const AUTHORITY = /^(?:([0-9A-Za-z._-]+)|\[([0-9A-Fa-f:.]+)\])(?::(\d{1,5}))?$/

function parseEndpoint(text: string): Address {
  const [, scheme = 'https', authority = ''] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*?)\/?$/i.exec(text) ?? []
  if (scheme.toLowerCase() !== 'https') {
    throw badOption(`endpoint '${text}': KES speaks HTTPS only, not ${scheme}`)
  }
  const [, name, ipv6, digits] = AUTHORITY.exec(authority) ?? []
  const host = (ipv6 ?? name)?.toLowerCase()
  const port = digits === undefined ? DEFAULT_PORT : Number(digits)
  if (host === undefined || port < 1 || port > 65_535) {
    throw badOption(`endpoint '${text}' is not https://host:port or host:port`)
  }
  return { url: `https://${ipv6 === undefined ? host : `[${host}]`}:${port}`, host, port }
}

function badOption(message: string): KesClientError {
  return new KesClientError('BAD_OPTIONS', '', message)
}
