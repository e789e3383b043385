/** From the config file's text to a checked Config; or everything that is wrong with it, at once. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'

import * as v from 'valibot'

import { ROUTES } from '../api/index.ts'
import { ApiKey, type Identity, parseIdentity } from '../crypto/identity.ts'
import { type Address, parseAddress } from '../fields.ts'
import type { KeyStoreKind } from '../keystore/keystore.ts'
import { KEY_STORES } from '../keystore/index.ts'
import type { CacheExpiry } from '../keys/cache.ts'
import { isName } from '../names.ts'
import type { LogFormat } from '../telemetry/log.ts'
import { nearest } from './nearest.ts'
import { type ConfigFile, schema } from './schema.ts'
import { dotted, type Finding, type Path, type Tree, YamlFile } from './yaml.ts'

export interface PolicyConfig {
  readonly name: string
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  readonly identities: readonly Identity[]
}

export interface TlsConfig {
  readonly key: string
  readonly cert: string
  readonly password: string
  readonly auth: boolean
  readonly ca: string
}

/** All times in milliseconds. */
export interface Config {
  readonly address: Address
  /** Undefined when switched off. */
  readonly admin: Identity | undefined
  readonly tls: TlsConfig
  readonly api: ReadonlyMap<
    string,
    { readonly skipAuth: boolean; readonly timeout: number | undefined }
  >
  readonly policies: readonly PolicyConfig[]
  readonly cache: CacheExpiry
  readonly log: { readonly threshold: number; readonly audit: boolean; readonly format: LogFormat }
  /** Names of keys to create if absent. */
  readonly keys: readonly string[]
  readonly keystore: { readonly kind: KeyStoreKind; readonly settings: unknown }
}

/** What the command line says instead of the file. */
export interface Overrides {
  readonly address?: string | undefined
  readonly key?: string | undefined
  readonly cert?: string | undefined
  readonly auth?: boolean | undefined
}

export interface LoadOptions {
  readonly overrides?: Overrides
  /** Unknown fields are warnings. */
  readonly lenient?: boolean
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface Loaded {
  readonly config: Config
  readonly warnings: readonly string[]
}

/** A config that cannot be used: each finding as `file:line:column: field: message`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly findings: readonly string[]

  constructor(findings: readonly string[]) {
    super(findings.join('\n'))
    this.findings = findings
  }
}

/** @throws ConfigError */
export function loadConfigFile(path: string, options: LoadOptions = {}): Loaded {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError([`${path}: cannot be read: ${(error as Error).message}`])
  }
  return loadConfig(text, path, options)
}

/** @param path for messages, and for files that are named relative to it. @throws ConfigError */
export function loadConfig(text: string, path: string, options: LoadOptions = {}): Loaded {
  const file = new YamlFile(text, options.env ?? process.env)
  const config = file.findings.length > 0 ? undefined : new Reader(file, path, options).read()
  const order = (a: Finding, b: Finding): number => a.line - b.line || a.column - b.column
  const lines = (severity: Finding['severity']): string[] =>
    file.findings
      .filter((finding) => finding.severity === severity)
      .sort(order)
      .map(
        ({ line, column, field, message }) =>
          `${path}:${line}:${column}: ${field && `${field}: `}${message}`,
      )
  const errors = lines('error')
  if (errors.length > 0 || config === undefined) throw new ConfigError(errors)
  return { config, warnings: lines('warning') }
}

/** Keystores of the Go server that are not in this release. */
const OTHER_KEY_STORES = new Set(['vault', 'fortanix', 'aws', 'gemalto', 'gcp', 'azure', 'entrust'])
/** Sections that the Go server's samples have and it never looked at. */
const IGNORED = new Set(['keystore.kes'])

class Reader {
  readonly #file: YamlFile
  readonly #path: string
  readonly #options: LoadOptions

  constructor(file: YamlFile, path: string, options: LoadOptions) {
    this.#file = file
    this.#path = path
    this.#options = options
  }

  /** Undefined when there are errors among the findings. */
  read(): Config | undefined {
    const tree = this.#file.tree ?? {}
    if (typeof tree === 'string' || Array.isArray(tree)) {
      this.#error([], 'a map of sections is expected')
      return undefined
    }
    this.#modernise(tree)
    this.#checkNames(tree, schema, [])
    this.#chooseKeyStore(tree)
    const result = v.safeParse(schema, tree)
    for (const issue of result.issues ?? []) this.#error(pathOf(issue), messageOf(issue))
    return result.success ? this.#config(result.output) : undefined
  }

  /** Old spellings become the current ones, with a warning each. */
  #modernise(tree: { [name: string]: Tree }): void {
    if (tree['root'] !== undefined) {
      this.#warn(['root'], 'an old spelling; write admin.identity')
      if (tree['admin'] === undefined || tree['admin'] === null)
        tree['admin'] = { identity: tree['root'] }
      else this.#error(['root'], 'stands beside admin, which means the same')
      delete tree['root']
    }
    const { keys } = tree
    if (isMap(keys)) {
      this.#warn(['keys'], 'as a map this is an old spelling; write keystore')
      if (tree['keystore'] === undefined || tree['keystore'] === null) tree['keystore'] = keys
      else this.#error(['keys'], 'stands beside keystore, which means the same')
      delete tree['keys']
    }
    for (const [name, policy] of Object.entries(isMap(tree['policy']) ? tree['policy'] : {})) {
      if (!isMap(policy) || policy['paths'] === undefined) continue
      this.#warn(['policy', name, 'paths'], 'an old spelling; write allow')
      if (policy['allow'] === undefined || policy['allow'] === null)
        policy['allow'] = policy['paths']
      else this.#error(['policy', name, 'paths'], 'stands beside allow, which means the same')
      delete policy['paths']
    }
  }

  /** A field that is not there might be a misspelt `deny`: it must not be ignored. */
  #checkNames(tree: Tree, type: v.GenericSchema, path: Path): void {
    const known = unwrap(type)
    if (Array.isArray(tree) && 'item' in known) {
      for (const [index, item] of tree.entries())
        this.#checkNames(item, known.item as v.GenericSchema, [...path, index])
    }
    // The library takes a list for a map with the names 0, 1, 2 …
    if (Array.isArray(tree) && ('entries' in known || 'value' in known))
      this.#error(path, 'a section with fields is expected')
    if (!isMap(tree)) return
    for (const [name, value] of Object.entries(tree)) {
      const at = [...path, name]
      if ('value' in known) this.#checkNames(value, known.value as v.GenericSchema, at)
      if (!('entries' in known)) continue
      const entries = known.entries as Readonly<Record<string, v.GenericSchema>>
      const entry = Object.hasOwn(entries, name) ? entries[name] : undefined
      if (entry === undefined) this.#unknown(at, Object.keys(entries))
      else this.#checkNames(value, entry, at)
      if (entry === undefined) delete tree[name]
    }
  }

  #unknown(path: Path, known: readonly string[]): void {
    const name = String(path.at(-1))
    const field = dotted(path)
    if (IGNORED.has(field)) return this.#warn(path, 'has never had an effect; it is ignored')
    const parent = dotted(path.slice(0, -1))
    if (parent === 'keystore') {
      const what = OTHER_KEY_STORES.has(name)
        ? 'this keystore is not available in this release'
        : 'unknown keystore'
      return this.#error(path, `${what}; there are: ${known.join(', ')}`)
    }
    const guess = nearest(name, known)
    const hint =
      guess === undefined ? '' : `; did you mean ${dotted([...path.slice(0, -1), guess])}?`
    if (this.#options.lenient === true) this.#warn(path, `unknown field, ignored${hint}`)
    else this.#error(path, `unknown field${hint}`)
  }

  /** Leaves the one keystore that the file configures, as a map. */
  #chooseKeyStore(tree: { [name: string]: Tree }): void {
    const section = tree['keystore']
    const names = Object.keys(KEY_STORES).join(', ')
    // An unknown keystore was found already; then a missing one is no news.
    if (
      this.#file.findings.some(
        ({ field, severity }) => severity === 'error' && field.startsWith('keystore'),
      )
    ) {
      tree['keystore'] = {}
      return
    }
    if (!isMap(section) || Object.keys(section).length === 0) {
      this.#error(['keystore'], `no keystore is configured; there are: ${names}`)
      tree['keystore'] = {}
      return
    }
    const filled = Object.keys(section).filter((name) => section[name] !== null)
    const chosen = filled.length > 0 ? filled : Object.keys(section)
    if (chosen.length > 1)
      this.#error(['keystore'], `more than one keystore is configured: ${chosen.join(', ')}`)
    tree['keystore'] = Object.fromEntries(chosen.map((name) => [name, section[name] ?? {}]))
  }

  #config(file: ConfigFile): Config | undefined {
    const { overrides = {} } = this.#options
    const [kindName = ''] = Object.keys(file.keystore)
    const kind = KEY_STORES[kindName as keyof typeof KEY_STORES]
    const admin = this.#admin(file.admin.identity)
    const config: Config = {
      address: overrides.address === undefined ? file.address : this.#address(overrides.address),
      admin,
      tls: {
        key: overrides.key ?? this.#resolve(file.tls.key),
        cert: overrides.cert ?? this.#resolve(file.tls.cert),
        password: file.tls.password,
        auth: overrides.auth ?? file.tls.auth,
        ca: this.#resolve(file.tls.ca),
      },
      api: this.#api(file.api),
      policies: this.#policies(file.policy, admin),
      cache: file.cache.expiry,
      log: { threshold: file.log.error, audit: file.log.audit, format: file.log.format },
      keys: this.#keys(file.keys),
      keystore: { kind, settings: file.keystore[kindName] },
    }
    if (config.tls.key === '')
      this.#error(['tls', 'key'], 'the private key of the server is needed, here or as --key')
    if (config.tls.cert === '')
      this.#error(['tls', 'cert'], 'the certificate of the server is needed, here or as --cert')
    return this.#file.findings.some(({ severity }) => severity === 'error') ? undefined : config
  }

  #address(text: string): Address {
    const parsed = parseAddress(text)
    if (parsed === undefined)
      this.#error([], '--addr: not an address: write it like 0.0.0.0:7373, :7373 or [::]:7373')
    return parsed ?? { host: '', port: 0 }
  }

  #admin(text: string): Identity | undefined {
    if (isApiKey(text)) {
      this.#error(
        ['admin', 'identity'],
        'this is an API key, a secret: write its identity, which `kes identity of` prints, and replace the key',
      )
    }
    return parseIdentity(text)
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

  #policies(file: ConfigFile['policy'], admin: Identity | undefined): PolicyConfig[] {
    const owners = new Map<string, { what: string; path: Path }>()
    if (admin !== undefined) owners.set(admin, { what: 'the admin', path: ['admin', 'identity'] })
    return Object.entries(file).map(([name, policy]) => {
      const { allow, deny, identities } = policy ?? { allow: [], deny: [], identities: [] }
      this.#checkRules(name, 'allow', allow)
      this.#checkRules(name, 'deny', deny)
      const members: Identity[] = []
      for (const [index, text] of identities.entries()) {
        const path = ['policy', name, 'identities', index]
        const identity = this.#member(text, path)
        if (identity === undefined) continue
        const owner = owners.get(identity)
        if (owner !== undefined) {
          this.#error(
            path,
            `this identity is already ${owner.what} (line ${this.#file.where(owner.path)})`,
          )
          continue
        }
        owners.set(identity, { what: `in the policy '${name}'`, path })
        members.push(identity)
      }
      return { name, allow, deny, identities: members }
    })
  }

  #member(text: string, path: Path): Identity | undefined {
    const identity = parseIdentity(text)
    if (identity !== undefined) return identity
    if (isApiKey(text)) {
      this.#error(
        path,
        'this is an API key, a secret: write its identity, which `kes identity of` prints, and replace the key',
      )
    } else
      this.#warn(
        path,
        'not an identity (64 lower-case hex digits), so nobody can have it; it is ignored',
      )
    return undefined
  }

  #checkRules(name: string, field: 'allow' | 'deny', rules: readonly string[]): void {
    for (const [index, rule] of rules.entries()) {
      if (rule.slice(0, -1).includes('*')) {
        this.#warn(
          ['policy', name, field, index],
          'a * is a wildcard only at the end; this one is an ordinary character',
        )
      }
    }
  }

  #keys(file: ConfigFile['keys']): string[] {
    const names = new Set<string>()
    for (const [index, { name }] of file.entries()) {
      if (!isName(name))
        this.#error(
          ['keys', index, 'name'],
          'not a key name: 1 to 80 of 0-9 A-Z a-z _ -, no - first or last',
        )
      if (names.has(name)) this.#error(['keys', index, 'name'], 'this key is in the list twice')
      names.add(name)
    }
    return [...names]
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

/** Also one with a typing error, or without its prefix. */
function isApiKey(text: string): boolean {
  return text.startsWith('kes:') || ApiKey.parse(text) !== undefined
}

function isMap(tree: Tree | undefined): tree is { [name: string]: Tree } {
  return typeof tree === 'object' && tree !== null && !Array.isArray(tree)
}

/** The schema below optional, nullish and pipe. */
function unwrap(type: v.GenericSchema): v.GenericSchema {
  if ('wrapped' in type) return unwrap(type.wrapped as v.GenericSchema)
  const [first] = 'pipe' in type ? (type.pipe as readonly v.GenericSchema[]) : []
  return first === undefined || first === type ? type : unwrap(first)
}

function pathOf(issue: v.BaseIssue<unknown>): Path {
  return (issue.path ?? []).map(({ key }) => key as string | number)
}

/** Our own words; the library's would repeat the value, which may be a secret. */
function messageOf(issue: v.BaseIssue<unknown>): string {
  if (issue.received === 'undefined' || issue.received === 'null') return 'a value is needed'
  if (issue.kind === 'schema') {
    const expected: Readonly<Record<string, string>> = {
      object: 'a section with fields is expected',
      strict_object: 'a section with fields is expected',
      record: 'a section with fields is expected',
      array: 'a list is expected',
      string: 'a text is expected',
    }
    return expected[issue.type] ?? issue.message
  }
  return issue.message
}
