/** From the command table to commander, and from a command line to its exit code. */

import { Argument, Command, CommanderError, Option } from 'commander'

import { COMMIT, VERSION } from '../version.ts'
import { CommandError, type CommandSpec, type OptionSpec, UsageError } from './command.ts'
import { ENVIRONMENT } from './options.ts'
import { say, write } from './output.ts'
import { ALIASES, COMMANDS, GROUPS } from './table.ts'

const FAILED = 1
const USAGE = 2

/** Runs one command line. @returns the exit code: 0, 1 (failed) or 2 (usage) */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    const words = unalias(argv)
    await build(commandsFor(words)).parseAsync(words, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE
    if (!(error instanceof CommandError)) {
      say(`Error: ${(error as Error).stack ?? String(error)}`)
      return FAILED
    }
    say(`Error: ${error.message}`)
    return error instanceof UsageError ? USAGE : FAILED
  }
}

function unalias(argv: readonly string[]): string[] {
  if (argv[0] === 'help') return [...argv.slice(1), '--help']
  for (const [alias, name] of Object.entries(ALIASES)) {
    const words = alias.split(' ')
    if (words.every((word, index) => argv[index] === word))
      return [...name.split(' '), ...argv.slice(words.length)]
  }
  return [...argv]
}

/** The one that is called, which a start need not tell from sixty others; all of them for helps and for what is none. */
function commandsFor(words: readonly string[]): readonly CommandSpec[] {
  const called = COMMANDS.find(({ name }) =>
    name.split(' ').every((word, index) => words[index] === word),
  )
  return called === undefined ? COMMANDS : [called]
}

function build(commands: readonly CommandSpec[]): Command {
  const program = basic('kes')
    .description(
      'Open successor of MinIO KES: a key server between applications and a central key store.',
    )
    .version(
      `kes ${VERSION}${COMMIT === '' ? '' : ` (commit ${COMMIT.slice(0, 12)})`}`,
      '-v, --version',
      'print the version',
    )
    .addHelpText('after', environmentHelp())
    // A command may have a --version of its own.
    .enablePositionalOptions()
  const groups = new Map<string, Command>()
  for (const spec of commands) {
    const [first = '', second] = spec.name.split(' ')
    if (second === undefined) {
      program.addCommand(command(first, spec))
      continue
    }
    let group = groups.get(first)
    if (group === undefined) {
      group = basic(first, 'kes').description(GROUPS[first] ?? '')
      groups.set(first, group)
      program.addCommand(group)
    }
    group.addCommand(command(second, spec))
  }
  return program
}

function command(word: string, spec: CommandSpec): Command {
  const { summary, detail, args = [], options, examples } = spec
  const made = basic(word, `kes ${spec.name}`.slice(0, -word.length - 1))
    .summary(summary)
    .description(detail === undefined ? summary : `${summary}\n\n${detail}`)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`)
  for (const { name, help, choices } of args) {
    const argument = new Argument(name, help)
    if (choices !== undefined) argument.choices(choices)
    made.addArgument(argument)
  }
  for (const option of options) made.addOption(parser(option))
  return made.action(() => spec.run(made.args, made.opts()))
}

/** @param parents the words before it */
function basic(word: string, parents = ''): Command {
  const name = `${parents} ${word}`.trim()
  return new Command(word)
    .exitOverride()
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .configureHelp({
      argumentDescription: ({ description }) => description,
      optionDescription: ({ description }) => description,
      subcommandTerm: (sub) => sub.name(),
    })
    .showHelpAfterError(`See '${name} --help'.`)
    .configureOutput({
      writeOut: write,
      outputError: (text, out) => out(text.replace(/^error: /, 'Error: ')),
    })
}

function parser({ flags, help, choices, preset, isList }: OptionSpec): Option {
  const option = new Option(flags, help)
  if (choices !== undefined) option.choices(choices)
  if (preset !== undefined) option.preset(preset)
  if (isList !== undefined && isList !== false) {
    option.argParser((value: string, before: readonly string[] | undefined) => [
      ...(before ?? []),
      ...(isList === 'verbatim' ? [value] : value.split(',').map((item) => item.trim())),
    ])
  }
  return option
}

function environmentHelp(): string {
  const width = Math.max(...ENVIRONMENT.map(([name]) => name.length)) + 2
  return `
Environment:
${ENVIRONMENT.map(([name, help]) => `  ${name.padEnd(width)}${help}`).join('\n')}

'kes <command> --help' has the options and examples of a command.`
}
