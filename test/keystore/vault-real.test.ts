/**
 * The keystore against a real Vault or OpenBao in dev mode: VAULT_BIN, or a `vault` or `bao` on PATH. Where there is none,
 * the fake (vault.test.ts) has to do, and the skipped test says so.
 */

import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { after, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { failure } from '../support/failure.ts'
import { freePorts, Program } from '../support/program.ts'
import { tempDir } from '../support/server.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import { findTool } from '../support/tools.ts'
import { keyStoreContract } from './contract.ts'

const given = process.env['VAULT_BIN'] ?? ''
const BINARY = given === '' ? findTool('vault', 'bao') : given
const ROOT = 'root-of-the-tests'

interface Answer {
  readonly status: number
  readonly data: Readonly<Record<string, unknown>>
}

class RealVault {
  readonly url: string
  readonly #program: Program
  #mounts = 0

  private constructor(url: string, program: Program) {
    this.url = url
    this.#program = program
  }

  static async start(binary: string): Promise<RealVault> {
    const owner = { after }
    const [port] = await freePorts(1)
    const listen = `127.0.0.1:${port}`
    const program = new Program(
      owner,
      binary,
      [
        'server',
        '-dev',
        `-dev-root-token-id=${ROOT}`,
        `-dev-listen-address=${listen}`,
        '-dev-no-store-token',
      ],
      {
        env: { HOME: tempDir(owner), VAULT_ADDR: '', VAULT_TOKEN: '', BAO_ADDR: '', BAO_TOKEN: '' },
      },
    )
    const vault = new RealVault(`http://${listen}`, program)
    await program.ready(() => vault.ask('GET', 'sys/mounts'))
    await vault.ask('POST', 'sys/auth/approle', { type: 'approle' })
    await vault.ask('POST', 'sys/mounts/transit', { type: 'transit' })
    await vault.ask('POST', 'transit/keys/my-key')
    return vault
  }

  /** As root. @throws Error when it is refused, unless that is allowed */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': ROOT, 'x-vault-request': 'true' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    const json = (text === '' ? {} : JSON.parse(text)) as Partial<Answer>
    return { status: response.status, data: json.data ?? {} }
  }

  /** An engine of its own with the policy that the document gives, and a login with this policy. */
  async engine(
    version: 'v1' | 'v2',
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Engine> {
    const engine = `kv${++this.#mounts}`
    await this.ask('POST', `sys/mounts/${engine}`, {
      type: 'kv',
      options: { version: version.slice(1) },
    })
    await this.#ready(engine, version)
    const policy = async (text: string): Promise<void> => {
      await this.ask('PUT', `sys/policies/acl/${engine}`, { policy: text })
    }
    await policy(policyText(engine, version))
    const role = `auth/approle/role/${engine}`
    await this.ask('POST', role, { token_policies: [engine], token_ttl: '10m' })
    const { data: id } = await this.ask('GET', `${role}/role-id`)
    const { data: secret } = await this.ask('POST', `${role}/secret-id`)
    const settings = {
      endpoint: this.url,
      engine,
      version,
      approle: { id: id['role_id'], secret: secret['secret_id'] },
      ...more,
    }
    return { engine, policy, config: { kind: 'vault', settings } }
  }

  /** A new engine of version 2 takes a moment until it can be written to. */
  async #ready(engine: string, version: 'v1' | 'v2'): Promise<void> {
    const path = version === 'v1' ? `${engine}/ready` : `${engine}/data/ready`
    for (let tries = 0; ; tries++) {
      try {
        await this.ask('PUT', path, { data: { ready: 'yes' } })
        break
      } catch (error) {
        if (tries === 100) throw error
        await sleep(100)
      }
    }
    await this.ask('DELETE', version === 'v1' ? path : `${engine}/metadata/ready`)
  }

  async seal(): Promise<void> {
    await this.ask('PUT', 'sys/seal')
  }

  /** Dev mode prints the one key that is needed. */
  async unseal(): Promise<void> {
    const key = /Unseal Key: (\S+)/.exec(this.#program.output)?.[1]
    assert.ok(key, 'an unseal key in the output')
    await this.ask('PUT', 'sys/unseal', { key })
    for (;;) {
      const health = await fetch(`${this.url}/v1/sys/health`)
      if (health.status === 200) return
      await sleep(50)
    }
  }
}

interface Engine {
  readonly engine: string
  readonly config: StoreConfig
  policy(text: string): Promise<void>
}

/** As in docs/keystores/vault.md. */
function policyText(engine: string, version: 'v1' | 'v2'): string {
  const transit = ['encrypt', 'decrypt']
    .map((operation) => `path "transit/${operation}/my-key" { capabilities = ["update"] }`)
    .join('\n')
  return version === 'v1'
    ? `path "${engine}/*" { capabilities = ["create", "read", "delete", "list"] }\n${transit}`
    : `path "${engine}/data/*" { capabilities = ["create", "read"] }
path "${engine}/metadata/*" { capabilities = ["list", "delete"] }
${transit}`
}

let running: Promise<RealVault> | undefined

/** One for this file. */
function vault(): Promise<RealVault> {
  running ??= RealVault.start(BINARY ?? '')
  return running
}

async function opened(
  t: TestContext,
  version: 'v1' | 'v2' = 'v2',
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ store: KeyStore; made: Engine }> {
  const made = await (await vault()).engine(version, more)
  return { store: await openStore(t, made.config), made }
}

const VARIANTS: readonly ['v1' | 'v2', Readonly<Record<string, unknown>>][] = [
  ['v1', {}],
  ['v2', {}],
  ['v2', { prefix: 'team/a', transit: { key: 'my-key' } }],
]

if (BINARY === undefined) {
  test('the keystore and a real Vault', {
    skip: 'NOT TESTED AGAINST A REAL VAULT: set VAULT_BIN, or install vault or bao',
  })
}

for (const [version, more] of BINARY === undefined ? [] : VARIANTS) {
  const name = `a real Vault, KV ${[version, ...Object.keys(more)].join(', ')}`
  keyStoreContract(name, async (t) => (await opened(t, version, more)).store, {
    deleteTells: false,
    createIsAtomic: version !== 'v1',
    shared: async () => (await (await vault()).engine(version, more)).config,
  })
}

const real = (fact: string, check: (t: TestContext) => Promise<void>): void => {
  if (BINARY !== undefined) test(`a real Vault: ${fact}`, check)
}

real('what is stored has the form that the Go server gives it', async (t) => {
  const { store, made } = await opened(t, 'v2', { prefix: 'p' })
  await store.create('my-key', bytes('value'), SIGNAL)
  const { data } = await (await vault()).ask('GET', `${made.engine}/data/p/my-key`)
  assert.deepEqual(data['data'], { 'my-key': 'value' })
})

real('a key of transit may have any version', async (t) => {
  const { store } = await opened(t, 'v2', { transit: { key: 'my-key' } })
  await store.create('before', bytes('value'), SIGNAL)
  await (await vault()).ask('POST', 'transit/keys/my-key/rotate')
  await store.create('after', bytes('value'), SIGNAL)
  for (const name of ['before', 'after'])
    assert.equal(Buffer.from(await store.get(name, SIGNAL)).toString(), 'value')
})

real('who comes second is told so, also where policies let him update', async (t) => {
  const { store, made } = await opened(t)
  await made.policy(`path "${made.engine}/data/*" { capabilities = ["create", "read", "update"] }`)
  const creates = Array.from({ length: 8 }, () => store.create('my-key', bytes('v'), SIGNAL))
  const outcomes = await Promise.allSettled(creates)
  const codes = outcomes.map((outcome) =>
    outcome.status === 'fulfilled' ? 'won' : (outcome.reason as { code?: string }).code,
  )
  assert.deepEqual(codes.map(String).sort(), [
    ...Array.from({ length: 7 }, () => 'KEY_EXISTS'),
    'won',
  ])
})

real('a first version that was deleted is a failure', async (t) => {
  const { store, made } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  await (await vault()).ask('DELETE', `${made.engine}/data/my-key`)
  await assert.rejects(store.get('my-key', SIGNAL), failure('failed', /its version was deleted/))
})

real('a missing right is named', async (t) => {
  const { store, made } = await opened(t)
  await made.policy(`path "${made.engine}/data/*" { capabilities = ["read"] }`)
  await assert.rejects(
    store.create('my-key', bytes('v'), SIGNAL),
    failure('denied', /needs the capability 'create'/),
  )
  const { names } = await store
    .list({ prefix: '', from: '' }, 9, SIGNAL)
    .catch((error: unknown) => {
      failure('denied', /needs the capability 'list'/)(error)
      return { names: undefined }
    })
  assert.equal(names, undefined)
})

real('a wrong secret ID is a denial', async (t) => {
  const { config } = await (await vault()).engine('v2')
  const approle = { ...(config.settings['approle'] as object), secret: 'wrong' }
  await assert.rejects(
    openStore(t, { ...config, settings: { ...config.settings, approle } }),
    failure('denied', /check approle\.id and approle\.secret/),
  )
})

real('the wrong version of the engine is a failure, not a missing key', async (t) => {
  const { made } = await opened(t, 'v2')
  await made.policy(`path "${made.engine}/*" { capabilities = ["create", "read"] }`)
  const settings = { ...made.config.settings, version: 'v1' }
  const wrong = await openStore(t, { ...made.config, settings })
  await assert.rejects(wrong.get('my-key', SIGNAL), { name: 'KeyStoreError' })
})

real('tokens that were revoked early are replaced', async (t) => {
  const { store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  await (await vault()).ask('PUT', 'sys/leases/revoke-prefix/auth/approle/login')
  await Promise.all(Array.from({ length: 8 }, () => store.get('my-key', SIGNAL)))
})

real('a service account logs in with its token', async (t) => {
  const server = await vault()
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = publicKey.export({ type: 'spki', format: 'pem' })
  const { engine, config } = await server.engine('v2')
  // Kubernetes itself is not here; the method `jwt` has the same login.
  await server.ask('POST', 'sys/auth/cluster', { type: 'jwt' })
  await server.ask('POST', 'auth/cluster/config', { jwt_validation_pubkeys: [pem] })
  await server.ask('POST', 'auth/cluster/role/kes', {
    role_type: 'jwt',
    bound_audiences: ['kes'],
    user_claim: 'sub',
    token_policies: [engine],
  })
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = { sub: 'kes', aud: 'kes', iat: now, nbf: now, exp: now + 600 }
  const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`
  const jwt = `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`
  const { approle, ...settings } = config.settings
  assert.ok(approle)
  const kubernetes = { engine: 'cluster', role: 'kes', jwt }
  const store = await openStore(t, { ...config, settings: { ...settings, kubernetes } })
  await store.create('my-key', bytes('value'), SIGNAL)
})

// Last: everybody else needs an open Vault.
real('sealed is unreachable, and unsealed works at once', async (t) => {
  const { store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  const server = await vault()
  await server.seal()
  const sealed = failure('unreachable', /sealed/)
  await assert.rejects(store.status(SIGNAL), sealed)
  await assert.rejects(store.get('my-key', SIGNAL), sealed)
  await server.unseal()
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  await store.status(SIGNAL)
})
