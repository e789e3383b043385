/**
 * A real server on a free loopback port, in this process, and clients that speak to it over real TLS. With
 * KES_TEST_WORKERS it is one of several processes.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type Agent, request as httpsRequest } from 'node:https'
import { connect, constants } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { connect as tlsConnect } from 'node:tls'

import type { Config } from '#src/config/config.js'
import { type Loaded, loadConfig } from '#src/config/load.js'
import type { KeyStore, KeyStoreKind } from '#src/keystore/keystore.js'
import { Server } from '#src/server/server.js'
import { type Certificate, certificate } from './certificates.ts'

/** Whose end ends what was made for it: a test, or the file (`{ after }` of node:test). */
export interface Owner {
  after(end: () => unknown): void
}

export function tempDir(t: Owner): string {
  const path = mkdtempSync(join(tmpdir(), 'kes-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export interface Cast {
  readonly server: Certificate
  readonly admin: Certificate
  readonly user: Certificate
  readonly nobody: Certificate
}

let cast: Promise<Cast> | undefined

/** The people of most tests: the admin, a user with a policy, and somebody without one. */
export function people(): Promise<Cast> {
  cast ??= (async () => ({
    server: await certificate({ subject: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] }),
    admin: await certificate({ subject: 'admin' }),
    user: await certificate({ subject: 'user' }),
    nobody: await certificate({ subject: 'nobody' }),
  }))()
  return cast
}

/** How many processes the servers of tests have: KES_TEST_WORKERS, or one. */
export const WORKERS = Number(process.env['KES_TEST_WORKERS'] ?? '1')

/** For tests that look at, or give it, something that cannot be in another process. */
export const IN_PROCESS = WORKERS > 1 && 'needs the server in the process of the test'

export interface TestServer extends Cast {
  readonly port: number
  /** Of the RustFS KMS Admin API. */
  readonly rustfsPort: number | undefined
  readonly server: Certificate
  /** Only for tests that skip when it is in other processes. */
  readonly instance: Server
  close(): Promise<void>
  /** Directory of the config's files. */
  readonly directory: string
  /** Reloads; options that are left out are as they were. @throws why it is refused */
  reload(options: TestServerOptions): Promise<void>
  /** What was written to standard output and standard error so far. */
  stdout(): string
  stderr(): string
}

export interface TestServerOptions {
  /** Further sections of the config file, as YAML; `keystore: { memory: {} }` unless there is one. */
  readonly config?: string
  /** Fields of the section `tls`, as YAML lines without indentation. */
  readonly tls?: string
  /** PEM of CAs, written to a file for `tls.ca`. */
  readonly ca?: string
  /** Identity of the admin, instead of the cast's. */
  readonly admin?: string
  /** The server's; written to files. */
  readonly certificate?: Pick<Certificate, 'key' | 'cert'>
  /** Instead of the configured keystore. */
  readonly store?: KeyStore
  /** A free one by default. */
  readonly port?: number
}

/** A server with the policy `user` for the user: all key operations on names that begin with `user-`. */
export async function startServer(t: Owner, options: TestServerOptions = {}): Promise<TestServer> {
  const cast = await people()
  const directory = tempDir(t)
  if (WORKERS > 1) {
    if (options.store !== undefined)
      throw new Error('a test with a store lacks { skip: IN_PROCESS }')
    const { startWorkers } = await import('./fleet.ts')
    const write = (changed: TestServerOptions): string => configText(cast, directory, changed)
    const server = { ...cast, directory, ...(await startWorkers(t, directory, write, options)) }
    // Not to be copied along with the rest.
    Object.defineProperty(server, 'instance', {
      get: () => {
        throw new Error('a test that looks at the server lacks { skip: IN_PROCESS }')
      },
    })
    return server as typeof server & Pick<TestServer, 'instance'>
  }
  const [stdout, stderr] = [new Recorder(), new Recorder()]
  const instance = await Server.start(loadedFrom(cast, directory, options).config, {
    stdout,
    stderr,
  })
  t.after(() => instance.close())
  let latest = options
  return {
    ...cast,
    instance,
    directory,
    close: () => instance.close(),
    port: instance.address.port,
    rustfsPort: instance.rustfsAddress?.port,
    reload: (changes) =>
      instance.reload(() => loadedFrom(cast, directory, (latest = { ...latest, ...changes }))),
    stdout: () => stdout.text,
    stderr: () => stderr.text,
  }
}

/** Writes the files that the options ask for, and reads the config that they mean. */
function loadedFrom(cast: Cast, directory: string, options: TestServerOptions): Loaded {
  const loaded = loadConfig(configText(cast, directory, options), join(directory, 'config.yml'))
  const { store } = options
  return store === undefined ? loaded : { ...loaded, config: withStore(loaded.config, store) }
}

/** Writes the files that the options ask for. @returns the config that names them */
function configText(cast: Cast, directory: string, options: TestServerOptions): string {
  const files = {
    key: join(directory, 'server.key'),
    cert: join(directory, 'server.cert'),
    ca: join(directory, 'ca.pem'),
  }
  const { key, cert } = options.certificate ?? cast.server
  writeFileSync(files.key, key)
  writeFileSync(files.cert, cert)
  if (options.ca !== undefined) writeFileSync(files.ca, options.ca)
  const extra = options.config ?? ''
  const has = (section: string): boolean => new RegExp(`^${section}:`, 'm').test(extra)
  return `
${has('address') ? '' : `address: 127.0.0.1:${options.port ?? 0}`}
admin: { identity: ${options.admin ?? cast.admin.identity} }
tls:
  key: ${files.key}
  cert: ${files.cert}
${options.ca === undefined ? '' : `  ca: ${files.ca}`}
${(options.tls ?? '').replace(/^/gm, '  ')}
${has('policy') ? '' : userPolicy(cast.user.identity)}
${has('keystore') ? '' : 'keystore: { memory: {} }'}
${usualSections(extra)}
${extra}`
}

/**
 * What tests want of every server, as lines of the config file: the implementation of HTTP that they are for
 * (KES_TEST_HTTP, else the default), and no refusals because other tests keep the machine busy.
 *
 * @param config what else is in the file; it may say so itself
 */
export function usualSections(config: string): string {
  const http = process.env['KES_TEST_HTTP'] ?? ''
  const has = (section: string): boolean => new RegExp(`^${section}:`, 'm').test(config)
  return [
    http === '' || has('http') ? '' : `http: ${http}`,
    has('overload') ? '' : 'overload: { delay: 0s }',
  ].join('\n')
}

function userPolicy(identity: string): string {
  const operations = [
    'create',
    'import',
    'describe',
    'delete',
    'generate',
    'encrypt',
    'decrypt',
    'hmac',
    'list',
  ]
  const allow = operations.map((operation) => `/v1/key/${operation}/user-*`)
  return `policy: { user: { allow: ${JSON.stringify(allow)}, identities: [ ${identity} ] } }`
}

/** The same store is the same keystore, also for a reload. */
const kinds = new WeakMap<KeyStore, KeyStoreKind>()

function withStore(config: Config, store: KeyStore): Config {
  const kind = kinds.get(store) ?? { ...config.keystore.kind, open: async () => store }
  kinds.set(store, kind)
  return { ...config, keystore: { kind, settings: {} } }
}

class Recorder extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

export interface Answer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

export interface AskOptions {
  readonly body?: string | Buffer
  readonly http?: 'h1' | 'h2'
  readonly headers?: Readonly<Record<string, string>>
  /** Sends the body without telling its length. */
  readonly chunked?: boolean
  /** Over HTTP/1.1, whose connection it is; by default one of its own. */
  readonly agent?: Agent
}

/** One request; on a connection of its own, unless there is an agent. */
export function ask(
  port: number,
  who: { readonly key: string; readonly cert: string } | undefined,
  method: string,
  path: string,
  options: AskOptions = {},
): Promise<Answer> {
  return options.http === 'h1'
    ? askHttp1(port, who, method, path, options)
    : askHttp2(port, who, method, path, options)
}

function askHttp1(
  port: number,
  who: { readonly key: string; readonly cert: string } | undefined,
  method: string,
  path: string,
  { body, headers, chunked, agent }: AskOptions,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        port,
        host: '127.0.0.1',
        method,
        path,
        headers: {
          ...(body !== undefined && !chunked && { 'content-length': Buffer.byteLength(body) }),
          ...(chunked && { 'transfer-encoding': 'chunked' }),
          ...headers,
        },
        rejectUnauthorized: false,
        agent: agent ?? false,
        ...(who && { key: who.key, cert: who.cert }),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

function askHttp2(
  port: number,
  who: { readonly key: string; readonly cert: string } | undefined,
  method: string,
  path: string,
  { body, headers, chunked }: AskOptions,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = connect(`https://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      ...(who && { key: who.key, cert: who.cert }),
    })
    session.on('error', reject)
    session.on('close', () => reject(new Error('the connection was closed without an answer')))
    const hasBody = body !== undefined || chunked
    const stream = session.request(
      {
        ':method': method,
        ':path': path,
        ...(body !== undefined && !chunked && { 'content-length': Buffer.byteLength(body) }),
        ...headers,
      },
      { endStream: !hasBody },
    )
    let answer: Pick<Answer, 'status' | 'headers'> | undefined
    const chunks: Buffer[] = []
    stream.on('response', (head) => {
      answer = { status: Number(head[':status']), headers: head }
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', reject)
    stream.on('close', () => {
      if (answer === undefined)
        reject(
          new Error(
            `the stream was closed without an answer: ${stream.rstCode ?? constants.NGHTTP2_NO_ERROR}`,
          ),
        )
      else resolve({ ...answer, body: Buffer.concat(chunks).toString() })
      session.close()
    })
    if (hasBody) stream.end(body)
  })
}

/** Sends bytes over TLS and returns what came until the server closed, or until `wait` ms passed. */
export function raw(
  port: number,
  who: { readonly key: string; readonly cert: string } | undefined,
  bytes: string | Buffer,
  { wait = 3000, alpn }: { readonly wait?: number; readonly alpn?: string } = {},
): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = tlsConnect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...(alpn !== undefined && { ALPNProtocols: [alpn] }),
      ...(who && { key: who.key, cert: who.cert }),
    })
    const timer = setTimeout(() => socket.destroy(), wait)
    socket.on('secureConnect', () => socket.write(bytes))
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks).toString('latin1'))
    })
  })
}
