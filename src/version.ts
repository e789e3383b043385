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

export const VERSION: string = String((readJson('../package.json') as { version: unknown }).version)
/** Hex, or '' when it was not built from a git checkout. */
export const COMMIT: string = readCommit()
