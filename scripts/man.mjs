// The man page of kes, from the command table; docs.mjs writes it.
import { longName } from '../dist/cli/command.js'
import { CONNECTION, ENVIRONMENT, OUTPUT } from '../dist/cli/options.js'
import { COMMANDS } from '../dist/cli/table.js'

const SHARED = new Set([...CONNECTION, ...OUTPUT].map(({ help }) => help))

export function manPage() {
  return `.\\" Written by \`npm run docs\` from src/cli/table.ts; do not edit.
.TH KES 1 "" "openkes" "User Commands"
.SH NAME
kes \\- key server between applications and a central key store
.SH SYNOPSIS
.B kes
.I command
[\\fIoption\\fR ...] [\\fIargument\\fR ...]
.SH DESCRIPTION
.B kes
runs a KES server, and is the client of one: the open successor of MinIO KES. Results go to standard output, everything
else to standard error. Options may stand before or after the arguments.
.SH COMMANDS
${COMMANDS.map(command).join('\n')}
.SH CONNECTION OPTIONS
Of every command that asks a server.
${CONNECTION.map(option).join('\n')}
.SH OUTPUT OPTIONS
${OUTPUT.map(option).join('\n')}
.SH ENVIRONMENT
${ENVIRONMENT.map(([name, help]) => `.TP\n.B ${name}\n${text(help)}`).join('\n')}
.SH EXIT STATUS
.TP
.B 0
It worked.
.TP
.B 1
It failed.
.TP
.B 2
The command line, or the environment, is not right.
`
}

function command({ name, summary, detail, args = [], options, examples }) {
  const own = options.filter(({ help }) => !SHARED.has(help))
  const isClient = options.some((option) => longName(option) === 'api-key')
  const words = [...(own.length > 0 ? ['[option ...]'] : []), ...args.map((arg) => arg.name)]
  return [
    `.SS kes ${name}`,
    `.B kes ${name}`,
    ...(words.length > 0 ? [`.I ${text(words.join(' '))}`] : []),
    '.PP',
    text(summary),
    ...(detail === undefined ? [] : ['.PP', text(detail)]),
    ...(isClient ? ['It takes the connection options.'] : []),
    ...args.map((arg) => `.TP\n.I ${text(arg.name)}\n${text(arg.help)}`),
    ...own.map(option),
    '.PP',
    'Examples:',
    '.PP',
    '.nf',
    ...examples.map((line) => `    ${text(line)}`),
    '.fi',
  ].join('\n')
}

function option({ flags, help }) {
  return `.TP\n\\fB${text(flags).replace(/ ?([<[].*)$/, '\\fR \\fI$1\\fR')}\\fR\n${text(help)}`
}

/** Hyphens are minus signs here, and a line must not begin with a control character. */
function text(words) {
  return words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
}
