/** What a config file means as a whole: where fields depend on each other, on the command line, on the disk. */

import { existsSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'

import { ROUTES } from '../api/index.ts'
import { type Generation, isGlob, readsTwoWays } from '../auth/policy.ts'
import { type Identity, isApiKey, parseIdentity } from '../crypto/identity.ts'
import { type Address, parseAddress, type Secret } from '../fields.ts'
import { startFault } from '../keys/managed/start.ts'
import { isName } from '../names.ts'
import type {
  Config,
  KeyConfig,
  Overrides,
  PolicyConfig,
  RustfsConfig,
  TlsConfig,
} from './config.ts'
import { chosenKeyStore } from './keystores.ts'
import { nearest } from './nearest.ts'
import type { ConfigFile } from './schema.ts'
import type { Path, YamlFile } from './yaml.ts'

/** Who may do everything over the API of RustFS. */
const ADMIN = 'admin'

export class MeaningReader {
  readonly #file: YamlFile
  readonly #path: string
  readonly #overrides: Overrides
  /** Identities that have a meaning already, and where. */
  readonly #owners = new Map<Identity, { readonly what: string; readonly path: Path }>()

  /** @param path of the file, which others are named relative to */
  constructor(file: YamlFile, path: string, overrides: Overrides) {
    this.#file = file
    this.#path = path
    this.#overrides = overrides
  }

  /** Undefined when there are errors among the findings. */
  read(file: ConfigFile): Config | undefined {
    const overrides = this.#overrides
    const keystore = chosenKeyStore(file.keystore)
    const admin = this.#admin(file.admin.identity)
    const policies = this.#policies(file.policy, file.dialect)
    const config: Omit<Config, 'keystore'> = {
      address: overrides.address === undefined ? file.address : this.#address(overrides.address),
      admin,
      tls: {
        key: overrides.key ?? this.#resolve(file.tls.key),
        cert: overrides.cert ?? this.#resolve(file.tls.cert),
        password: file.tls.password,
        auth: overrides.auth ?? file.tls.auth,
        ca: this.#resolve(file.tls.ca),
        proxy: this.#proxy(file.tls.proxy),
      },
      api: this.#api(file.api),
      policies,
      generation: file.dialect,
      cache: file.cache.expiry,
      log: { threshold: file.log.error, audit: file.log.audit, format: file.log.format },
      keys: this.#keys(file.keys),
      deletionWindow: file.key.deletion_window,
      http: file.http,
      overload: { inFlight: file.overload.in_flight, delay: file.overload.delay },
      rustfs: this.#rustfs(file),
    }
    this.#checkFiles(config.tls)
    const hasErrors = this.#file.findings.some(({ severity }) => severity === 'error')
    return hasErrors || keystore === undefined ? undefined : { ...config, keystore }
  }

  #checkFiles({ key, cert }: TlsConfig): void {
    if (this.#file.hasErrorIn('tls')) return
    const missing = 'is needed, here or on the command line as'
    if (key === '') this.#error(['tls', 'key'], `the private key of the server ${missing} --key`)
    if (cert === '') this.#error(['tls', 'cert'], `the certificate of the server ${missing} --cert`)
  }

  #address(text: string): Address {
    const parsed = parseAddress(text)
    if (parsed === undefined)
      this.#error([], '--addr: not an address: write it like 0.0.0.0:7373, :7373 or [::]:7373')
    return parsed ?? { host: '', port: 0 }
  }

  #admin(text: string): Identity | undefined {
    if (isApiKey(text)) this.#refuseApiKey(['admin', 'identity'])
    const identity = parseIdentity(text)
    if (identity === undefined && /^[0-9a-f]{64}$/i.test(text)) {
      this.#warn(
        ['admin', 'identity'],
        'identities have lower-case digits; like this, nobody is the admin',
      )
    }
    if (identity !== undefined) this.#claim(identity, 'the admin', ['admin', 'identity'])
    return identity
  }

  #api(file: ConfigFile['api']): Config['api'] {
    const routes = new Map<string, { skipAuth: boolean; timeout: number | undefined }>()
    const paths = ROUTES.map(({ path }) => path as string)
    for (const [path, settings] of Object.entries(file)) {
      const route = ROUTES.find((known) => known.path === path || known.path === `${path}/`)
      if (route === undefined) {
        const guess = nearest(path, paths)
        this.#error(
          ['api', path],
          `there is no such API${guess === undefined ? '' : `; did you mean ${guess}?`}`,
        )
        continue
      }
      if (settings?.skip_auth && route.canSkipAuth !== true) {
        this.#error(
          ['api', path, 'skip_auth'],
          'this API needs a certificate; only /v1/ready, /v1/status, /v1/metrics and /v1/api can do without',
        )
      }
      routes.set(route.path, {
        skipAuth: settings?.skip_auth ?? false,
        timeout: settings?.timeout ?? undefined,
      })
    }
    return routes
  }

  #policies(file: ConfigFile['policy'], dialect: Generation): PolicyConfig[] {
    return Object.entries(file).map(([name, policy]) => {
      const { allow, deny, identities } = policy ?? { allow: [], deny: [], identities: [] }
      const generation = policy?.dialect ?? undefined
      const language = generation ?? dialect
      this.#checkRules(name, 'allow', allow, language)
      this.#checkRules(name, 'deny', deny, language)
      const path = ['policy', name, 'identities']
      const members = this.#members(identities, `in the policy '${name}'`, path)
      return { name, allow, deny, identities: members, language, generation }
    })
  }

  #proxy({ identities, header, admin }: ConfigFile['tls']['proxy']): TlsConfig['proxy'] {
    const path = ['tls', 'proxy', 'identities']
    return {
      identities: this.#members(identities, 'a TLS proxy', path),
      header: header.cert,
      admin,
    }
  }

  /** @param what each of them is, in messages */
  #members(texts: readonly string[], what: string, path: Path): Identity[] {
    return texts.flatMap((text, index) => {
      const identity = this.#member(text, [...path, index])
      return identity !== undefined && this.#claim(identity, what, [...path, index])
        ? [identity]
        : []
    })
  }

  /** An identity means one thing. @returns whether it meant nothing before */
  #claim(identity: Identity, what: string, path: Path): boolean {
    const owner = this.#owners.get(identity)
    if (owner === undefined) this.#owners.set(identity, { what, path })
    else
      this.#error(
        path,
        `this identity is already ${owner.what} (line ${this.#file.where(owner.path)})`,
      )
    return owner === undefined
  }

  #member(text: string, path: Path): Identity | undefined {
    const identity = parseIdentity(text)
    if (identity !== undefined) return identity
    if (isApiKey(text)) this.#refuseApiKey(path)
    else
      this.#warn(
        path,
        'not an identity (64 lower-case hex digits), so nobody can have it; it is ignored',
      )
    return undefined
  }

  #refuseApiKey(path: Path): void {
    this.#error(
      path,
      'this is an API key, a secret: write its identity, which `kes identity of` prints, and replace the key',
    )
  }

  #checkRules(
    name: string,
    field: 'allow' | 'deny',
    rules: readonly string[],
    language: Generation,
  ): void {
    for (const [index, rule] of rules.entries()) {
      const path = ['policy', name, field, index]
      if (language !== 'current' && !isGlob(rule)) {
        this.#error(path, `not a pattern of ${language}: a [ without ], or a \\ at the end`)
      } else if (language !== 'current' && readsTwoWays(rule)) {
        this.#warn(
          path,
          `read as ${language} reads it: a * stands for any text without /; in the dialect current this rule means something else`,
        )
      } else if (language === 'current' && rule.slice(0, -1).includes('*')) {
        this.#warn(path, 'a * is a wildcard only at the end; this one is an ordinary character')
      }
    }
  }

  #rustfs({ rustfs: file, policy }: ConfigFile): RustfsConfig | undefined {
    if (file === undefined || file === null) return undefined
    // In a credential that word is no policy's name.
    if (Object.hasOwn(policy, ADMIN))
      this.#error(
        ['policy', ADMIN],
        'a policy cannot have this name while there is a section rustfs',
      )
    const path = ['rustfs', 'credentials']
    const accessKeys = new Set<string>()
    const credentials = file.credentials.map(({ access_key, secret_key, policy: name }, index) => {
      if (accessKeys.has(access_key))
        this.#error([...path, index, 'access_key'], 'this access key is in the list twice')
      accessKeys.add(access_key)
      if (name !== ADMIN && !Object.hasOwn(policy, name))
        this.#error([...path, index, 'policy'], this.#noPolicy(name, Object.keys(policy)))
      return { accessKey: access_key, secret: secret_key, policy: name }
    })
    this.#checkStart(file.start ?? undefined)
    return {
      address: file.address,
      credentials,
      start: file.start ?? undefined,
      backends: {
        vault: file.backends.vault,
        secretFiles: this.#resolve(file.backends.secret_files),
        ca: this.#resolve(file.backends.ca),
      },
      keyRoot: file.key_root,
      state: file.state,
    }
  }

  #checkStart(start: Secret | undefined): void {
    const fault = start && startFault(start)
    if (fault !== undefined) this.#error(['rustfs', 'start'], fault)
  }

  #noPolicy(name: string, known: readonly string[]): string {
    const guess = nearest(name, [...known, ADMIN])
    return `there is no such policy${guess === undefined ? '' : `; did you mean ${guess}?`}`
  }

  #keys(file: ConfigFile['keys']): KeyConfig[] {
    const keys = new Map<string, KeyConfig>()
    for (const [index, { name, rotate_every: rotateEvery }] of file.entries()) {
      if (!isName(name))
        this.#error(
          ['keys', index, 'name'],
          'not a key name: 1 to 80 of 0-9 A-Z a-z _ -, no - first or last',
        )
      if (keys.has(name)) this.#error(['keys', index, 'name'], 'this key is in the list twice')
      keys.set(name, { name, rotateEvery })
    }
    return [...keys.values()]
  }

  /** Relative to the working directory, as in the Go server; what is not there, to the config file. */
  #resolve(path: string): string {
    if (path === '' || isAbsolute(path) || existsSync(path)) return path
    const beside = join(dirname(this.#path), path)
    return existsSync(beside) ? beside : path
  }

  #error(path: Path, message: string): void {
    this.#file.note('error', path, message)
  }

  #warn(path: Path, message: string): void {
    this.#file.note('warning', path, message)
  }
}
