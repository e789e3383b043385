/** `kes key …`: what the server does with keys; listings are in list.ts. */

import { buffer, text } from 'node:stream/consumers'

import { randomBytes } from '../crypto/random.ts'
import { decodeBase64 } from '../json.ts'
import { UsageError } from './command.ts'
import { attempt, attemptEach, type ConnectionOptions, withClient } from './connect.ts'
import { print, printFields, printJson } from './output.ts'

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

export async function info(name: string, options: ConnectionOptions): Promise<void> {
  const key = await withClient(options, (client) =>
    attempt(`describe key ${quoted(name)}`, client.describeKey(name)),
  )
  const { algorithm, createdAt, createdBy } = key
  if (options.json === true)
    return printJson({ name: key.name, algorithm, created_at: createdAt, created_by: createdBy })
  printFields(
    { Name: key.name, Algorithm: algorithm, 'Created at': createdAt, 'Created by': createdBy },
    options,
  )
}

export async function remove(names: readonly string[], options: ConnectionOptions): Promise<void> {
  await withClient(options, (client) =>
    attemptEach(names, (name) => attempt(`remove key ${quoted(name)}`, client.deleteKey(name))),
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

export async function hmac(
  name: string,
  message: string,
  options: ConnectionOptions,
): Promise<void> {
  const authenticated = await bytes(message)
  const sum = await withClient(options, (client) =>
    attempt(`compute an HMAC with key ${quoted(name)}`, client.hmac(name, authenticated)),
  )
  printBytes({ hmac: sum }, options)
}

/** In a pipe always as the API's JSON: scripts read it. */
function printBytes(fields: Readonly<Record<string, Buffer>>, options: ConnectionOptions): void {
  const texts = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value.toString('base64')]),
  )
  if (options.json === true || !process.stdout.isTTY) printJson(texts)
  else if (Object.keys(texts).length === 1) print(Object.values(texts).join())
  else printFields(texts, options)
}

/** @param message the text itself; `-`: what standard input has */
async function bytes(message: string): Promise<Buffer> {
  return message === '-' ? buffer(process.stdin) : Buffer.from(message)
}

/** @param given base64; `-`: what standard input has. @throws UsageError */
async function base64(what: string, given: string): Promise<Buffer> {
  const decoded = decodeBase64(given === '-' ? (await text(process.stdin)).trim() : given)
  // The value is not quoted: it may be a key.
  if (decoded === undefined) throw new UsageError(`the ${what} is not base64`)
  return decoded
}

/** @throws UsageError */
function contextOf(given: string | undefined): Buffer | undefined {
  if (given === undefined) return undefined
  const context = decodeBase64(given)
  if (context === undefined) throw new UsageError('the context is not base64')
  return context
}

function quoted(name: string): string {
  return JSON.stringify(name)
}
