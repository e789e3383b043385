/** Options that many commands share, and the variables of the environment that stand for them. */

import type { CommandSpec, OptionSpec } from './command.ts'

/** Of every command that prints a result. */
export const OUTPUT: readonly OptionSpec[] = [
  { flags: '--json', help: 'print one JSON value per line, and nothing else' },
  {
    flags: '--color <when>',
    help: 'colors: always, never, or auto: in a terminal only',
    choices: ['auto', 'never', 'always'],
  },
]

/** Of every command that reads a config file. */
export const LENIENT: OptionSpec = {
  flags: '--lenient',
  help: 'unknown fields of the config file are warnings, not errors',
}

/** Of every command that asks a server. */
export const CONNECTION: readonly OptionSpec[] = [
  { flags: '-s, --server <url>', help: 'the server; several, separated by commas [KES_SERVER]' },
  { flags: '-a, --api-key <key>', help: 'API key to authenticate with [KES_API_KEY]' },
  { flags: '-k, --insecure', help: 'do not verify the server’s certificate' },
  {
    flags: '--ca <path>',
    help: 'PEM file, or directory of them, to verify the server’s certificate with [KES_CA]',
    completes: 'file',
  },
  { flags: '-e, --enclave <name>', help: 'the enclave to work in [KES_ENCLAVE]' },
]

/** In the help of every command that changes who may do what. */
export const UNTIL_RESTART =
  'It counts at once, until the server restarts: the config file is what lasts. Of several servers each is told.'

export const ENVIRONMENT: readonly (readonly [name: string, help: string])[] = [
  ['KES_SERVER', 'https://host:port or host:port [https://127.0.0.1:7373]'],
  ['KES_API_KEY', 'API key to authenticate with'],
  ['KES_CLIENT_CERT', 'client certificate, instead of an API key'],
  ['KES_CLIENT_KEY', 'private key of the client certificate'],
  ['KES_CLIENT_KEY_PASSWORD', 'its password, if it is encrypted'],
  ['KES_CA', 'certificate or CA of the server, or a directory of CAs'],
  ['KES_ENCLAVE', 'enclave to work in'],
  ['NO_COLOR', 'no colors, if not empty'],
  ['MINIO_KES_SERVER', 'where KES_SERVER is not set'],
  ['MINIO_KES_API_KEY', 'where KES_API_KEY is not set'],
]

/** A command that asks a server. Its own short options go before those of the connection. */
export function clientCommand(
  spec: Omit<CommandSpec, 'options'> & { readonly options?: readonly OptionSpec[] },
): CommandSpec {
  const own = spec.options ?? []
  const taken = new Set(own.map(({ flags }) => flags.slice(0, 2)))
  const connection = CONNECTION.map((option) =>
    taken.has(option.flags.slice(0, 2)) && !option.flags.startsWith('--')
      ? { ...option, flags: option.flags.slice(4) }
      : option,
  )
  return { ...spec, options: [...own, ...connection, ...OUTPUT] }
}
