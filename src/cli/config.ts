/** Config files on the command line: `kes config check`, and what the commands say that need one. */

import { ConfigError, describe, type Finding, inspectConfigFile } from '../config/load.ts'
import { CommandError } from './command.ts'
import { type OutputOptions, painter, print, printJson, say } from './output.ts'

interface CheckOptions extends OutputOptions {
  readonly lenient?: boolean
}

export async function check(path: string, options: CheckOptions): Promise<void> {
  const findings = inspect(path, options.lenient === true)
  if (options.json === true) for (const finding of findings) printJson({ file: path, ...finding })
  else show(path, findings, options)
  const errors = findings.filter(({ severity }) => severity === 'error').length
  if (errors > 0)
    throw new CommandError(`${path} has ${errors === 1 ? 'an error' : `${errors} errors`}`)
  if (options.json !== true) print(`${path} is valid`)
}

/** @throws CommandError with all that is wrong with the file */
export function usable<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new CommandError(
      `the config cannot be used:\n${error.findings.map((finding) => `  ${finding}`).join('\n')}`,
    )
  }
}

function inspect(path: string, lenient: boolean): readonly Finding[] {
  try {
    return inspectConfigFile(path, { lenient }).findings
  } catch (error) {
    throw error instanceof ConfigError ? new CommandError(error.message) : error
  }
}

function show(path: string, findings: readonly Finding[], options: OutputOptions): void {
  const paint = painter(options, process.stderr)
  for (const finding of findings) {
    const { severity } = finding
    const word = paint(severity === 'error' ? 'red' : 'yellow', severity)
    say(`${word}: ${describe(path, finding)}`)
  }
}
