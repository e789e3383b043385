/** The commands about identities. */

import type { CommandSpec } from '../command.ts'
import { clientCommand, OUTPUT, UNTIL_RESTART } from '../options.ts'

export const IDENTITY_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'identity new',
    summary: 'Make an API key, or a private key and its certificate.',
    detail:
      'Without files it prints a new API key, this once, and its identity. With --key and --cert it writes a new ' +
      'private key and a self-signed certificate for clients and for servers.',
    args: [{ name: '[subject]', help: 'common name in the certificate' }],
    options: [
      { flags: '--key <file>', help: 'where to write the private key', completes: 'file' },
      { flags: '--cert <file>', help: 'where to write the certificate', completes: 'file' },
      { flags: '--ip <address>', help: 'IP address in the certificate; repeatable', isList: true },
      { flags: '--dns <name>', help: 'host name in the certificate; repeatable', isList: true },
      { flags: '--expiry <duration>', help: 'how long the certificate is valid (default: 720h)' },
      { flags: '--encrypt', help: 'encrypt the private key with a password' },
      { flags: '-f, --force', help: 'replace existing files' },
      ...OUTPUT,
    ],
    examples: [
      'kes identity new',
      'kes identity new my-app --key client.key --cert client.cert',
      'kes identity new --key server.key --cert server.cert --ip 127.0.0.1 --dns localhost',
    ],
    run: async ([subject], options) => (await import('../identity.ts')).create(subject, options),
  },
  {
    name: 'identity of',
    summary: 'Print the identity of an API key or of a certificate.',
    args: [
      {
        name: '<api-key|certificate>',
        help: 'kes:v1:…, or the path of a PEM file; - reads either from standard input',
        completes: 'file',
      },
    ],
    options: OUTPUT,
    examples: [
      'kes identity of kes:v1:AGaV6VCCLBQ2qz8EV3DOpWGdQ8rjKMXkvNHmVYqMAvnG',
      'kes identity of client.cert',
    ],
    run: async ([what = ''], options) => (await import('../identity.ts')).of(what, options),
  },
  clientCommand({
    name: 'identity info',
    summary: 'Show what the server knows of an identity.',
    args: [{ name: '[identity]', help: '64 hex digits; your own, with your rights, if left out' }],
    examples: ['kes identity info', 'kes identity info "$(kes identity of client.cert)"'],
    run: async ([identity], options) =>
      (await import('../identity-info.ts')).info(identity, options),
  }),
  clientCommand({
    name: 'identity ls',
    summary: 'List the identities that have a policy, and the admin.',
    args: [{ name: '[pattern]', help: 'how they begin' }],
    examples: ['kes identity ls', 'kes identity ls 3ec'],
    run: async ([pattern], options) =>
      (await import('../list.ts')).list('identities', pattern, options),
  }),
  clientCommand({
    name: 'identity rm',
    summary: 'Take the policies of identities away.',
    detail: 'They may do nothing from then on. Of several it tries every one. ' + UNTIL_RESTART,
    args: [{ name: '<identity...>', help: '64 hex digits each' }],
    examples: ['kes identity rm "$(kes identity of client.cert)"'],
    run: async (identities, options) =>
      (await import('../access-change.ts')).removeIdentities(identities, options),
  }),
]
