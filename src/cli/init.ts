/** `kes init`: a config, a server certificate and an admin's API key, with which a server starts at once. */

import { mkdirSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'

import { newCertificate } from '../crypto/certificate.ts'
import { ApiKey, type Identity } from '../crypto/identity.ts'
import { type Address, parseAddress } from '../fields.ts'
import { CommandError, UsageError } from './command.ts'
import { taken, writeNew } from './files.ts'
import { hostNames, inUrl, isEverywhere } from './host.ts'
import { type OutputOptions, print, printJson, say } from './output.ts'
import { type Ask, asking, canAsk } from './prompt.ts'
import { shellWord } from './shell.ts'

interface InitOptions extends OutputOptions {
  readonly yes?: boolean
  readonly addr?: string
  readonly ip?: readonly string[]
  readonly dns?: readonly string[]
}

interface Plan {
  readonly addr: string
  readonly dns: readonly string[]
  readonly ip: readonly string[]
  /** Directory of the keystore. */
  readonly keys: string
}

const DAY = 24 * 3_600_000
const LIFETIME = 365 * DAY

export async function init(directory = '.', options: InitOptions): Promise<void> {
  const at = (name: string): string => join(resolve(directory), name)
  const files = { config: at('config.yml'), key: at('server.key'), cert: at('server.cert') }
  const old = taken(Object.values(files))
  if (old !== undefined) {
    throw new CommandError(
      `'${old}' exists, and nothing is written over: choose another directory (kes init DIR), or move it away`,
    )
  }
  const proposal = proposed(options, at('keys'))
  const plan =
    options.yes === true || !canAsk() ? proposal : await asking((ask) => asked(ask, proposal))
  const apiKey = ApiKey.generate()
  const pair = await newCertificate({ subject: plan.dns[0] ?? 'kes', ...plan, lifetime: LIFETIME })
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    throw new CommandError(`'${directory}' cannot be made: ${(error as Error).message}`)
  }
  writeNew([
    { path: files.key, text: pair.privateKey, mode: 0o600 },
    { path: files.cert, text: pair.certificate, mode: 0o644 },
    { path: files.config, text: configText(plan, files, apiKey.identity), mode: 0o644 },
  ])
  if (options.json === true)
    return printJson({ ...files, api_key: apiKey.reveal(), identity: apiKey.identity })
  print(nextSteps(plan, files, apiKey))
}

function proposed({ addr = '0.0.0.0:7373', ip = [], dns = [] }: InitOptions, keys: string): Plan {
  address(addr)
  addresses(ip)
  const host = hostNames()
  return {
    addr,
    dns: [...new Set([...dns, ...host.dns])],
    ip: [...new Set([...ip, ...host.ip])],
    keys,
  }
}

async function asked(ask: Ask, proposal: Plan): Promise<Plan> {
  say('Return takes what is in brackets.\n')
  const list = async (what: string, preset: readonly string[]): Promise<string[]> =>
    words(await ask.line(what, preset.join(', ')))
  return {
    addr: await valid(() => ask.line('Address to listen on', proposal.addr), address),
    dns: await list('Host names of the server, for its certificate', proposal.dns),
    ip: await valid(() => list('IP addresses of the server', proposal.ip), addresses),
    keys: resolve(await ask.line('Directory of the keys', proposal.keys)),
  }
}

/** Asks until the answer is one. */
async function valid<T>(question: () => Promise<T>, check: (answer: T) => unknown): Promise<T> {
  for (;;) {
    const answer = await question()
    try {
      check(answer)
      return answer
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      say(error.message)
    }
  }
}

function words(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '')
}

/** @throws UsageError */
function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed !== undefined) return parsed
  throw new UsageError(`'${text}' is no address: write it like 0.0.0.0:7373, :7373 or [::]:7373`)
}

/** @throws UsageError */
function addresses(list: readonly string[]): void {
  const wrong = list.find((text) => isIP(text) === 0)
  if (wrong !== undefined) throw new UsageError(`'${wrong}' is not an IP address`)
}

interface Files {
  readonly config: string
  readonly key: string
  readonly cert: string
}

function configText({ addr, keys }: Plan, { key, cert }: Files, admin: Identity): string {
  // A JSON string is a YAML string, whatever is in it.
  const text = JSON.stringify
  return `# Written by kes init. docs/config.md has all fields.
version: v1
address: ${text(addr)}
admin:
  identity: ${admin}
tls:
  key: ${text(key)}
  cert: ${text(cert)}

# Who may do what, beside the admin. MinIO, for one, with keys that begin with minio-:
#
# policy:
#   minio:
#     allow:
#       - /v1/key/create/minio-*
#       - /v1/key/generate/minio-*
#       - /v1/key/decrypt/minio-*
#       - /v1/key/bulk/decrypt/minio-*
#       - /v1/key/hmac/minio-*
#       - /v1/key/describe/minio-*
#       - /v1/key/list/*
#       - /v1/status
#       - /v1/metrics
#       - /v1/log/audit
#       - /v1/log/error
#     identities:
#       - the identity of MinIO's API key; kes identity new makes both

keystore:
  fs:
    path: ${text(keys)}
`
}

function nextSteps({ addr, dns, ip }: Plan, { config, key, cert }: Files, apiKey: ApiKey): string {
  const { host, port } = address(addr)
  const name = isEverywhere(host) ? '127.0.0.1' : inUrl(host)
  const until = new Date(Date.now() + LIFETIME).toISOString().slice(0, 10)
  return `Written:

   ${config}
   ${key}
   ${cert}

The certificate is for ${[...dns, ...ip].join(', ')}, until ${until}.

The admin's API key, shown only this once. Whoever has it may do everything:

   ${apiKey.reveal()}

Next, start the server:

   kes server --config ${shellWord(config)}

and use it, in another shell:

   export KES_SERVER=https://${name}:${port}
   export KES_API_KEY=${apiKey.reveal()}
   export KES_CA=${shellWord(cert)}
   kes key create my-key`
}
