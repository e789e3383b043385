/** Real etcd: a cluster of one or more members on loopback. */

import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

import { certificate } from './certificates.ts'
import { ENDED_BY_ITS_MAKER, freePorts, Program } from './program.ts'
import { type Owner, tempDir } from './server.ts'
import type { StoreConfig } from './stores.ts'
import { findTool } from './tools.ts'

export const PASSWORD = 'a-Secret/of:the@tests'

export interface TestEtcdOptions {
  readonly members?: number
  /** Members want TLS, and a certificate of every client. */
  readonly tls?: boolean
  /** Flags of all members, without hyphens. */
  readonly flags?: Readonly<Record<string, string>>
}

interface Member {
  readonly name: string
  readonly port: number
  readonly args: readonly string[]
  program: Program | undefined
}

export class TestEtcd {
  readonly directory: string
  readonly members: readonly Member[]
  readonly #scheme: 'http' | 'https'
  #folders = 0

  private constructor(directory: string, members: readonly Member[], scheme: 'http' | 'https') {
    this.directory = directory
    this.members = members
    this.#scheme = scheme
  }

  static async start(
    t: Owner,
    { members: count = 1, tls, flags }: TestEtcdOptions = {},
  ): Promise<TestEtcd> {
    const directory = tempDir(t)
    const scheme = tls === true ? 'https' : 'http'
    if (tls === true) await writeCertificates(directory)
    const ports = await freePorts(2 * count)
    const peers = ports.slice(count).map((port, index) => `m${index}=http://127.0.0.1:${port}`)
    const members = ports.slice(0, count).map((port, index) => {
      const name = `m${index}`
      const [, peer = ''] = peers[index]?.split('=') ?? []
      const url = `${scheme}://127.0.0.1:${port}`
      const settings = {
        name,
        'data-dir': join(directory, name),
        'listen-client-urls': url,
        'advertise-client-urls': url,
        'listen-peer-urls': peer,
        'initial-advertise-peer-urls': peer,
        'initial-cluster': peers.join(','),
        'log-level': 'error',
        ...flags,
        ...(tls === true && {
          'cert-file': join(directory, 'server.crt'),
          'key-file': join(directory, 'server.key'),
          'trusted-ca-file': join(directory, 'ca.crt'),
          'client-cert-auth': 'true',
        }),
      }
      const args = Object.entries(settings).map(([flag, value]) => `--${flag}=${value}`)
      return { name, port, args, program: undefined }
    })
    const cluster = new TestEtcd(directory, members, scheme)
    for (const member of members) t.after(() => cluster.kill(member))
    await Promise.all(members.map((member) => cluster.start(member)))
    return cluster
  }

  /** Starts a member, maybe again; resolves when the cluster answers through it. */
  async start(member: Member): Promise<void> {
    member.program = new Program(ENDED_BY_ITS_MAKER, findTool('etcd') ?? '', member.args)
    await member.program.ready(() => this.ask('kv/range', { key: 'eA==' }, { member }))
  }

  /** As a crash of the machine; its data survives. */
  async kill(member: Member): Promise<void> {
    await member.program?.kill()
  }

  /**
   * One call of the gateway, without our client.
   *
   * @throws Error with the answer unless it is one of success
   */
  async ask(
    path: string,
    body: object,
    { member = this.members[0], token }: { member?: Member | undefined; token?: string } = {},
  ): Promise<Record<string, unknown>> {
    const isSecure = this.#scheme === 'https'
    const read = (name: string): Buffer => readFileSync(this.file(name))
    const outgoing = (isSecure ? httpsRequest : httpRequest)({
      host: '127.0.0.1',
      port: member?.port,
      path: `/v3/${path}`,
      method: 'POST',
      agent: false,
      timeout: 2000,
      ...(token !== undefined && { headers: { authorization: token } }),
      ...(isSecure && { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }),
    })
    // The first is thrown below; a connection that breaks may have more than one.
    outgoing.on('error', () => {})
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')))
    outgoing.end(JSON.stringify(body))
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
    const answer = await text(incoming)
    if (incoming.statusCode !== 200) throw new Error(answer)
    return JSON.parse(answer) as Record<string, unknown>
  }

  /** Makes users: `root`, `kes` who may use keys that begin with `/test-`, `reader` who may read them; then asks for logins. */
  async demandLogins(): Promise<void> {
    const [key, end] = ['/test-', '/test.'].map((name) => Buffer.from(name).toString('base64'))
    const roles = { root: undefined, kes: 'READWRITE', reader: 'READ' }
    for (const [name, right] of Object.entries(roles)) {
      await this.ask('auth/user/add', { name, password: PASSWORD })
      await this.ask('auth/role/add', { name })
      const perm = { permType: right, key, range_end: end }
      if (right !== undefined) await this.ask('auth/role/grant', { name, perm })
      await this.ask('auth/user/grant', { user: name, role: name })
    }
    await this.ask('auth/enable', {})
  }

  /** A token of `root`. */
  async login(): Promise<string> {
    const { token } = await this.ask('auth/authenticate', { name: 'root', password: PASSWORD })
    return String(token)
  }

  file(name: string): string {
    return join(this.directory, name)
  }

  get endpoints(): string[] {
    return this.members.map(({ port }) => `${this.#scheme}://127.0.0.1:${port}`)
  }

  /** A keystore with a prefix of its own. */
  config(given: Readonly<Record<string, unknown>> = {}): StoreConfig {
    return {
      kind: 'etcd',
      settings: { endpoints: this.endpoints, prefix: `/test-${++this.#folders}/`, ...given },
    }
  }
}

/** `ca`, `server`, `client`, and `stranger`, whom the CA does not know. */
async function writeCertificates(directory: string): Promise<void> {
  const ca = await certificate({ subject: 'ca', ca: true, usages: [] })
  const cast = {
    ca,
    server: await certificate({ subject: 'etcd', issuer: ca, ip: ['127.0.0.1'] }),
    client: await certificate({ subject: 'client', issuer: ca }),
    stranger: await certificate({ subject: 'stranger' }),
  }
  for (const [name, { cert, key }] of Object.entries(cast)) {
    writeFileSync(join(directory, `${name}.crt`), cert)
    writeFileSync(join(directory, `${name}.key`), key)
  }
}
