/** The command table: names, flags, help. What a command does is in a file of its own, loaded when it is called. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'

import { parseDuration } from '../fields.ts'
import { COMMIT, VERSION } from '../version.ts'

/** What a command cannot do; the message is for the person who called it. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}

const FAILED = 1
const USAGE = 2

/** Runs one command line. @returns the exit code: 0, 1 (failed) or 2 (usage) */
export async function run(argv: readonly string[]): Promise<number> {
  const program = build()
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return process.exitCode === undefined ? 0 : Number(process.exitCode)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE
    const isExpected = error instanceof CommandError
    process.stderr.write(
      `Error: ${isExpected ? error.message : ((error as Error).stack ?? String(error))}\n`,
    )
    return FAILED
  }
}

function build(): Command {
  const program = new Command('kes')
    .description(
      'Open successor of MinIO KES: a key server between applications and a central key store.',
    )
    .version(
      `kes ${VERSION}${COMMIT === '' ? '' : ` (commit ${COMMIT.slice(0, 12)})`}`,
      '-v, --version',
    )
    .exitOverride()
    .showHelpAfterError('(add --help for usage)')
  program.addCommand(serverCommand())
  program.addCommand(identityCommand())
  // As in releases that had `kes tool identity new`.
  program.addCommand(new Command('tool').addCommand(identityCommand()).exitOverride(), {
    hidden: true,
  })
  return program
}

function serverCommand(): Command {
  return new Command('server')
    .exitOverride()
    .description('Run a KES server.')
    .option('--config <file>', 'path of the config file')
    .option('--addr <[ip]:port>', 'address to listen on, instead of the config file’s')
    .option('--key <file>', 'private key of the server, instead of the config file’s')
    .option('--cert <file>', 'certificate of the server, instead of the config file’s')
    .addOption(
      new Option(
        '--auth [on|off]',
        'verify client certificates, instead of as in the config file; without a value: off',
      )
        .preset('off')
        .argParser((value) => {
          if (value === 'on' || value === 'off') return value
          throw new InvalidArgumentError('It must be on or off.')
        }),
    )
    .option('--dev', 'for trying out: keys in memory, a fresh certificate and a fresh API key')
    .option('--lenient', 'unknown fields of the config file are warnings, not errors')
    .addHelpText(
      'after',
      `
Examples:
  kes server --dev
  kes server --config /etc/kes/config.yml
  kes server --config config.yml --addr :7373 --key server.key --cert server.cert --auth on`,
    )
    .action(async (options: object) => (await import('./server.ts')).serve(options))
}

function identityCommand(): Command {
  const list = (value: string, before: readonly string[]): string[] => [...before, value]
  const identity = new Command('identity')
    .exitOverride()
    .description('Make and look at identities.')
  identity
    .command('new')
    .exitOverride()
    .description(
      'Make a new identity: an API key, or with --key and --cert a private key and certificate.',
    )
    .argument('[subject]', 'common name in the certificate')
    .option('--key <file>', 'where to write the private key')
    .option('--cert <file>', 'where to write the certificate')
    .option('--ip <address>', 'IP address in the certificate; may be repeated', list, [])
    .option('--dns <name>', 'host name in the certificate; may be repeated', list, [])
    .option(
      '--expiry <duration>',
      'how long the certificate is valid, e.g. 720h',
      parseExpiry,
      parseDuration('720h'),
    )
    .option('--encrypt', 'encrypt the private key with a password')
    .option('-f, --force', 'replace existing files')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kes identity new
  kes identity new my-app --key client.key --cert client.cert
  kes identity new --key server.key --cert server.cert --ip 127.0.0.1 --dns localhost`,
    )
    .action(async (subject: string | undefined, options: object) =>
      (await import('./identity.ts')).newIdentity(subject, options),
    )
  identity
    .command('of')
    .exitOverride()
    .description('Print the identity of an API key or of a certificate file.')
    .argument('<api-key|certificate>', 'kes:v1:…, or the path of a PEM file')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kes identity of kes:v1:AGaV6VCCLBQ2qz8EV3DOpWGdQ8rjKMXkvNHmVYqMAvnG
  kes identity of client.cert`,
    )
    .action(async (what: string, options: object) =>
      (await import('./identity.ts')).identityOfThing(what, options),
    )
  return identity
}

function parseExpiry(value: string): number {
  const millis = parseDuration(value)
  if (millis === undefined || millis === 0)
    throw new InvalidArgumentError('It must be a duration such as 720h.')
  return millis
}
