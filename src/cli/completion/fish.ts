/** The script of `kes completion fish`. */

import { longName, type ArgumentSpec, type CommandSpec, type OptionSpec } from '../command.ts'
import { COMMANDS, GROUPS } from '../table.ts'
import { firstWords, flagsOf, optionsOf, secondWords, takesValue } from './words.ts'

export function fish(): string {
  const isFirst = `test (count (commandline -opc)) -eq 1`
  const lines = firstWords().map(
    ({ word, summary }) => `complete -c kes -f -n '${isFirst}' -a ${word} -d ${fishQuote(summary)}`,
  )
  lines.push(`complete -c kes -f -n '${isFirst}' -l version -s v -d 'print the version'`)
  for (const group of Object.keys(GROUPS)) {
    const isSecond = `test (count (commandline -opc)) -eq 2; and __kes_in ${group}`
    for (const { word, summary } of secondWords(group))
      lines.push(`complete -c kes -f -n '${isSecond}' -a ${word} -d ${fishQuote(summary)}`)
  }
  for (const command of COMMANDS) lines.push(...fishCommand(command))
  return `# Completion of kes for fish: kes completion fish > ~/.config/fish/completions/kes.fish
function __kes_in
    set -l words (commandline -opc)
    string match -qr -- "^\\S+ $argv " "$words "
end
${lines.join('\n')}
`
}

function fishCommand(command: CommandSpec): string[] {
  const base = `complete -c kes -n '__kes_in ${command.name}'`
  const [argument] = command.args ?? []
  const depth = command.name.split(' ').length
  const isBehind = `complete -c kes -n 'test (count (commandline -opc)) -gt ${depth}; and __kes_in ${command.name}'`
  return [
    `${isBehind} ${argument === undefined ? '-f' : fishValue(argument) || '-f'}`,
    ...optionsOf(command).map((option) => {
      const short = flagsOf(option).find((flag) => !flag.startsWith('--'))
      const names = `-l ${longName(option)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`
      const value = takesValue(option) ? ` ${fishValue(option) || '-x'}` : ''
      return `${base} ${names}${value} -d ${fishQuote(option.help)}`
    }),
  ]
}

function fishValue({ choices, completes }: ArgumentSpec | OptionSpec): string {
  if (choices !== undefined) return `-x -a '${choices.join(' ')}'`
  if (completes === 'directory') return `-x -a '(__fish_complete_directories)'`
  return completes === undefined ? '' : '-r -F'
}

function fishQuote(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
