/** `kes identity new` and `kes identity of`. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'

import { newCertificate } from '../crypto/certificate.ts'
import { readCertificate } from '../crypto/der.ts'
import { ApiKey, identityOf } from '../crypto/identity.ts'
import { CommandError } from './command.ts'

interface NewOptions {
  readonly key?: string
  readonly cert?: string
  readonly ip?: readonly string[]
  readonly dns?: readonly string[]
  /** Milliseconds. */
  readonly expiry?: number
  readonly encrypt?: boolean
  readonly force?: boolean
  readonly json?: boolean
}

const DEFAULT_EXPIRY = 720 * 3_600_000

export async function newIdentity(subject: string | undefined, options: NewOptions): Promise<void> {
  if (options.key === undefined && options.cert === undefined) {
    const flag = (['encrypt', 'force'] as const).find((name) => options[name] === true)
    if (subject !== undefined || flag !== undefined || options.ip?.length || options.dns?.length) {
      throw new CommandError('these options are for certificates: add --key FILE --cert FILE')
    }
    return printApiKey(options.json === true)
  }
  if (options.key === undefined || options.cert === undefined) {
    throw new CommandError(
      '--key and --cert belong together: one for the private key, one for its certificate',
    )
  }
  for (const address of options.ip ?? []) {
    if (isIP(address) === 0)
      throw new CommandError(`--ip: '${address}' is not an IP address; a host name goes with --dns`)
  }
  const pair = await newCertificate({
    subject: subject ?? '',
    ip: options.ip ?? [],
    dns: options.dns ?? [],
    lifetime: options.expiry ?? DEFAULT_EXPIRY,
  })
  const privateKey =
    options.encrypt === true ? encrypt(pair.privateKey, await askPassword()) : pair.privateKey
  clearWay([options.key, options.cert], options.force === true)
  write(options.key, privateKey, 0o600)
  write(options.cert, pair.certificate, 0o644)
  const identity = certificateIdentity(pair.certificate)
  if (options.json === true)
    return print(JSON.stringify({ identity, key: options.key, cert: options.cert }))
  print(`Private key:  ${options.key}\nCertificate:  ${options.cert}\nIdentity:     ${identity}`)
}

export async function identityOfThing(
  what: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const identity = ApiKey.parse(what)?.identity ?? fileIdentity(what)
  print(options.json === true ? JSON.stringify({ identity }) : identity)
}

function printApiKey(json: boolean): void {
  const apiKey = ApiKey.generate()
  if (json) return print(JSON.stringify({ api_key: apiKey.reveal(), identity: apiKey.identity }))
  print(`Your API key:

   ${apiKey.reveal()}

It is shown only this once. Whoever has it acts as you, so keep it secret.

Your identity:

   ${apiKey.identity}

This is no secret: a server needs it to know what you may do. It can be computed again with

   kes identity of <API key>`)
}

function fileIdentity(path: string): string {
  if (path.startsWith('kes:'))
    throw new CommandError('this is not a valid API key: was it copied whole?')
  let pem: string
  try {
    pem = readFileSync(path, 'utf8')
  } catch (error) {
    throw new CommandError(
      `'${path}' is no API key, and as a file it cannot be read: ${(error as Error).message}`,
    )
  }
  return certificateIdentity(pem, path)
}

function certificateIdentity(pem: string, path = 'the certificate'): string {
  try {
    return identityOf(readCertificate(new X509Certificate(pem).raw).publicKey)
  } catch {
    throw new CommandError(`'${path}' has no PEM certificate`)
  }
}

/** Before anything is written: one file without the other would be worse than none. */
function clearWay(paths: readonly string[], force: boolean): void {
  const taken = paths.find((path) => existsSync(path))
  if (taken === undefined) return
  if (!force) throw new CommandError(`'${taken}' exists; replace it with --force`)
  // Not written over: an old file would keep its permissions.
  for (const path of paths) rmSync(path, { force: true })
}

function write(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { mode, flag: 'wx' })
  } catch (error) {
    throw new CommandError(`'${path}' cannot be written: ${(error as Error).message}`)
  }
}

function encrypt(pem: string, passphrase: string): string {
  const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
  return createPrivateKey(pem).export(options).toString()
}

/** From the terminal, unseen; without one, from KES_CLIENT_KEY_PASSWORD. */
async function askPassword(): Promise<string> {
  const given = process.env['KES_CLIENT_KEY_PASSWORD']
  if (given !== undefined && given !== '') return given
  if (!process.stdin.isTTY)
    throw new CommandError('no terminal to ask for the password: set KES_CLIENT_KEY_PASSWORD')
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write('Password for the private key: ')
  const password = await prompt.question('')
  process.stderr.write('\nOnce more: ')
  const again = await prompt.question('')
  process.stderr.write('\n')
  prompt.close()
  if (password === '' || password !== again)
    throw new CommandError('the passwords are empty or differ; nothing was written')
  return password
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
