/** `kes completion`: scripts for shells, made from the command table. */

import { basename } from 'node:path'

import { UsageError } from './command.ts'
import { bash } from './completion/bash.ts'
import { fish } from './completion/fish.ts'
import { zsh } from './completion/zsh.ts'
import { print } from './output.ts'

const SCRIPTS: ReadonlyMap<string, () => string> = new Map([
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
])

/** @param shell that of the environment if absent */
export async function complete(shell = basename(process.env['SHELL'] ?? '')): Promise<void> {
  const script = SCRIPTS.get(shell)
  if (script === undefined)
    throw new UsageError(`which shell is it? Say one of ${[...SCRIPTS.keys()].join(', ')}`)
  print(script().trimEnd())
}
