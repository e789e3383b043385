/** `kes doctor`: looks for what is wrong, and says how to mend it. It changes nothing unless it is asked to. */

import type { Config } from '../config/config.ts'
import { ConfigError, describe, inspectConfigFile } from '../config/load.ts'
import { UsageError } from './command.ts'
import { type ConnectionOptions, namedServer } from './connect.ts'
import { examineCertificates } from './doctor/certificates.ts'
import { examineConnection } from './doctor/connection.ts'
import { type Finding, fail, ok, warn } from './doctor/finding.ts'
import { examineKeyStore } from './doctor/keystore.ts'
import { examinePolicies } from './doctor/policies.ts'
import { examineServer } from './doctor/server.ts'
import { untilInterrupted } from './interrupt.ts'
import { painter, print, printJson, say } from './output.ts'
import { shellWord } from './shell.ts'

interface DoctorOptions extends ConnectionOptions {
  readonly config?: string
  readonly lenient?: boolean
  readonly probe?: boolean
  readonly removeOrphans?: boolean
}

/** Milliseconds. A key that is being made has its first record before it is there itself: no request takes longer. */
const SETTLED = 20_000

/** Exit code 1 when something fails. */
export async function examine(options: DoctorOptions): Promise<void> {
  const { config, probe, removeOrphans } = options
  if (config === undefined && (probe === true || removeOrphans === true))
    throw new UsageError('--probe and --remove-orphans are about a keystore: pass --config FILE')
  const counts = { ok: 0, warn: 0, fail: 0 }
  await untilInterrupted(async (stop) => {
    for await (const finding of examineAll(options, stop)) {
      counts[finding.level]++
      show(finding, options)
    }
  })
  const count = (number: number, what: string): string =>
    `${number} ${what}${number === 1 ? '' : 's'}`
  say(`${counts.ok} ok, ${count(counts.warn, 'warning')}, ${count(counts.fail, 'failure')}`)
  if (counts.fail > 0) process.exitCode = 1
}

async function* examineAll(options: DoctorOptions, stop: AbortSignal): AsyncGenerator<Finding> {
  const { config: path } = options
  if (path !== undefined) yield* examineConfig(path, options, stop)
  if (path === undefined || namedServer(options) !== undefined)
    yield* await examineConnection(options)
}

async function* examineConfig(
  path: string,
  { lenient, probe, removeOrphans }: DoctorOptions,
  stop: AbortSignal,
): AsyncGenerator<Finding> {
  const { config, findings } = inspect(path, lenient === true)
  yield* findings
  if (config === undefined) return
  yield* examineCertificates(config, Date.now())
  yield* examinePolicies(config)
  yield* examineKeyStore(config.keystore, {
    probe: probe === true,
    removeOrphans: removeOrphans === true,
    settle: SETTLED,
    stop,
  })
  yield* await examineServer(config, `kes server --config ${shellWord(path)}`)
}

function inspect(
  path: string,
  lenient: boolean,
): { readonly config: Config | undefined; readonly findings: readonly Finding[] } {
  try {
    const { config, findings } = inspectConfigFile(path, { lenient })
    if (findings.length === 0) return { config, findings: [ok('config', `${path} is valid`)] }
    const judged = findings.map((finding) =>
      (finding.severity === 'error' ? fail : warn)('config', describe(path, finding)),
    )
    return { config, findings: judged }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { config: undefined, findings: [fail('config', error.message)] }
  }
}

const COLORS = { ok: 'green', warn: 'yellow', fail: 'red' } as const

function show(finding: Finding, options: DoctorOptions): void {
  if (options.json === true) return printJson(finding)
  const { level, about, what, mend } = finding
  const paint = painter(options)
  print(`${paint(COLORS[level], level.padEnd(4))}  ${about}: ${what.replaceAll('\n', '\n      ')}`)
  if (mend !== undefined) print(`      → ${mend}`)
}
