/** The commands about keys. */

import type { ArgumentSpec, CommandSpec } from '../command.ts'
import { clientCommand } from '../options.ts'

const NAME: ArgumentSpec = { name: '<name>', help: 'name of the key' }
const NAMES: ArgumentSpec = { name: '<name...>', help: 'names of keys' }
const MESSAGE: ArgumentSpec = { name: '<message>', help: 'a text; - reads standard input' }
const CIPHERTEXT: ArgumentSpec = {
  name: '<ciphertext>',
  help: 'in base64; - reads standard input',
}
const CONTEXT: ArgumentSpec = {
  name: '[context]',
  help: 'bytes that the ciphertext is bound to, in base64',
}

export const KEY_COMMANDS: readonly CommandSpec[] = [
  clientCommand({
    name: 'key create',
    summary: 'Create keys.',
    args: [NAMES],
    examples: ['kes key create my-key', 'kes key create my-key my-other-key'],
    run: async (names, options) => (await import('../key.ts')).create(names, options),
  }),
  clientCommand({
    name: 'key import',
    summary: 'Create a key from bytes that you have.',
    detail:
      'Without bytes it makes random ones. On the command line other users of the machine may see them: standard ' +
      'input keeps them for itself.',
    args: [NAME, { name: '[key]', help: '32 bytes in base64; - reads them from standard input' }],
    options: [
      {
        flags: '--cipher <name>',
        help: 'what the key is for: AES256 (default) or ChaCha20',
        choices: ['AES256', 'ChaCha20'],
      },
    ],
    examples: [
      'kes key import my-key',
      'head -c 32 /dev/urandom | base64 | kes key import my-key - --cipher ChaCha20',
    ],
    run: async ([name = '', key], options) =>
      (await import('../key.ts')).importKey(name, key, options),
  }),
  clientCommand({
    name: 'key info',
    summary: 'Show what the server knows of a key.',
    detail: 'State, versions, description and tags are shown of keys that have any of them.',
    args: [NAME],
    examples: ['kes key info my-key', 'kes key info my-key --json | jq -r .created_at'],
    run: async ([name = ''], options) => (await import('../key-life.ts')).info(name, options),
  }),
  clientCommand({
    name: 'key ls',
    summary: 'List keys by name.',
    args: [{ name: '[pattern]', help: 'how their names begin: my-app- or my-app-*' }],
    examples: ['kes key ls', "kes key ls 'my-app-*'"],
    run: async ([pattern], options) => (await import('../list.ts')).list('keys', pattern, options),
  }),
  clientCommand({
    name: 'key rm',
    summary: 'Delete keys.',
    detail:
      'For ever: whatever was encrypted with them is lost. With --in that happens later: until then they still decrypt, ' +
      'and kes key restore keeps them; a server may be configured to insist on that. Of several it tries every one.',
    args: [NAMES],
    options: [{ flags: '--in <days>', help: 'not at once: 7d to 30d from now' }],
    examples: ['kes key rm --in 7d my-key', 'kes key rm my-key'],
    run: async (names, options) => (await import('../key-life.ts')).remove(names, options),
  }),
  clientCommand({
    name: 'key restore',
    summary: 'Keep keys that are to be deleted.',
    detail: 'The state that they had before comes back. Of several it tries every one.',
    args: [NAMES],
    examples: ['kes key restore my-key'],
    run: async (names, options) => (await import('../key-life.ts')).restore(names, options),
  }),
  clientCommand({
    name: 'key rotate',
    summary: 'Make a new version of keys.',
    detail:
      'What is encrypted from then on is encrypted with it; everything older still decrypts. Of several it tries every one.',
    args: [NAMES],
    examples: ['kes key rotate my-key', 'kes key rotate my-key --json | jq .version'],
    run: async (names, options) => (await import('../key-life.ts')).rotate(names, options),
  }),
  clientCommand({
    name: 'key disable',
    summary: 'Let keys encrypt nothing any more.',
    detail:
      'They still decrypt what they have encrypted, and compute HMACs, unless that is denied, too. Of several it tries ' +
      'every one.',
    args: [NAMES],
    options: [{ flags: '--deny-decrypt', help: 'let them decrypt nothing, either' }],
    examples: ['kes key disable my-key', 'kes key disable my-key --deny-decrypt'],
    run: async (names, options) => (await import('../key-life.ts')).disable(names, options),
  }),
  clientCommand({
    name: 'key enable',
    summary: 'Let keys do everything again that were disabled.',
    detail: 'Of several it tries every one.',
    args: [NAMES],
    examples: ['kes key enable my-key'],
    run: async (names, options) => (await import('../key-life.ts')).enable(names, options),
  }),
  clientCommand({
    name: 'key edit',
    summary: 'Change the description and the tags of keys.',
    detail: 'What is not named stays as it is. Of several keys it tries every one.',
    args: [NAMES],
    options: [
      { flags: '--description <text>', help: 'what the key is for; an empty text takes it away' },
      {
        flags: '--tag <name=value>',
        help: 'a tag to add, or to change; repeatable',
        isList: 'verbatim',
      },
      { flags: '--untag <name>', help: 'a tag to take away; repeatable', isList: 'verbatim' },
    ],
    examples: [
      "kes key edit my-key --description 'Invoices of the shop' --tag team=shop",
      'kes key edit my-key my-other-key --untag team',
    ],
    run: async (names, options) => (await import('../key-life.ts')).edit(names, options),
  }),
  clientCommand({
    name: 'key encrypt',
    summary: 'Encrypt a short message.',
    detail: 'Prints the ciphertext in base64; where the output is no terminal, as JSON.',
    args: [NAME, MESSAGE],
    examples: [
      "kes key encrypt my-key 'Hello World'",
      'kes key encrypt my-key - < secret.txt | jq -r .ciphertext > secret.enc',
    ],
    run: async ([name = '', message = ''], options) =>
      (await import('../key.ts')).encrypt(name, message, options),
  }),
  clientCommand({
    name: 'key decrypt',
    summary: 'Decrypt a ciphertext.',
    detail: 'Prints the plaintext in base64; where the output is no terminal, as JSON.',
    args: [NAME, CIPHERTEXT, CONTEXT],
    examples: [
      'kes key decrypt my-key - < secret.enc | jq -r .plaintext | base64 -d',
      'kes key decrypt my-key jFydz6f4n8e8rxQb1OY0evs7duwySHLh4KyyiTpUrEZ76RR+ bXktYXBw',
    ],
    run: async ([name = '', ciphertext = '', context], options) =>
      (await import('../key.ts')).decrypt(name, ciphertext, context, options),
  }),
  clientCommand({
    name: 'key dek',
    summary: 'Make a data key: fresh bytes to encrypt with, in the clear and sealed with the key.',
    detail:
      'Store the ciphertext beside what you encrypt; kes key decrypt opens it. Where the output is no terminal it is JSON.',
    args: [NAME, CONTEXT],
    examples: ['kes key dek my-key', 'kes key dek my-key bXktYXBw | jq -r .ciphertext'],
    run: async ([name = '', context], options) =>
      (await import('../key.ts')).dataKey(name, context, options),
  }),
  clientCommand({
    name: 'key rewrap',
    summary: 'Encrypt anew, with the newest version of a key, what a ciphertext holds.',
    detail:
      'Nobody sees the plaintext, and the old ciphertext stays good. Prints the new one in base64; where the output is no ' +
      'terminal, as JSON with the version.',
    args: [NAME, CIPHERTEXT, CONTEXT],
    examples: [
      'kes key rewrap my-key - < secret.enc | jq -r .ciphertext > secret.new',
      'kes key rewrap my-key jFydz6f4n8e8rxQb1OY0evs7duwySHLh4KyyiTpUrEZ76RR+ bXktYXBw',
    ],
    run: async ([name = '', ciphertext = '', context], options) =>
      (await import('../key.ts')).rewrap(name, ciphertext, context, options),
  }),
  clientCommand({
    name: 'key hmac',
    summary: 'Authenticate a message: HMAC-SHA-256 with the key.',
    detail:
      'Prints it in base64; where the output is no terminal, as JSON. The first version of the key does it, so that a ' +
      'rotation does not change it.',
    args: [NAME, MESSAGE],
    options: [{ flags: '--version <number>', help: 'another version of the key' }],
    examples: [
      "kes key hmac my-key 'Hello World'",
      'kes key hmac my-key - < file',
      "kes key hmac my-key --version 2 'Hello World'",
    ],
    run: async ([name = '', message = ''], options) =>
      (await import('../key.ts')).hmac(name, message, options),
  }),
]
