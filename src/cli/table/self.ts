/** The commands about this command, and about files that need no server to be looked at. */

import type { CommandSpec } from '../command.ts'
import { LENIENT, OUTPUT } from '../options.ts'

export const SELF_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'config check',
    summary: 'Check a config file.',
    detail:
      'What is wrong goes to standard error, each finding with line and column; with --json it goes to standard ' +
      'output. The exit code is 1 if there is an error; warnings do not count.',
    args: [{ name: '<file>', help: 'path of the config file', completes: 'file' }],
    options: [LENIENT, ...OUTPUT],
    examples: ['kes config check /etc/kes/config.yml', 'kes config check --json config.yml'],
    run: async ([file = ''], options) => (await import('../config.ts')).check(file, options),
  },
  {
    name: 'completion',
    summary: 'Print a script that completes commands and options in a shell.',
    args: [
      {
        name: '[shell]',
        help: 'bash, zsh or fish; that of $SHELL if left out',
        choices: ['bash', 'zsh', 'fish'],
      },
    ],
    options: [],
    examples: [
      'source <(kes completion bash)',
      'kes completion zsh > "${fpath[1]}/_kes"',
      'kes completion fish > ~/.config/fish/completions/kes.fish',
    ],
    run: async ([shell]) => (await import('../completion.ts')).complete(shell),
  },
  {
    name: 'update',
    summary: 'Say how to update kes.',
    options: OUTPUT,
    examples: ['kes update'],
    run: async (_, options) => (await import('../update.ts')).update(options),
  },
]
