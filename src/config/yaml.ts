/** A YAML file as strings, lists and maps, with the place of every value and `${ENV}` put in. */

import {
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

export class YamlFile {
  /** Null for an empty file. */
  readonly tree: Tree
  readonly findings: Finding[] = []
  readonly #document: Document.Parsed
  readonly #lines = new LineCounter()

  constructor(text: string, env: Readonly<Record<string, string | undefined>>) {
    // The failsafe schema leaves every scalar a string: `on`, `off` and identities of digits stay what they are.
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      schema: 'failsafe',
      merge: true,
      prettyErrors: false,
    })
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

  /** Where a field is, for messages that name two places. */
  where(path: Path): string {
    const { line, column } = this.#place(this.#offset(path))
    return `${line}:${column}`
  }

  #read(node: unknown, path: Path, env: Readonly<Record<string, string | undefined>>): Tree {
    if (isAlias(node)) return this.#read(node.resolve(this.#document), path, env)
    if (isSeq(node)) return node.items.map((item, index) => this.#read(item, [...path, index], env))
    if (isMap(node)) {
      const map: { [name: string]: Tree } = {}
      for (const { key, value } of node.items) {
        const name = String((key as Node).toJSON?.() ?? key)
        if (name === '<<') Object.assign(map, this.#read(value, path, env), map)
        else
          Object.defineProperty(map, name, {
            value: this.#read(value, [...path, name], env),
            enumerable: true,
            writable: true,
            configurable: true,
          })
      }
      return map
    }
    if (!isScalar(node)) return null
    const text = typeof node.value === 'string' ? node.value : ''
    if (node.type === 'PLAIN' && (text === '' || text === '~' || text === 'null')) return null
    const variable = /^\$\{(.+)\}$/.exec(text.trim())?.[1]?.trim()
    if (variable === undefined) return text
    const value = env[variable]
    if (value === undefined)
      this.note('error', path, `the environment variable ${variable} is not set`)
    return value?.trim() ?? ''
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
