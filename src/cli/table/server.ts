/** The commands that run a server and prepare one. */

import type { CommandSpec } from '../command.ts'
import { LENIENT, OUTPUT } from '../options.ts'

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
        flags: '--workers <count>',
        help: 'processes that share the port and the work: a number, or auto for one per core (default: 1)',
      },
      LENIENT,
    ],
    examples: [
      'kes server --dev',
      'kes server --config /etc/kes/config.yml',
      'kes server --config /etc/kes/config.yml --workers auto',
      'kes server --config config.yml --addr :7373 --key server.key --cert server.cert --auth on',
    ],
    run: async (_, options) => (await import('../server.ts')).serve(options),
  },
  {
    name: 'init',
    summary: 'Make the config, certificate and API key of a new server.',
    detail:
      'It writes config.yml, server.key and server.cert, never over existing files, prints the API key of the ' +
      'admin, this once, and says what to do next. In a terminal it asks; elsewhere, and with --yes, it takes ' +
      'defaults: keys in a directory beside the config, and a certificate for all names and addresses of this machine.',
    args: [
      {
        name: '[directory]',
        help: 'where to write them; made if missing, the current one if left out',
        completes: 'directory',
      },
    ],
    options: [
      { flags: '-y, --yes', help: 'ask nothing' },
      { flags: '--addr <[ip]:port>', help: 'address to listen on (default: 0.0.0.0:7373)' },
      {
        flags: '--ip <address>',
        help: 'further IP address in the certificate; repeatable',
        isList: true,
      },
      {
        flags: '--dns <name>',
        help: 'further host name in the certificate; repeatable',
        isList: true,
      },
      ...OUTPUT,
    ],
    examples: ['kes init', 'kes init /etc/kes --yes --dns kes.example.com'],
    run: async ([directory], options) => (await import('../init.ts')).init(directory, options),
  },
  {
    name: 'migrate',
    summary: 'Copy keys from one keystore to another.',
    detail:
      'Both are named by config files, of which only the section keystore counts. What the target has already, with ' +
      'the same value, is skipped, so a run that was cut off is done again to go on. A key that the target has with ' +
      'another value is an error, unless --merge or --force says otherwise. Nothing is ever deleted in the source. ' +
      'Without a pattern enclaves come along, too. docs/migration.md has the steps for servers that are running.',
    args: [
      { name: '[pattern]', help: 'how names of keys begin: my-app or my-app*; all if left out' },
    ],
    options: [
      { flags: '--from <file>', help: 'config file of the source', completes: 'file' },
      { flags: '--to <file>', help: 'config file of the target', completes: 'file' },
      { flags: '-f, --force', help: 'overwrite keys that the target has with another value' },
      { flags: '--merge', help: 'leave keys as they are that the target has with another value' },
      { flags: '--dry-run', help: 'change nothing; print what would be done' },
      {
        flags: '--verify',
        help: 'prove of every key that the target opens what the source has sealed, and that HMACs agree',
      },
      LENIENT,
      ...OUTPUT,
    ],
    examples: [
      'kes migrate --from old.yml --to new.yml --dry-run',
      'kes migrate --from old.yml --to new.yml --verify',
      "kes migrate --from old.yml --to new.yml --merge 'my-app*'",
    ],
    run: async ([pattern], options) =>
      (await import('../migrate.ts')).migrateKeys(pattern, options),
  },
]
