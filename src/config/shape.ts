/** Whether a file has the fields that a config file has, of the right types; old spellings made current. */

import * as v from 'valibot'

import { KEY_STORES } from '../keystore/index.ts'
import { nearest } from './nearest.ts'
import { type ConfigFile, schema } from './schema.ts'
import { dotted, type Path, type Tree, type YamlFile } from './yaml.ts'

/** Keystores of the Go server that are not in this release. */
const OTHER_KEY_STORES = new Set(['vault', 'fortanix', 'aws', 'gemalto', 'gcp', 'azure', 'entrust'])
/** Sections that the Go server's samples have and it never looked at. */
const IGNORED = new Set(['keystore.kes'])

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
    return result.success ? result.output : readRest(tree, result.issues)
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
    if (this.#lenient) this.#warn(path, `unknown field, ignored${hint}`)
    else this.#error(path, `unknown field${hint}`)
  }

  /** Leaves the one keystore that the file configures, as a map. */
  #chooseKeyStore(tree: { [name: string]: Tree }): void {
    const section = tree['keystore']
    const names = Object.keys(KEY_STORES).join(', ')
    // An unknown keystore was found already; then a missing one is no news.
    if (this.#file.hasErrorIn('keystore')) {
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
