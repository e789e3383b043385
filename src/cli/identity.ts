/** `kes identity new` and `kes identity of`. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { isIP } from 'node:net'
import { text } from 'node:stream/consumers'

import { newCertificate } from '../crypto/certificate.ts'
import { readCertificate } from '../crypto/der.ts'
import { ApiKey, identityOf } from '../crypto/identity.ts'
import { parseDuration } from '../fields.ts'
import { CommandError, UsageError } from './command.ts'
import { taken, writeNew } from './files.ts'
import { type OutputOptions, print, printJson } from './output.ts'
import { asking, canAsk } from './prompt.ts'

interface NewOptions extends OutputOptions {
  readonly key?: string
  readonly cert?: string
  readonly ip?: readonly string[]
  readonly dns?: readonly string[]
  readonly expiry?: string
  readonly encrypt?: boolean
  readonly force?: boolean
}

/** `kes identity new`. */
export async function create(subject: string | undefined, options: NewOptions): Promise<void> {
  const { key, cert, ip = [], dns = [], expiry = '720h', json } = options
  if (key === undefined && cert === undefined) {
    const flag = (['encrypt', 'force', 'ip', 'dns', 'expiry'] as const).find(
      (name) => options[name] !== undefined,
    )
    if (subject !== undefined || flag !== undefined) {
      throw new UsageError(
        `${flag === undefined ? 'a subject' : `--${flag}`} is for certificates: add --key FILE --cert FILE`,
      )
    }
    return printApiKey(json === true)
  }
  if (key === undefined || cert === undefined) {
    throw new UsageError(
      '--key and --cert belong together: one for the private key, one for its certificate',
    )
  }
  const wrong = ip.find((address) => isIP(address) === 0)
  if (wrong !== undefined)
    throw new UsageError(`--ip: '${wrong}' is not an IP address; a host name goes with --dns`)
  const lifetime = parseDuration(expiry)
  if (lifetime === undefined || lifetime === 0)
    throw new UsageError(`--expiry: '${expiry}' is not a duration such as 720h`)
  const old = taken([key, cert])
  if (old !== undefined && options.force !== true)
    throw new CommandError(`'${old}' exists; replace it with --force`)
  const pair = await newCertificate({ subject: subject ?? '', ip, dns, lifetime })
  const privateKey =
    options.encrypt === true ? encrypt(pair.privateKey, await newPassword()) : pair.privateKey
  // Not written over: an old file would keep its permissions.
  for (const path of [key, cert]) rmSync(path, { force: true })
  writeNew([
    { path: key, text: privateKey, mode: 0o600 },
    { path: cert, text: pair.certificate, mode: 0o644 },
  ])
  const identity = certificateIdentity(pair.certificate)
  if (json === true) return printJson({ identity, key, cert })
  print(`Private key:  ${key}\nCertificate:  ${cert}\nIdentity:     ${identity}`)
}

/** `kes identity of`. */
export async function of(what: string, options: OutputOptions): Promise<void> {
  const given = what === '-' ? (await text(process.stdin)).trim() : what
  const identity =
    ApiKey.parse(given)?.identity ??
    (given.startsWith('-----BEGIN') ? certificateIdentity(given) : fileIdentity(given))
  if (options.json === true) printJson({ identity })
  else print(identity)
}

function printApiKey(json: boolean): void {
  const apiKey = ApiKey.generate()
  if (json) return printJson({ api_key: apiKey.reveal(), identity: apiKey.identity })
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

function encrypt(pem: string, passphrase: string): string {
  const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
  return createPrivateKey(pem).export(options).toString()
}

/** From KES_CLIENT_KEY_PASSWORD; without it, from the terminal. */
async function newPassword(): Promise<string> {
  const { KES_CLIENT_KEY_PASSWORD: given = '' } = process.env
  if (given !== '') return given
  if (!canAsk())
    throw new UsageError('no terminal to ask for the password: set KES_CLIENT_KEY_PASSWORD')
  return asking(async (ask) => {
    const password = await ask.password('Password for the private key')
    const again = await ask.password('Once more')
    if (password === '' || password !== again)
      throw new CommandError('the passwords are empty or differ; nothing was written')
    return password
  })
}
