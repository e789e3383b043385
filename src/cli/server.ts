/** `kes server`: runs until SIGTERM or SIGINT. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Config, LoadOptions } from '../config/config.ts'
import { loadConfig, readConfigFile } from '../config/load.ts'
import { newCertificate } from '../crypto/certificate.ts'
import { ApiKey } from '../crypto/identity.ts'
import { isLoopback } from '../fields.ts'
import { TlsFileError } from '../pem.ts'
import { LEVELS } from '../telemetry/log.ts'
import { KeyStoreError } from '../keystore/keystore.ts'
import { Server } from '../server/server.ts'
import type { Source } from '../server/workers/messages.ts'
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
  readonly workers?: string
}

/** Of one process, or of several. */
interface Running {
  readonly address: AddressInfo
  /** Of the RustFS KMS Admin API. */
  readonly rustfsAddress: AddressInfo | undefined
  reload(read: () => Source): Promise<void>
  close(): Promise<void>
  /** Rejects when it cannot go on. */
  readonly failed?: Promise<never>
}

interface Origin {
  /** Reads it anew. @throws ConfigError */
  readonly read: () => Source
  /** What to say beside the banner. */
  readonly hints: (server: Running) => readonly string[]
}

const DEV_LIFETIME = 30 * 24 * 3_600_000
const MAX_WORKERS = 256

export async function serve(options: ServerOptions): Promise<void> {
  const workers = workerCount(options.workers)
  if (workers > 1 && (await isWorker())) return
  const { read, hints } = options.dev === true ? await devConfig(options) : configFile(options)
  const source = usable(read)
  const { config, warnings } = source
  for (const warning of warnings) say(`Warning: ${warning}`)
  const started = start(source, workers)
  reloadAtHangup(started, read)
  const server = await started
  // Whoever has read the banner may stop it.
  const ended = stopSignalOrFailure(server)
  say([...banner(config, server, workers), ...hints(server)].join('\n'))
  await ended
  say('Stopping: running requests may finish.')
  await server.close()
}

function workerCount(text = '1'): number {
  if (text === 'auto') return availableParallelism()
  const count = Number(text)
  if (/^[1-9]\d*$/.test(text) && count <= MAX_WORKERS) return count
  throw new UsageError(`--workers: '${text}' is neither a number from 1 to ${MAX_WORKERS} nor auto`)
}

/** In a process that the server has started for itself: from then on that does what the server says. */
async function isWorker(): Promise<boolean> {
  const { default: cluster } = await import('node:cluster')
  if (!cluster.isWorker) return false
  const { Worker } = await import('../server/workers/worker.ts')
  void new Worker()
  return true
}

function configFile({ config: path, addr, key, cert, auth, lenient }: ServerOptions): Origin {
  if (path === undefined) {
    throw new UsageError('no config: pass --config FILE, or try out a server with --dev')
  }
  const options = loadOptions({ addr, key, cert, auth, lenient })
  const read = (): Source => sourceOf(readConfigFile(path), path, options)
  return { read, hints: () => [] }
}

/** @throws ConfigError */
function sourceOf(text: string, path: string, options: LoadOptions): Source {
  return { ...loadConfig(text, path, options), file: { text, path, options } }
}

/** At SIGHUP, as soon as there is a server. What comes while a reload waits for its turn is the same reload. */
function reloadAtHangup(started: Promise<Running>, read: () => Source): void {
  let isWaiting = false
  const readInTurn = (): Source => {
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

async function start(source: Source, workers: number): Promise<Running> {
  const { config } = source
  try {
    if (workers === 1) return await Server.start(config)
    const { Primary } = await import('../server/workers/primary.ts')
    return await Primary.start(source, { workers })
  } catch (error) {
    const { code, name } = error as NodeJS.ErrnoException
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
    const isExpected =
      error instanceof KeyStoreError || error instanceof TlsFileError || name === 'StartError'
    throw isExpected || code !== undefined ? new CommandError((error as Error).message) : error
  }
}

/** Of an error of listen(2). */
function portOf(error: unknown): unknown {
  return (error as { readonly port?: unknown }).port
}

/** A server for trying out: nothing of it is kept. */
async function devConfig(options: ServerOptions): Promise<Origin> {
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
    read: () => sourceOf(text, '--dev', loadOptions(flags)),
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

function banner(config: Config, server: Running, workers: number): string[] {
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
    ...(workers === 1 ? [] : [['Workers', String(workers)] as [string, string]]),
    ['Logs', `error ${levelName(log.threshold)}, audit ${log.audit ? 'on' : 'off'}`],
  ]
  return rows.flatMap(([name, value]) =>
    value.split('\n').map((line, index) => `${(index === 0 ? name : '').padEnd(12)}${line}`),
  )
}

function rustfsRows({ rustfs }: Config, { rustfsAddress }: Running): [string, string][] {
  if (rustfs === undefined || rustfsAddress === undefined) return []
  const scheme = isLoopback(rustfs.address) ? 'http' : 'https'
  return [['RustFS API', urls(rustfsAddress, scheme).join('\n')]]
}

function endpoints({ address }: Running): string[] {
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

/** @throws CommandError when the server cannot go on; it has ended then */
async function stopSignalOrFailure(server: Running): Promise<void> {
  try {
    await Promise.race([stopSignal(), ...(server.failed === undefined ? [] : [server.failed])])
  } catch (error) {
    await server.close()
    throw new CommandError(
      `no worker is left, and none can be started: ${(error as Error).message}`,
    )
  }
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
