/** `kes migrate`: two config files, a progress bar and a summary around keys/migrate.ts. */

import { isDeepStrictEqual } from 'node:util'

import type { Config } from '../config/config.ts'
import { loadKeyStoreFile } from '../config/load.ts'
import { KesError } from '../errors.ts'
import {
  type Action,
  migrate,
  type MigrationOptions,
  type MigrationSummary,
} from '../keys/migrate.ts'
import { type KeyStore, KeyStoreError } from '../keystore/keystore.ts'
import { openKeyStore, titleOf } from '../server/keystore.ts'
import { CommandError, UsageError } from './command.ts'
import { usable } from './config.ts'
import { untilInterrupted } from './interrupt.ts'
import { ProgressBar } from './migrate/progress.ts'
import { type OutputOptions, painter, print, printJson, say } from './output.ts'

interface MigrateOptions extends OutputOptions {
  readonly from?: string
  readonly to?: string
  readonly force?: boolean
  readonly merge?: boolean
  readonly dryRun?: boolean
  readonly verify?: boolean
  readonly lenient?: boolean
}

const PLANNED: Readonly<Record<Action, string>> = {
  copied: 'copy',
  overwritten: 'overwrite',
  skipped: 'skip',
}
const TRIES = 4
/** Milliseconds until a keystore is open. */
const OPEN_LIMIT = 60_000

export async function migrateKeys(
  pattern: string | undefined,
  options: MigrateOptions,
): Promise<void> {
  const { from, to, force, merge, dryRun, verify } = options
  if (from === undefined) throw new UsageError('no source: pass its config file with --from FILE')
  if (to === undefined) throw new UsageError('no target: pass its config file with --to FILE')
  if (force === true && merge === true) throw new UsageError('choose one of --force and --merge')
  const [source, target] = [keyStore(from, options), keyStore(to, options)]
  if (isDeepStrictEqual(source, target))
    throw new CommandError(`'${from}' and '${to}' name the same keystore`)
  say(
    `${dryRun === true ? 'Would copy' : 'Copying'} from ${titleOf(source)} to ${titleOf(target)}.`,
  )
  await untilInterrupted(async (stop) => {
    stop.addEventListener('abort', () =>
      say('Stopping: what was begun is finished; the same command goes on with the rest.'),
    )
    const summary = await withStores([source, target], stop, (stores) =>
      run(stores, {
        pattern,
        onConflict: force === true ? 'overwrite' : merge === true ? 'keep' : 'fail',
        isDryRun: dryRun === true,
        isVerified: verify === true,
        stop,
      }),
    )
    report(summary, options)
    if (!stop.aborted) conclude(summary)
  })
}

function keyStore(path: string, { lenient }: MigrateOptions): Config['keystore'] {
  const { keystore, warnings } = usable(() => loadKeyStoreFile(path, { lenient: lenient === true }))
  for (const warning of warnings) say(`Warning: ${warning}`)
  if (keystore.kind.name === 'memory')
    throw new CommandError(`${path}: keys in memory are of one process; they cannot be migrated`)
  return keystore
}

/** Opens both, and closes them behind `work`. */
async function withStores<T>(
  [from, to]: readonly [Config['keystore'], Config['keystore']],
  signal: AbortSignal,
  work: (stores: readonly [KeyStore, KeyStore]) => Promise<T>,
): Promise<T> {
  const log = { write: (_: string, message: string) => say(`Warning: ${message}`) }
  const open = (keystore: Config['keystore'], side: string): Promise<KeyStore> =>
    understood(side, openKeyStore({ keystore }, { tries: TRIES, limit: OPEN_LIMIT, log, signal }))
  const source = await open(from, 'the source: ')
  try {
    const target = await open(to, 'the target: ')
    try {
      return await work([source, target])
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

async function run(
  [source, target]: readonly [KeyStore, KeyStore],
  options: MigrationOptions,
): Promise<MigrationSummary> {
  const bar = new ProgressBar(process.stderr)
  const onProgress = (done: number, total: number): void => bar.update(done, total)
  try {
    return await understood('', migrate(source, target, { ...options, onProgress }))
  } finally {
    bar.clear()
  }
}

/** Trouble that is the operator's to mend is a message, not a stack trace. */
async function understood<T>(side: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof KeyStoreError) throw new CommandError(side + error.message)
    if (error instanceof KesError && error.code === 'BAD_NAME') throw new UsageError(error.message)
    throw error
  }
}

function report(summary: MigrationSummary, options: MigrateOptions): void {
  const { actions, failures, orphans, verified, untried } = summary
  const isDryRun = options.dryRun === true
  const counts = { copied: 0, overwritten: 0, skipped: 0 }
  for (const action of actions.values()) counts[action]++
  if (options.json === true) {
    printJson({
      ...counts,
      verified,
      failed: failures,
      orphans,
      untried,
      dry_run: isDryRun,
      ...(isDryRun && { actions: Object.fromEntries(actions) }),
    })
  } else if (isDryRun) {
    for (const [name, action] of [...actions].sort(([a], [b]) => (a < b ? -1 : 1)))
      print(`${PLANNED[action].padEnd(11)}${name}`)
  }
  const paint = painter(options, process.stderr)
  for (const { name, reason } of failures) say(`${paint('red', 'failed')}: ${name}: ${reason}`)
  if (orphans.length > 0) {
    const many = orphans.length === 1 ? 'a change' : `${orphans.length} changes`
    say(`Left out: ${many} of keys that the source does not have; kes doctor names them`)
  }
  const parts = [
    `${counts.copied} copied`,
    ...(options.force === true ? [`${counts.overwritten} overwritten`] : []),
    `${counts.skipped} skipped`,
    `${failures.length} failed`,
    ...(options.verify === true ? [`${verified} verified`] : []),
    ...(untried > 0 ? [`${untried} not tried`] : []),
  ]
  say(`${isDryRun ? 'Dry run, nothing was changed: ' : ''}${parts.join(', ')}`)
}

/** @throws CommandError unless everything is in the target */
function conclude({ failures, untried, trouble }: MigrationSummary): void {
  const again = 'the same command goes on with the rest'
  if (trouble !== undefined && untried > 0)
    throw new CommandError(`it was given up, since ${trouble}; ${again}`)
  if (failures.length > 0) {
    const what = failures.length === 1 ? 'an entry was' : `${failures.length} entries were`
    throw new CommandError(`${what} not migrated; ${again}`)
  }
}
