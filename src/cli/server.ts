/** `kes server`: runs until SIGTERM or SIGINT. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Config, LoadOptions } from '../config/config.ts'
import { type Loaded, loadConfig, loadConfigFile } from '../config/load.ts'
import { newCertificate } from '../crypto/certificate.ts'
import { ApiKey } from '../crypto/identity.ts'
import { isLoopback } from '../fields.ts'
import { TlsFileError } from '../pem.ts'
import { LEVELS } from '../telemetry/log.ts'
import { KeyStoreError } from '../keystore/keystore.ts'
import { Server } from '../server/server.ts'
import { VERSION } from '../version.ts'
import { CommandError, UsageError } from './command.ts'
import { usable } from './config.ts'
import { hostNames, interfaces, isLinkLocal } from './host.ts'
import { say } from './output.ts'

interface ServerOptions {
  readonly config?: string
  readonly addr?: string
  readonly key?: string
  readonly cert?: string
  readonly auth?: 'on' | 'off'
  readonly dev?: boolean
  readonly lenient?: boolean
}

interface Source {
  /** Reads it anew. @throws ConfigError */
  readonly read: () => Loaded
  /** What to say beside the banner. */
  readonly hints: (server: Server) => readonly string[]
}

const DEV_LIFETIME = 30 * 24 * 3_600_000

export async function serve(options: ServerOptions): Promise<void> {
  const { read, hints } = options.dev === true ? await devConfig(options) : configFile(options)
  const { config, warnings } = usable(read)
  for (const warning of warnings) say(`Warning: ${warning}`)
  const started = start(config)
  reloadAtHangup(started, read)
  const server = await started
  say([...banner(config, server), ...hints(server)].join('\n'))
  await stopSignal()
  say('Stopping: running requests may finish.')
  await server.close()
}

function configFile({ config: path, addr, key, cert, auth, lenient }: ServerOptions): Source {
  if (path === undefined) {
    throw new UsageError('no config: pass --config FILE, or try out a server with --dev')
  }
  const options = loadOptions({ addr, key, cert, auth, lenient })
  return { read: () => loadConfigFile(path, options), hints: () => [] }
}

/** At SIGHUP, as soon as there is a server. What comes while a reload waits for its turn is the same reload. */
function reloadAtHangup(started: Promise<Server>, read: () => Loaded): void {
  let isWaiting = false
  const readInTurn = (): Loaded => {
    isWaiting = false
    return read()
  }
  process.on('SIGHUP', () => {
    if (isWaiting) return
    isWaiting = true
    // What is wrong is in the error log, or it is the start that failed.
    started.then((server) => server.reload(readInTurn)).catch(() => {})
  })
}

type Flags = Partial<Record<'addr' | 'key' | 'cert', string | undefined>> & {
  auth?: 'on' | 'off' | undefined
  lenient?: boolean | undefined
}

function loadOptions({ addr, key, cert, auth, lenient }: Flags): LoadOptions {
  return {
    lenient: lenient === true,
    overrides: { address: addr, key, cert, auth: auth === undefined ? undefined : auth === 'on' },
  }
}

async function start(config: Config): Promise<Server> {
  try {
    return await Server.start(config)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const { rustfs } = config
    if (code === 'EADDRINUSE' && rustfs !== undefined && portOf(error) === rustfs.address.port)
      throw new CommandError(`port ${rustfs.address.port} of rustfs.address is taken`)
    if (code === 'EADDRINUSE') {
      throw new CommandError(
        `port ${config.address.port} is taken: is another server running? Choose another with --addr`,
      )
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new CommandError(
        `cannot listen on ${config.address.host}:${config.address.port}: ${(error as Error).message}`,
      )
    }
    const isExpected = error instanceof KeyStoreError || error instanceof TlsFileError
    throw isExpected || code !== undefined ? new CommandError((error as Error).message) : error
  }
}

/** Of an error of listen(2). */
function portOf(error: unknown): unknown {
  return (error as { readonly port?: unknown }).port
}

/** A server for trying out: nothing of it is kept. */
async function devConfig(options: ServerOptions): Promise<Source> {
  if (options.config !== undefined)
    throw new UsageError('--dev needs no config: leave --config out')
  const admin = ApiKey.generate()
  const directory = mkdtempSync(join(tmpdir(), 'kes-dev-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  const files = { key: join(directory, 'server.key'), cert: join(directory, 'server.cert') }
  const pair = await newCertificate({
    subject: 'localhost',
    ...hostNames(),
    lifetime: DEV_LIFETIME,
  })
  writeFileSync(files.key, pair.privateKey, { mode: 0o600 })
  writeFileSync(files.cert, pair.certificate)
  const text = `admin: { identity: ${admin.identity} }\nkeystore: { memory: {} }\n`
  const flags = { ...options, key: options.key ?? files.key, cert: options.cert ?? files.cert }
  return {
    read: () => loadConfig(text, '--dev', loadOptions(flags)),
    hints: (server) => [
      '',
      'For trying out only: all keys are lost when the server stops. In another shell:',
      '',
      `  export KES_SERVER=${endpoints(server)[0] ?? ''}`,
      `  export KES_API_KEY=${admin.reveal()}`,
      '  kes key create my-key -k',
      '',
      'The certificate is self-signed: -k skips its verification. Instead of that, clients can trust it:',
      '',
      `  export KES_CA=${flags.cert}`,
    ],
  }
}

function banner(config: Config, server: Server): string[] {
  const { policies, cache, log, tls, keystore } = config
  const identities = policies.reduce((sum, policy) => sum + policy.identities.length, 0)
  const rows: [string, string][] = [
    ['Version', VERSION],
    ['KeyStore', `${keystore.kind.name}: ${keystore.kind.describe(keystore.settings)}`],
    ['Endpoints', endpoints(server).join('\n')],
    ...rustfsRows(config, server),
    ['Admin', config.admin ?? 'none'],
    [
      'Policies',
      `${policies.length} (${identities} ${identities === 1 ? 'identity' : 'identities'})`,
    ],
    [
      'Auth',
      tls.auth
        ? 'on: client certificates are verified'
        : 'off: any well-formed client certificate is accepted; switch verification on with tls.auth: on',
    ],
    [
      'Cache',
      `any ${seconds(cache.any)}, unused ${seconds(cache.unused)}, offline ${seconds(cache.offline)}`,
    ],
    ['Logs', `error ${levelName(log.threshold)}, audit ${log.audit ? 'on' : 'off'}`],
  ]
  return rows.flatMap(([name, value]) =>
    value.split('\n').map((line, index) => `${(index === 0 ? name : '').padEnd(12)}${line}`),
  )
}

function rustfsRows({ rustfs }: Config, { rustfsAddress }: Server): [string, string][] {
  if (rustfs === undefined || rustfsAddress === undefined) return []
  const scheme = isLoopback(rustfs.address) ? 'http' : 'https'
  return [['RustFS API', urls(rustfsAddress, scheme).join('\n')]]
}

function endpoints({ address }: Server): string[] {
  return urls(address, 'https')
}

function urls({ address, port }: AddressInfo, scheme: 'http' | 'https'): string[] {
  const hosts =
    address === '::' || address === '0.0.0.0'
      ? interfaces()
          .filter(({ family }) => family === 'IPv4' || address === '::')
          .filter(({ address: ip }) => !isLinkLocal(ip))
          .map(({ address: ip }) => ip)
      : [address]
  return hosts.map((host) => `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`)
}

function levelName(threshold: number): string {
  if (threshold === Number.POSITIVE_INFINITY) return 'off'
  const [name] = Object.entries(LEVELS).find(([, level]) => level >= threshold) ?? ['error']
  return `from level ${name.toLowerCase()} on`
}

function seconds(millis: number): string {
  return `${millis / 1000}s`
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
async function stopSignal(): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = (): void => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, stop)
      resolve()
    }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
  })
}
