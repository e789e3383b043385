/** `kes key …`: making keys, and what they do; their life is in key-life.ts, listings are in list.ts. */

import { buffer, text } from 'node:stream/consumers'

import { randomBytes } from '../crypto/random.ts'
import { decodeBase64 } from '../json.ts'
import { UsageError } from './command.ts'
import { attempt, attemptEach, type ConnectionOptions, withClient } from './connect.ts'
import { print, printFields, printJson, quoted } from './output.ts'

const KEY_SIZE = 32

export async function create(names: readonly string[], options: ConnectionOptions): Promise<void> {
  await withClient(options, (client) =>
    attemptEach(names, (name) => attempt(`create key ${quoted(name)}`, client.createKey(name))),
  )
}

interface ImportOptions extends ConnectionOptions {
  readonly cipher?: 'AES256' | 'ChaCha20'
}

/** @param given base64, or `-`; a random key if absent */
export async function importKey(
  name: string,
  given: string | undefined,
  options: ImportOptions,
): Promise<void> {
  const key = given === undefined ? randomBytes(KEY_SIZE) : await base64('key', given)
  const { cipher } = options
  await withClient(options, (client) =>
    attempt(`import key ${quoted(name)}`, client.importKey(name, { key, cipher })),
  )
}

export async function encrypt(
  name: string,
  message: string,
  options: ConnectionOptions,
): Promise<void> {
  const plaintext = await bytes(message)
  const ciphertext = await withClient(options, (client) =>
    attempt(`encrypt with key ${quoted(name)}`, client.encrypt(name, plaintext)),
  )
  printBytes({ ciphertext }, options)
}

export async function decrypt(
  name: string,
  sealed: string,
  bound: string | undefined,
  options: ConnectionOptions,
): Promise<void> {
  const context = contextOf(bound)
  const ciphertext = await base64('ciphertext', sealed)
  const plaintext = await withClient(options, (client) =>
    attempt(`decrypt with key ${quoted(name)}`, client.decrypt(name, ciphertext, { context })),
  )
  printBytes({ plaintext }, options)
}

export async function dataKey(
  name: string,
  bound: string | undefined,
  options: ConnectionOptions,
): Promise<void> {
  const context = contextOf(bound)
  const { plaintext, ciphertext } = await withClient(options, (client) =>
    attempt(`make a data key with key ${quoted(name)}`, client.generateKey(name, { context })),
  )
  printBytes({ plaintext, ciphertext }, options)
}

interface HmacOptions extends ConnectionOptions {
  readonly version?: string
}

export async function hmac(name: string, message: string, options: HmacOptions): Promise<void> {
  const version = versionOf(options.version)
  const authenticated = await bytes(message)
  const sum = await withClient(options, (client) =>
    attempt(
      `compute an HMAC with key ${quoted(name)}`,
      client.hmac(name, authenticated, { version }),
    ),
  )
  printBytes({ hmac: sum }, options)
}

/** @throws UsageError */
function versionOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (/^[1-9]\d{0,8}$/.test(given)) return Number(given)
  throw new UsageError(`--version '${given}' is no version of a key: 1, 2, 3, …`)
}

/** Seals anew what a ciphertext holds: nobody sees it. */
export async function rewrap(
  name: string,
  sealed: string,
  bound: string | undefined,
  options: ConnectionOptions,
): Promise<void> {
  const context = contextOf(bound)
  const old = await base64('ciphertext', sealed)
  const { ciphertext, version } = await withClient(options, (client) =>
    attempt(`rewrap with key ${quoted(name)}`, client.rewrap(name, old, { context })),
  )
  printBytes({ ciphertext }, options, { version })
}

/** In a pipe always as the API's JSON: scripts read it. @param more that is only there */
function printBytes(
  fields: Readonly<Record<string, Buffer>>,
  options: ConnectionOptions,
  more: object = {},
): void {
  const texts = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value.toString('base64')]),
  )
  if (options.json === true || !process.stdout.isTTY) printJson({ ...texts, ...more })
  else if (Object.keys(texts).length === 1) print(Object.values(texts).join())
  else printFields(texts, options)
}

/** @param message the text itself; `-`: what standard input has */
async function bytes(message: string): Promise<Buffer> {
  return message === '-' ? buffer(process.stdin) : Buffer.from(message)
}

/** @param given base64; `-`: what standard input has. @throws UsageError */
async function base64(what: string, given: string): Promise<Buffer> {
  return decoded(what, given === '-' ? (await text(process.stdin)).trim() : given)
}

/** @throws UsageError */
function contextOf(given: string | undefined): Buffer | undefined {
  return given === undefined ? undefined : decoded('context', given)
}

/** @throws UsageError */
function decoded(what: string, given: string): Buffer {
  const value = decodeBase64(given)
  // The value is not quoted: it may be a key.
  if (value === undefined) throw new UsageError(`the ${what} is not base64`)
  return value
}
