/** Which release this is, and which commit it was built from. */

import { readFileSync } from 'node:fs'

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
}

function readCommit(): string {
  try {
    return String(readJson('./commit.json'))
  } catch {
    return '' // built without the stamp, e.g. straight by the compiler
  }
}

const { version, optionalDependencies } = readJson('../package.json') as {
  readonly version: string
  readonly optionalDependencies: Readonly<Record<string, string>>
}

export const VERSION: string = version
/** By package name: the versions of third-party clients that this release was tested with. */
export const OPTIONAL_VERSIONS = optionalDependencies
/** Hex, or '' when it was not built from a git checkout. */
export const COMMIT: string = readCommit()
