/** The commands about keys. */

import type { ArgumentSpec, CommandSpec } from '../command.ts'
import { clientCommand } from '../options.ts'

const NAME: ArgumentSpec = { name: '<name>', help: 'name of the key' }
const NAMES: ArgumentSpec = { name: '<name...>', help: 'names of keys' }
const MESSAGE: ArgumentSpec = { name: '<message>', help: 'a text; - reads standard input' }
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
    args: [NAME],
    examples: ['kes key info my-key', 'kes key info my-key --json | jq -r .created_at'],
    run: async ([name = ''], options) => (await import('../key.ts')).info(name, options),
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
    detail: 'For ever: whatever was encrypted with them is lost. Of several it tries every one.',
    args: [NAMES],
    examples: ['kes key rm my-key'],
    run: async (names, options) => (await import('../key.ts')).remove(names, options),
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
    args: [NAME, { name: '<ciphertext>', help: 'in base64; - reads standard input' }, CONTEXT],
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
    name: 'key hmac',
    summary: 'Authenticate a message: HMAC-SHA-256 with the key.',
    detail: 'Prints it in base64; where the output is no terminal, as JSON.',
    args: [NAME, MESSAGE],
    examples: ["kes key hmac my-key 'Hello World'", 'kes key hmac my-key - < file'],
    run: async ([name = '', message = ''], options) =>
      (await import('../key.ts')).hmac(name, message, options),
  }),
]
