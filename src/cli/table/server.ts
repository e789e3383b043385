/** The commands that run a server and prepare one. */

import type { CommandSpec } from '../command.ts'

export const SERVER_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'server',
    summary: 'Run a KES server.',
    detail: 'It runs until SIGTERM or SIGINT; running requests may finish.',
    options: [
      { flags: '--config <file>', help: 'path of the config file', completes: 'file' },
      { flags: '--addr <[ip]:port>', help: 'address to listen on, instead of the config file’s' },
      {
        flags: '--key <file>',
        help: 'private key of the server, instead of the config file’s',
        completes: 'file',
      },
      {
        flags: '--cert <file>',
        help: 'certificate of the server, instead of the config file’s',
        completes: 'file',
      },
      {
        flags: '--auth [on|off]',
        help: 'verify client certificates, instead of as in the config file; without a value: off',
        choices: ['on', 'off'],
        preset: 'off',
      },
      {
        flags: '--dev',
        help: 'for trying out: keys in memory, a fresh certificate and a fresh API key',
      },
      {
        flags: '--lenient',
        help: 'unknown fields of the config file are warnings, not errors',
      },
    ],
    examples: [
      'kes server --dev',
      'kes server --config /etc/kes/config.yml',
      'kes server --config config.yml --addr :7373 --key server.key --cert server.cert --auth on',
    ],
    run: async (_, options) => (await import('../server.ts')).serve(options),
  },
]
