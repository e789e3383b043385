/** From the config file's text to a checked Config; or everything that is wrong with it, at once. */

import { readFileSync } from 'node:fs'

import type { Config, LoadOptions } from './config.ts'
import { chosenKeyStore } from './keystores.ts'
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
  return loadConfig(readConfigFile(path), path, options)
}

/** @param path for messages, and for files that are named relative to it. @throws ConfigError */
export function loadConfig(text: string, path: string, options: LoadOptions = {}): Loaded {
  return checked(path, inspect(text, path, options))
}

export interface LoadedKeyStore {
  readonly keystore: Config['keystore']
  readonly warnings: readonly string[]
}

/**
 * The keystore that a file names; its other sections may be missing, or wrong, or of variables that are not set.
 *
 * @throws ConfigError
 */
export function loadKeyStoreFile(path: string, options: LoadOptions = {}): LoadedKeyStore {
  const file = new YamlFile(readConfigFile(path), options.env ?? process.env)
  // Findings without a section are about the whole file; `keys` as a map is an old spelling.
  const isAbout = ({ field }: Finding): boolean => /^(?:$|(?:keystore|keys)(?:$|\.))/.test(field)
  const isBroken = file.findings.some(isAbout)
  const shape = new ShapeReader(file, options.lenient === true)
  const config = isBroken ? undefined : chosenKeyStore(shape.readKeyStore())
  const findings = sorted(file.findings.filter(isAbout))
  const { config: keystore, warnings } = checked(path, { config, findings })
  return { keystore, warnings }
}

export interface Inspected {
  /** Undefined when there are errors among the findings. */
  readonly config: Config | undefined
  /** In the order of the file. */
  readonly findings: readonly Finding[]
}

/** Everything that is to be said about a file. @throws ConfigError when it cannot be read */
export function inspectConfigFile(path: string, options: LoadOptions = {}): Inspected {
  return inspect(readConfigFile(path), path, options)
}

/** `file:line:column: field: message` */
export function describe(path: string, { line, column, field, message }: Finding): string {
  return `${path}:${line}:${column}: ${field && `${field}: `}${message}`
}

/** @throws ConfigError when it cannot be read */
export function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError([`${path}: cannot be read: ${(error as Error).message}`])
  }
}

function inspect(text: string, path: string, options: LoadOptions): Inspected {
  const file = new YamlFile(text, options.env ?? process.env)
  const config = read(file, path, options)
  return { config, findings: sorted(file.findings) }
}

function sorted(findings: Finding[]): Finding[] {
  return findings.sort((a, b) => a.line - b.line || a.column - b.column)
}

function checked<T>(
  path: string,
  { config, findings }: { readonly config: T | undefined; readonly findings: readonly Finding[] },
): { readonly config: T; readonly warnings: readonly string[] } {
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
