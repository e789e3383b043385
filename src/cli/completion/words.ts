/** What can stand where in a command line: what the scripts of all shells are made from. */

import type { CommandSpec, OptionSpec } from '../command.ts'
import { COMMANDS, GROUPS } from '../table.ts'

export interface Word {
  readonly word: string
  readonly summary: string
}

/** The first words of all commands. */
export function firstWords(): Word[] {
  const words = new Map<string, string>()
  for (const { name, summary } of COMMANDS) {
    const [first = ''] = name.split(' ')
    if (!words.has(first)) words.set(first, GROUPS[first] ?? summary)
  }
  return [...words].map(([word, summary]) => ({ word, summary }))
}

export function secondWords(group: string): Word[] {
  return COMMANDS.filter(({ name }) => name.startsWith(`${group} `)).map(({ name, summary }) => ({
    word: name.slice(group.length + 1),
    summary,
  }))
}

/** Both forms of an option: `-s`, `--server`. */
export function flagsOf({ flags }: OptionSpec): string[] {
  return flags.match(/(?<![\w-])--?[a-z-]+/g) ?? []
}

export function takesValue(option: OptionSpec): boolean {
  return option.flags.includes(' <') || hasOptionalValue(option)
}

export function hasOptionalValue({ flags }: OptionSpec): boolean {
  return flags.includes(' [')
}

const HELP: OptionSpec = { flags: '-h, --help', help: 'show this help' }

export function optionsOf({ options }: CommandSpec): OptionSpec[] {
  return [...options, HELP]
}
