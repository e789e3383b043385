/** The script of `kes completion zsh`. */

import { longName, type ArgumentSpec, type CommandSpec, type OptionSpec } from '../command.ts'
import { quote } from '../shell.ts'
import { COMMANDS, GROUPS } from '../table.ts'
import {
  firstWords,
  flagsOf,
  hasOptionalValue,
  optionsOf,
  secondWords,
  takesValue,
  type Word,
} from './words.ts'

export function zsh(): string {
  const list = (words: readonly Word[]): string =>
    words.map(({ word, summary }) => `      ${quote(`${word}:${summary}`)}`).join('\n')
  return `#compdef kes
# Completion of kes for zsh: kes completion zsh > "\${fpath[1]}/_kes"
_kes() {
  local -a commands
  if ((CURRENT == 2)); then
    commands=(
${list(firstWords())}
      'help:show the help of a command'
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  integer depth=1
  case $command in
${Object.keys(GROUPS)
  .map(
    (group) => `  ${group})
    commands=(
${list(secondWords(group))}
    )
    depth=2 ;;`,
  )
  .join('\n')}
  esac
  if ((depth == 2)); then
    if ((CURRENT == 3)); then
      _describe command commands
      return
    fi
    command="$words[2] $words[3]"
  fi
  shift $depth words
  ((CURRENT -= depth))
  case $command in
${COMMANDS.map(zshCommand).join('\n')}
  esac
}
if [[ $funcstack[1] == _kes ]]; then _kes "$@"; else compdef _kes kes; fi
`
}

function zshCommand(command: CommandSpec): string {
  const options = optionsOf(command).map((option) => {
    const flags = flagsOf(option)
    const repeats =
      option.isList === true ? "'*'" : flags.length > 1 ? `'(${flags.join(' ')})'` : ''
    const forms = flags.length > 1 && option.isList !== true ? `{${flags.join(',')}}` : flags.at(-1)
    const value = takesValue(option)
      ? `${hasOptionalValue(option) ? '::' : ':'}${longName(option)}:${zshValue(option)}`
      : ''
    return `${repeats}${forms}${quote(`[${option.help.replace(/[[\]]/g, '\\$&')}]${value}`)}`
  })
  const args = (command.args ?? []).map((argument) => {
    const { name } = argument
    const head = name.includes('...') ? '*' : name.startsWith('[') ? ':' : ''
    return quote(`${head}:${name.replace(/[^a-z|-]/g, '')}:${zshValue(argument)}`)
  })
  return `  ${quote(command.name)})
    _arguments -s ${[...options, ...args].join(' \\\n      ')} ;;`
}

function zshValue({ choices, completes }: ArgumentSpec | OptionSpec): string {
  if (choices !== undefined) return `(${choices.join(' ')})`
  return completes === undefined ? ' ' : completes === 'file' ? '_files' : '_files -/'
}
