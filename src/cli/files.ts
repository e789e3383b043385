/** New files for somebody who has none yet: all of them or none, and never over an old one. */

import { existsSync, rmSync, writeFileSync } from 'node:fs'

import { CommandError } from './command.ts'

export interface NewFile {
  readonly path: string
  readonly text: string
  readonly mode: number
}

/** The first that is there already. */
export function taken(paths: readonly string[]): string | undefined {
  return paths.find((path) => existsSync(path))
}

/** @throws CommandError when one cannot be written; the others are removed then */
export function writeNew(files: readonly NewFile[]): void {
  const written: string[] = []
  for (const { path, text, mode } of files) {
    try {
      writeFileSync(path, text, { mode, flag: 'wx' })
      written.push(path)
    } catch (error) {
      for (const other of written) rmSync(other)
      throw new CommandError(`'${path}' cannot be written: ${(error as Error).message}`)
    }
  }
}
