/**
 * A policy in a file of its own, YAML or JSON: as in the section `policy` of a config file, or as `kes policy show
 * --json` prints it. What is wrong with it is said with line and column.
 */

import { describe } from '../config/load.ts'
import { nearest } from '../config/nearest.ts'
import { type Finding, type Path, type Tree, YamlFile } from '../config/yaml.ts'
import { type Identity, isApiKey, parseIdentity } from '../crypto/identity.ts'
import { CommandError } from './command.ts'

export interface PolicyFile {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  /** Who is to have it. */
  readonly identities: readonly Identity[]
  /** For people. */
  readonly warnings: readonly string[]
}

const FIELDS = ['allow', 'deny', 'identities']
/** What `kes policy show --json` prints beside the rules. */
const IGNORED = new Set(['name', 'created_at', 'created_by'])

/** @param path for messages. @throws CommandError with all that is wrong */
export function parsePolicy(text: string, path: string): PolicyFile {
  const file = new YamlFile(text, process.env)
  const reader = new Reader(file)
  const found = file.findings.length > 0 ? undefined : reader.read()
  const lines = (severity: Finding['severity']) =>
    file.findings
      .filter((finding) => finding.severity === severity)
      .map((finding) => describe(path, finding))
  const errors = lines('error')
  if (errors.length > 0 || found === undefined) throw new CommandError(errors.join('\n  '))
  return { ...found, warnings: lines('warning') }
}

class Reader {
  readonly #file: YamlFile

  constructor(file: YamlFile) {
    this.#file = file
  }

  read(): Omit<PolicyFile, 'warnings'> | undefined {
    const { tree } = this.#file
    if (!isMap(tree)) {
      this.#error([], 'a policy is expected: the lists allow and deny')
      return undefined
    }
    for (const name of Object.keys(tree)) if (!FIELDS.includes(name)) this.#unknown(name)
    return {
      allow: this.#rules('allow', tree['allow']),
      deny: this.#rules('deny', tree['deny']),
      identities: this.#identities(tree['identities']),
    }
  }

  /** It might be a misspelt `deny`. */
  #unknown(name: string): void {
    if (IGNORED.has(name)) return
    if (name === 'dialect')
      return this.#error([name], 'only a config file can say it: these rules are read as current')
    const guess = nearest(name, FIELDS)
    this.#error([name], `unknown field${guess === undefined ? '' : `; did you mean ${guess}?`}`)
  }

  #rules(field: 'allow' | 'deny', tree: Tree | undefined): string[] {
    // As the API answers: {"<rule>":{}}. The place of such a rule is that of its name.
    const entries: [Path, Tree][] = isMap(tree)
      ? Object.keys(tree).map((rule) => [[field, rule], rule])
      : this.#list(field, tree)
    return entries.flatMap(([path, rule]) => {
      if (typeof rule !== 'string') this.#error(path, 'a path is expected')
      else if (!/^[/*]/.test(rule)) this.#error(path, 'matches nothing: paths begin with /')
      else {
        if (rule.slice(0, -1).includes('*')) this.#warnOfStar(path)
        return [rule]
      }
      return []
    })
  }

  #warnOfStar(path: Path): void {
    const message = 'a * is a wildcard only at the end; this one is an ordinary character'
    this.#file.note('warning', path, message)
  }

  #identities(tree: Tree | undefined): Identity[] {
    return this.#list('identities', tree).flatMap(([path, text]) => {
      const identity = typeof text === 'string' ? parseIdentity(text) : undefined
      if (identity !== undefined) return [identity]
      const isSecret = typeof text === 'string' && isApiKey(text)
      this.#error(
        path,
        isSecret
          ? 'this is an API key, a secret: write its identity, which kes identity of prints, and replace the key'
          : 'no identity, which has 64 lower-case hex digits',
      )
      return []
    })
  }

  #list(field: string, tree: Tree | undefined): [Path, Tree][] {
    if (tree === undefined || tree === null) return []
    if (Array.isArray(tree)) return tree.map((item, index) => [[field, index], item])
    this.#error([field], 'a list is expected')
    return []
  }

  #error(path: Path, message: string): void {
    this.#file.note('error', path, message)
  }
}

function isMap(tree: Tree | undefined): tree is { [name: string]: Tree } {
  return typeof tree === 'object' && tree !== null && !Array.isArray(tree)
}
