/** From the config file's text to a checked Config; or everything that is wrong with it, at once. */

import { readFileSync } from 'node:fs'

import type { Config, LoadOptions } from './config.ts'
import { MeaningReader } from './meaning.ts'
import { ShapeReader } from './shape.ts'
import { type Finding, YamlFile } from './yaml.ts'

export type { Finding } from './yaml.ts'

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
  return checked(path, inspectConfigFile(path, options))
}

/** @param path for messages, and for files that are named relative to it. @throws ConfigError */
export function loadConfig(text: string, path: string, options: LoadOptions = {}): Loaded {
  return checked(path, inspect(text, path, options))
}

export interface Inspected {
  /** Undefined when there are errors among the findings. */
  readonly config: Config | undefined
  /** In the order of the file. */
  readonly findings: readonly Finding[]
}

/** Everything that is to be said about a file. @throws ConfigError when it cannot be read */
export function inspectConfigFile(path: string, options: LoadOptions = {}): Inspected {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError([`${path}: cannot be read: ${(error as Error).message}`])
  }
  return inspect(text, path, options)
}

/** `file:line:column: field: message` */
export function describe(path: string, { line, column, field, message }: Finding): string {
  return `${path}:${line}:${column}: ${field && `${field}: `}${message}`
}

function inspect(text: string, path: string, options: LoadOptions): Inspected {
  const file = new YamlFile(text, options.env ?? process.env)
  const config = read(file, path, options)
  const findings = file.findings.sort((a, b) => a.line - b.line || a.column - b.column)
  return { config, findings }
}

function checked(path: string, { config, findings }: Inspected): Loaded {
  const lines = (severity: Finding['severity']): string[] =>
    findings
      .filter((finding) => finding.severity === severity)
      .map((finding) => describe(path, finding))
  const errors = lines('error')
  if (errors.length > 0 || config === undefined) throw new ConfigError(errors)
  return { config, warnings: lines('warning') }
}

function read(file: YamlFile, path: string, options: LoadOptions): Config | undefined {
  if (file.findings.length > 0) return undefined
  const shape = new ShapeReader(file, options.lenient === true).read()
  return shape && new MeaningReader(file, path, options.overrides ?? {}).read(shape)
}
