/** A YAML file as strings, lists and maps, with the place of every value and `${ENV}` put in. */

import {
  type Alias,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Document,
} from 'yaml'

export type Path = readonly (string | number)[]
export type Tree = string | null | Tree[] | { [name: string]: Tree }

export interface Finding {
  readonly severity: 'error' | 'warning'
  readonly line: number
  readonly column: number
  /** Dotted name of the field; '' for the file as a whole. */
  readonly field: string
  readonly message: string
}

/** More aliases than any config has: a few lines of them can stand for billions of values. */
const MAX_ALIASES = 1000

export class YamlFile {
  /** Null for an empty file. */
  readonly tree: Tree
  readonly findings: Finding[] = []
  readonly #document: Document.Parsed
  readonly #lines = new LineCounter()
  #aliases = 0
  /** Values of the aliases that are being followed just now. */
  readonly #open = new Set<unknown>()

  constructor(text: string, env: Readonly<Record<string, string | undefined>>) {
    this.#document = this.#parse(text)
    for (const error of this.#document.errors) {
      this.findings.push({
        severity: 'error',
        ...this.#place(error.pos[0]),
        field: '',
        message: error.message,
      })
    }
    this.tree = this.findings.length > 0 ? null : this.#read(this.#document.contents, [], env)
  }

  /** Notes something about the field at `path`, or about the nearest one above that is in the file. */
  note(severity: Finding['severity'], path: Path, message: string): void {
    this.findings.push({
      severity,
      ...this.#place(this.#offset(path)),
      field: dotted(path),
      message,
    })
  }

  /** Whether something is wrong with a top-level section. */
  hasErrorIn(section: string): boolean {
    return this.findings.some(
      ({ severity, field }) => severity === 'error' && /^[^.[]*/.exec(field)?.[0] === section,
    )
  }

  /** Where a field is, for messages that name two places. */
  where(path: Path): string {
    const { line, column } = this.#place(this.#offset(path))
    return `${line}:${column}`
  }

  #parse(text: string): Document.Parsed {
    // The failsafe schema leaves every scalar a string: `on`, `off` and identities of digits stay what they are.
    const options = { schema: 'failsafe', prettyErrors: false } as const
    try {
      return parseDocument(text, { ...options, lineCounter: this.#lines })
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#tooDeep()
      return parseDocument('', options)
    }
  }

  #tooDeep(): void {
    const message = 'nested too deeply'
    this.findings.push({ severity: 'error', line: 1, column: 1, field: '', message })
  }

  #read(node: unknown, path: Path, env: Readonly<Record<string, string | undefined>>): Tree {
    if (isAlias(node)) return this.#follow(node, path, env)
    if (isSeq(node)) return node.items.map((item, index) => this.#read(item, [...path, index], env))
    if (isMap(node)) {
      const map: { [name: string]: Tree } = {}
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? key.value : undefined
        if (typeof name !== 'string') this.note('error', path, 'a name must be a plain text')
        else if (name === '<<') this.#merge(map, this.#read(value, path, env), path)
        else put(map, name, this.#read(value, [...path, name], env))
      }
      return map
    }
    if (!isScalar(node)) return null
    const text = typeof node.value === 'string' ? node.value : ''
    if (node.type === 'PLAIN' && (text === '' || text === '~' || text === 'null')) return null
    const variable = /^\$\{(.+)\}$/.exec(text.trim())?.[1]?.trim()
    if (variable === undefined) return text
    // process.env has names of Object's prototype, too.
    const value: unknown = env[variable]
    if (typeof value === 'string') return value.trim()
    this.note('error', path, `the environment variable ${variable} is not set`)
    return ''
  }

  #follow(alias: Alias, path: Path, env: Readonly<Record<string, string | undefined>>): Tree {
    if (++this.#aliases > MAX_ALIASES) {
      if (this.#aliases === MAX_ALIASES + 1) this.note('error', path, 'too many aliases')
      return null
    }
    const node = alias.resolve(this.#document)
    if (node === undefined || this.#open.has(node)) {
      const fault = node === undefined ? 'there is no such anchor before it' : 'it contains itself'
      this.note('error', path, `the alias *${alias.source} has no value: ${fault}`)
      return null
    }
    this.#open.add(node)
    const tree = this.#read(node, path, env)
    this.#open.delete(node)
    return tree
  }

  /** `<<: *other` or `<<: [*one, *two]`: fields that are there already stay, and the first of several wins. */
  #merge(map: { [name: string]: Tree }, other: Tree, path: Path): void {
    for (const each of Array.isArray(other) ? other : [other]) {
      if (typeof each !== 'object' || each === null || Array.isArray(each))
        this.note('error', path, '<< needs a map, or a list of maps')
      else
        for (const [name, value] of Object.entries(each))
          if (!Object.hasOwn(map, name)) put(map, name, value)
    }
  }

  #offset(path: Path): number {
    let node: unknown = this.#document.contents
    let offset = isNode(node) ? start(node) : 0
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(this.#document)
      if (isMap(node)) {
        const pair = node.items.find(
          ({ key }) => isScalar(key) && String(key.value) === String(step),
        )
        if (!isPair(pair) || !isNode(pair.key)) break
        offset = start(pair.key)
        node = pair.value
      } else if (isSeq(node)) {
        node = node.items[Number(step)]
        if (!isNode(node)) break
        offset = start(node)
      } else break
    }
    return offset
  }

  #place(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
}

/** Also for a field named __proto__. */
function put(map: { [name: string]: Tree }, name: string, value: Tree): void {
  Object.defineProperty(map, name, { value, enumerable: true, writable: true, configurable: true })
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
}

function start(node: Node): number {
  return node.range?.[0] ?? 0
}

export function dotted(path: Path): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '')
}
