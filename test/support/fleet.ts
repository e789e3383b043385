/** The server of most tests, in several processes (KES_TEST_WORKERS). */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { eventually, startServerProcess } from './process.ts'
import type { Owner, TestServer, TestServerOptions } from './server.ts'

/**
 * As `startServer`.
 *
 * @param write makes the files that options ask for, and the text of the config
 */
export async function startWorkers(
  t: Owner,
  directory: string,
  write: (options: TestServerOptions) => string,
  options: TestServerOptions,
): Promise<Pick<TestServer, 'port' | 'rustfsPort' | 'close' | 'reload' | 'stdout' | 'stderr'>> {
  const path = join(directory, 'config.yml')
  const configure = (): void => writeFileSync(path, write(latest))
  let latest = options
  configure()
  const server = await startServerProcess(t, ['--config', path])
  const banner = server.stderr().toString()
  const [, rustfs] = /^RustFS API +https?:\/\/\S+:(\d+)$/m.exec(banner) ?? []
  // The banner is not of the log; what was logged before it is.
  const stderr = (): string =>
    server
      .stderr()
      .toString()
      .replace(/^Version [^]*?^Logs .*\n/m, '')
  const outcomes = (): string[] =>
    stderr().match(/.*(the config was reloaded|reload is refused).*/g) ?? []
  return {
    port: server.port,
    rustfsPort: rustfs === undefined ? undefined : Number(rustfs),
    close: async () => void (await server.stop()),
    reload: async (changes) => {
      latest = { ...latest, ...changes }
      configure()
      const before = outcomes().length
      server.kill('SIGHUP')
      await eventually('the reload', () => outcomes().length > before)
      const [outcome = ''] = outcomes().slice(before)
      if (outcome.includes('refused')) throw new Error(outcome)
    },
    stdout: () => server.stdout().toString(),
    stderr,
  }
}
