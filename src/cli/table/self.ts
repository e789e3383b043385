/** The commands about this command, and about files that need no server to be looked at. */

import type { CommandSpec } from '../command.ts'
import { clientCommand, LENIENT, OUTPUT } from '../options.ts'

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
  clientCommand({
    name: 'doctor',
    summary: 'Find what is wrong with a server or with the way to it, and say how to mend it.',
    detail:
      'With --config it looks at what the config file names, as the server that is to run with it would: run it on that ' +
      'machine, as that user. It opens the keystore, which may make an empty directory or table; else it changes ' +
      'nothing unless you ask. Without --config, or when a server is named, too, it looks at the way to the ' +
      'server: certificate, API key, clock, rights. The exit code is 1 if something fails; warnings do not count.',
    options: [
      { flags: '--config <file>', help: 'path of the config file', completes: 'file' },
      { flags: '--probe', help: 'also make, read and delete an entry in the keystore' },
      {
        flags: '--remove-orphans',
        help: 'delete change records that no key owns; never while a restore or a migration may still bring the keys',
      },
      LENIENT,
    ],
    examples: [
      'kes doctor --config /etc/kes/config.yml',
      'kes doctor --config config.yml --probe',
      'kes doctor --server kes-0:7373 --json | jq -r \'select(.level != "ok") | .what\'',
    ],
    run: async (_, options) => (await import('../doctor.ts')).examine(options),
  }),
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
