/** The script of `kes completion bash`. */

import type { ArgumentSpec, CommandSpec, OptionSpec } from '../command.ts'
import { COMMANDS, GROUPS } from '../table.ts'
import { firstWords, flagsOf, optionsOf, secondWords, takesValue, type Word } from './words.ts'

export function bash(): string {
  const words = (list: readonly Word[]): string => list.map(({ word }) => word).join(' ')
  return `# Completion of kes for bash: source <(kes completion bash)
_kes() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} depth=1
  # '=' is a word of its own: --color=always.
  if [[ $cur == = ]]; then cur=''
  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  COMPREPLY=()
  case \${COMP_WORDS[1]} in
    ${Object.keys(GROUPS).join('|')}) depth=2 ;;
  esac
  if ((COMP_CWORD <= depth)); then
    local words
    case $COMP_CWORD:\${COMP_WORDS[1]} in
      1:*) words='${words(firstWords())} help' ;;
${Object.keys(GROUPS)
  .map((group) => `      2:${group}) words='${words(secondWords(group))}' ;;`)
  .join('\n')}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  local values='' flags='' files=''
  case "\${COMP_WORDS[*]:1:depth}" in
${COMMANDS.map(bashCommand).join('\n')}
  esac
  if [[ $values == : ]]; then return
  elif [[ -n $files && $cur != -* ]]; then
    compopt -o filenames 2>/dev/null
    local IFS=$'\\n' # names may have spaces
    COMPREPLY=($(compgen "$files" -- "$cur"))
  elif [[ -n $values && $cur != -* ]]; then COMPREPLY=($(compgen -W "$values" -- "$cur"))
  else COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  fi
}
complete -F _kes kes
`
}

/** A colon stands for a value that nobody can guess. */
function bashCommand(command: CommandSpec): string {
  const options = optionsOf(command)
  const values = options
    .filter(takesValue)
    .map((option) => `        ${flagsOf(option).join('|')}) ${bashValue(option) || 'values=:'} ;;`)
  const [argument] = command.args ?? []
  const rest = argument === undefined ? '' : bashValue(argument)
  return `    '${command.name}')
      flags='${options.flatMap(flagsOf).join(' ')}'
      case $prev in
${[...values, `        *) ${rest || ':'} ;;`].join('\n')}
      esac ;;`
}

function bashValue({ choices, completes }: ArgumentSpec | OptionSpec): string {
  if (choices !== undefined) return `values='${choices.join(' ')}'`
  return completes === undefined ? '' : `files=${completes === 'file' ? '-f' : '-d'}`
}
