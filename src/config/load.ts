/** From the config file's text to a checked Config; or everything that is wrong with it, at once. */

import { readFileSync } from 'node:fs'

import type { Config, LoadOptions } from './config.ts'
import { MeaningReader } from './meaning.ts'
import { ShapeReader } from './shape.ts'
import { type Finding, YamlFile } from './yaml.ts'

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
  const config = read(file, path, options)
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

function read(file: YamlFile, path: string, options: LoadOptions): Config | undefined {
  if (file.findings.length > 0) return undefined
  const shape = new ShapeReader(file, options.lenient === true).read()
  return shape && new MeaningReader(file, path, options.overrides ?? {}).read(shape)
}
