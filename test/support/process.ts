/** The command as users run it: processes of its own, their output, their exit codes. */

import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  type Cast,
  usualSections,
  type Owner,
  people,
  tempDir,
  type TestServer,
  WORKERS,
} from './server.ts'

/** The command under test: the one that was built here, or KES_TEST_MAIN. */
export const MAIN = resolve(process.env['KES_TEST_MAIN'] ?? 'dist/main.js')

export interface RunOptions {
  /** The command's path, instead of what was built here. */
  readonly command?: string
  /** Besides ours; undefined leaves one out. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
}

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end. One that does not end is killed with the test. */
export async function kes(
  t: Owner,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  return finish(start(t, args, options))
}

/** Runs any command to its end, as `kes` does ours. */
export function run(
  t: Owner,
  [command = '', ...args]: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  return finish(track(t, command, args, options, ['ignore', 'pipe', 'pipe']))
}

async function finish(process: KesProcess): Promise<Finished> {
  const { code, signal } = await process.exited
  return { code, signal, stdout: process.stdout().toString(), stderr: process.stderr().toString() }
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface KesProcess {
  readonly exited: Promise<Exit>
  stdout(): Buffer
  stderr(): Buffer
  kill(signal: NodeJS.Signals): void
  pid: number
}

/**
 * Milliseconds that a stop may take in a test when nothing runs. 4 s are promised (kes-api.md, "Connections"), to machines
 * that have time; whoever holds a stop holds it for 10 s.
 */
export const IDLE_STOP = 8000

export interface ServerProcess extends KesProcess {
  readonly port: number
  /** Sends the signal, waits for the end. @returns also the milliseconds that it took */
  stop(signal?: NodeJS.Signals): Promise<Exit & { readonly took: number }>
}

/** Starts `kes server`, with KES_TEST_WORKERS if it is set, and waits until it has said that it listens. */
export async function startServerProcess(
  t: Owner,
  args: readonly string[],
  options: RunOptions = {},
): Promise<ServerProcess> {
  const workers = WORKERS > 1 && !args.includes('--workers') ? ['--workers', String(WORKERS)] : []
  const process = start(t, ['server', ...args, ...workers], options)
  return listening(process, () => process.stderr().toString())
}

/** @param banner what the server has written to standard error */
export async function listening(process: KesProcess, banner: () => string): Promise<ServerProcess> {
  const port = await eventually(
    'the server listens',
    () => {
      const [, found] = /^Logs /m.test(banner())
        ? (/^Endpoints +https:\/\/\S+:(\d+)$/m.exec(banner()) ?? [])
        : []
      return found
    },
    process.exited,
  )
  return {
    ...process,
    port: Number(port),
    stop: async (signal = 'SIGTERM') => {
      const begin = performance.now()
      process.kill(signal)
      return { ...(await process.exited), took: performance.now() - begin }
    },
  }
}

export function start(t: Owner, args: readonly string[], options: RunOptions): KesProcess {
  const [command = '', ...words] = [
    ...(options.command === undefined ? [process.execPath, MAIN] : [options.command]),
    ...args,
  ]
  return track(t, command, words, options, ['ignore', 'pipe', 'pipe'])
}

/** As a shell starts it: with the redirections of `redirect`, and nothing else open. */
export function startByShell(
  t: Owner,
  args: readonly string[],
  redirect: string,
  options: RunOptions,
): KesProcess {
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')
  return track(t, 'sh', ['-c', `exec ${command} ${redirect}`], options, 'ignore')
}

function track(
  t: Owner,
  command: string,
  args: readonly string[],
  { env, cwd }: RunOptions,
  stdio: StdioOptions,
): KesProcess {
  const child: ChildProcess = spawn(command, args, {
    stdio,
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
  })
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  child.stdout?.on('data', (chunk: Buffer) => output.stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => output.stderr.push(chunk))
  const exited = new Promise<Exit>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal }))
  })
  t.after(() => {
    child.kill('SIGKILL')
    return exited.then(() => {})
  })
  return {
    exited,
    pid: child.pid ?? 0,
    stdout: () => Buffer.concat(output.stdout),
    stderr: () => Buffer.concat(output.stderr),
    kill: (signal) => void child.kill(signal),
  }
}

/** Milliseconds; a machine may have much else to do. */
const PATIENCE = 60_000

/** Asks every few milliseconds until there is an answer; fails when the process ends before, or after a minute. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false,
  ended: Promise<unknown> = new Promise(() => {}),
): Promise<T> {
  let isOver = false
  void ended.then(() => (isOver = true))
  for (const limit = performance.now() + PATIENCE; performance.now() < limit;) {
    const found = look()
    if (found !== undefined && found !== false) return found
    if (isOver) throw new Error(`the process ended before: ${what}`)
    await sleep(5)
  }
  throw new Error(`not within a minute: ${what}`)
}

export interface Files extends Cast {
  readonly directory: string
  readonly config: string
  readonly keys: string
}

export interface FilesOptions {
  /** Further sections, as YAML. */
  readonly config?: string
  /** Further fields of `tls`, in flow style: `auth: on, ca: ca.pem`. */
  readonly tls?: string
  /** Directory of the keystore; one of its own by default. */
  readonly keys?: string
}

/** A directory with a config for a server process, its certificate, and a keystore in the file system. */
export async function serverFiles(t: Owner, options: FilesOptions = {}): Promise<Files> {
  const cast = await people()
  const directory = tempDir(t)
  const keys = options.keys ?? join(directory, 'keys')
  const config = join(directory, 'config.yml')
  writeFileSync(join(directory, 'server.key'), cast.server.key)
  writeFileSync(join(directory, 'server.cert'), cast.server.cert)
  writeFileSync(
    config,
    `address: 127.0.0.1:0
admin: { identity: ${cast.admin.identity} }
tls: { key: server.key, cert: server.cert${options.tls === undefined ? '' : `, ${options.tls}`} }
keystore: { fs: { path: ${keys} } }
${usualSections(options.config ?? '')}
${options.config ?? ''}
`,
  )
  return { ...cast, directory, config, keys }
}

/** What a client command needs in its environment to be the admin of a server. */
export function adminEnvironment({ admin, port, directory }: TestServer): Record<string, string> {
  const [key, cert] = [join(directory, 'admin.key'), join(directory, 'admin.cert')]
  writeFileSync(key, admin.key)
  writeFileSync(cert, admin.cert)
  return {
    KES_SERVER: `https://127.0.0.1:${port}`,
    KES_API_KEY: '',
    KES_CLIENT_KEY: key,
    KES_CLIENT_CERT: cert,
    KES_CA: join(directory, 'server.cert'),
  }
}
