/** Whether a file has the fields that a config file has, of the right types; old spellings made current. */

import * as v from 'valibot'

import { KEY_STORES } from '../keystore/index.ts'
import { keyStoresIn, nearestKeyStore } from './keystores.ts'
import { nearest } from './nearest.ts'
import { type ConfigFile, schema } from './schema.ts'
import { dotted, type Path, type Tree, type YamlFile } from './yaml.ts'

const THERE_ARE = `there are: ${KEY_STORES.map(({ name }) => name).join(', ')}`
/** What the Go server's samples have, older ones, too, and it does not look at. */
const IGNORED = new Set([
  'keystore.kes',
  'keystore.gemalto.keysecure.credentials.retry',
  'keystore.vault.approle.retry',
  'keystore.vault.kubernetes.retry',
])

export class ShapeReader {
  readonly #file: YamlFile
  readonly #lenient: boolean

  /** @param lenient unknown fields are warnings */
  constructor(file: YamlFile, lenient: boolean) {
    this.#file = file
    this.#lenient = lenient
  }

  /** Undefined when there are errors among the findings. */
  read(): ConfigFile | undefined {
    const tree = this.#sections()
    if (tree === undefined) return undefined
    const result = this.#check(tree, schema)
    return result.success ? result.output : readRest(tree, result.issues)
  }

  /** The section `keystore` alone, whatever else there is. Undefined as above. */
  readKeyStore(): ConfigFile['keystore'] | undefined {
    const tree = this.#sections()
    if (tree === undefined) return undefined
    const { keystore } = tree
    const own: { [name: string]: Tree } = keystore === undefined ? {} : { keystore }
    const result = this.#check(own, v.pick(schema, ['keystore']))
    return result.success ? result.output.keystore : undefined
  }

  #sections(): { [name: string]: Tree } | undefined {
    const tree = this.#file.tree ?? {}
    if (isMap(tree)) {
      this.#modernise(tree)
      return tree
    }
    this.#error([], 'a map of sections is expected')
    return undefined
  }

  #check<S extends v.GenericSchema>(tree: { [name: string]: Tree }, type: S): v.SafeParseResult<S> {
    this.#checkNames(tree, type, [])
    this.#chooseKeyStore(tree)
    const result = v.safeParse(type, tree)
    for (const issue of result.issues ?? []) this.#error(pathOf(issue), messageOf(issue))
    return result
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
      if (policy['allow'] === undefined || policy['allow'] === null) {
        policy['allow'] = policy['paths']
        // Files with this spelling were written for the patterns of their time.
        policy['dialect'] ??= 'v0.7'
      } else this.#error(['policy', name, 'paths'], 'stands beside allow, which means the same')
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
    if (IGNORED.has(field)) return this.#warn(path, 'has no effect; it is ignored')
    const below = dotted(path.slice(1))
    if (path[0] === 'keystore' && !KEY_STORES.some((kind) => below.startsWith(`${kind.name}.`)))
      return this.#unknownKeyStore(path, below)
    const guess = nearest(name, known)
    const hint =
      guess === undefined ? '' : `; did you mean ${dotted([...path.slice(0, -1), guess])}?`
    if (this.#lenient) this.#warn(path, `unknown field, ignored${hint}`)
    else this.#error(path, `unknown field${hint}`)
  }

  #unknownKeyStore(path: Path, name: string): void {
    const guess = nearestKeyStore(name, KEY_STORES)
    const hint = guess === undefined ? THERE_ARE : `did you mean keystore.${guess}?`
    this.#error(path, `unknown keystore; ${hint}`)
  }

  /** Makes sure that there is one keystore; one that is empty is a map. */
  #chooseKeyStore(tree: { [name: string]: Tree }): void {
    // An unknown keystore was found already; then a missing one is no news.
    if (this.#file.hasErrorIn('keystore')) {
      tree['keystore'] = {}
      return
    }
    const found = keyStoresIn(tree['keystore'], KEY_STORES)
    const filled = found.filter(({ settings }) => settings !== null)
    const [chosen, ...more] = filled.length > 0 ? filled : found
    if (chosen === undefined) {
      this.#error(['keystore'], `no keystore is configured; ${THERE_ARE}`)
      tree['keystore'] = {}
      return
    }
    if (more.length > 0) {
      const names = [chosen, ...more].map(({ kind }) => kind.name).join(', ')
      this.#error(['keystore'], `more than one keystore is configured: ${names}`)
    }
    if (chosen.settings === null)
      tree['keystore'] = chosen.kind.name
        .split('.')
        .reduceRight<Tree>((inner, word) => ({ [word]: inner }), {})
  }

  #error(path: Path, message: string): void {
    this.#file.note('error', path, message)
  }

  #warn(path: Path, message: string): void {
    this.#file.note('warning', path, message)
  }
}

/** The sections that are right, so that they can be looked at further; the others have their defaults. */
function readRest(
  tree: { [name: string]: Tree },
  issues: readonly v.BaseIssue<unknown>[],
): ConfigFile | undefined {
  const rest = { ...tree }
  for (const issue of issues) delete rest[String(pathOf(issue)[0])]
  const result = v.safeParse(schema, {
    ...rest,
    admin: rest['admin'] ?? { identity: 'disabled' },
    keystore: rest['keystore'] ?? { memory: {} },
  })
  return result.success ? result.output : undefined
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
