/**
 * What a command is: data, from which the parser, the help, the completions and the man page are made. The table
 * itself is table.ts; what a command does is in a file of its own, loaded when it is called.
 */

/** What a command cannot do; the message is for the person who called it. Exit code 1. */
export class CommandError extends Error {
  override readonly name: string = 'CommandError'
}

/** What is missing or wrong in the command line or its environment. Exit code 2. */
export class UsageError extends CommandError {
  override readonly name = 'UsageError'
}

/** What a word stands for, so that a shell can complete it. */
export type Completes = 'file' | 'directory'

export interface OptionSpec {
  /** As commander writes them: `-s, --server <url>`, `--json`, `--auth [on|off]`. */
  readonly flags: string
  readonly help: string
  readonly choices?: readonly string[]
  /** What the option means when it stands without its optional value. */
  readonly preset?: string
  /** May be given several times, and unless it is verbatim take several values separated by commas; arrives as a list. */
  readonly isList?: boolean | 'verbatim'
  readonly completes?: Completes
}

export interface ArgumentSpec {
  /** `<name>`, `[pattern]`, `<name...>`. */
  readonly name: string
  readonly help: string
  readonly choices?: readonly string[]
  readonly completes?: Completes
}

export interface CommandSpec {
  /** One word, or a group and a word: `server`, `key create`. */
  readonly name: string
  readonly summary: string
  /** Further paragraphs of the help. */
  readonly detail?: string
  readonly args?: readonly ArgumentSpec[]
  readonly options: readonly OptionSpec[]
  /** Whole command lines. */
  readonly examples: readonly [string, ...string[]]
  /** @param options by name in camel case; what was not given is absent */
  run(words: readonly string[], options: object): Promise<void>
}

/** An option's long name, without dashes and value. */
export function longName({ flags }: OptionSpec): string {
  return /--([a-z-]+)/.exec(flags)?.[1] ?? ''
}
