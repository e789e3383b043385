/**
 * Changes of the configuration while the server serves, one after the other: when the operator says so, and when
 * certificate files have changed. Each is staged by whoever serves, one process or several, and then put to use, or not at
 * all; the error log says which.
 */

import type { Config } from '../config/config.ts'
import type { Loaded } from '../config/load.ts'
import type { ErrorLog } from '../telemetry/log.ts'
import { Turns } from '../turns.ts'
import { changedSections, reasonsOf, withSameDoor } from './reload.ts'
import { tlsPaths } from './tls.ts'
import { FileWatch } from './watch.ts'

/** Who serves. */
export interface Servers<Source> {
  /** Under which configuration. */
  readonly config: Config
  readonly log: ErrorLog
  /**
   * Prepares what comes next: a configuration, or the same one with the certificate files as they are now.
   *
   * @throws why it cannot be used: nothing has changed then
   */
  stage(next?: { readonly config: Config; readonly source: Source }): Promise<Change>
}

export interface Change {
  readonly hasNewCertificates: boolean
  /** Puts it to use, which cannot fail. */
  use(): void | Promise<void>
}

export class Reloads<Source extends Loaded> {
  readonly #servers: Servers<Source>
  readonly #watch: FileWatch
  readonly #turns = new Turns()

  constructor(servers: Servers<Source>) {
    this.#servers = servers
    this.#watch = new FileWatch({
      paths: () => tlsPaths(servers.config.tls),
      take: () => this.takeCertificates(),
      complain: (reason) =>
        servers.log.write(
          'WARN',
          `changed certificate files cannot be used, the old ones stay: ${reason}`,
        ),
    })
  }

  /** @param read called when it is its turn. @throws what `read` throws, or `stage` */
  reload(read: () => Source): Promise<void> {
    return this.inTurn(async () => {
      const { config: before, log } = this.#servers
      try {
        const source = read()
        const config = withSamePorts(before, source.config)
        const change = await this.#servers.stage({ config, source })
        const changes = changedSections(before, config)
        if (change.hasNewCertificates) changes.push('certificates')
        await change.use()
        for (const warning of source.warnings) log.write('WARN', warning)
        for (const section of changedSections(config, source.config))
          log.write('WARN', `${section}: a change needs a restart; the server goes on as before`)
        log.write('INFO', 'the config was reloaded', { changed: changes.join(', ') || 'nothing' })
      } catch (error) {
        for (const reason of reasonsOf(error))
          log.write('ERROR', `the reload is refused, everything stays as it is: ${reason}`)
        throw error
      }
    })
  }

  /** @throws what `stage` throws */
  takeCertificates(): Promise<void> {
    return this.inTurn(async () => {
      const change = await this.#servers.stage()
      await change.use()
      if (change.hasNewCertificates)
        this.#servers.log.write('INFO', 'changed certificate files are in use')
    })
  }

  /** Does something that must not meet a change. @throws what it throws, or that the server is stopping */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.take(work)
  }

  /** Nothing more begins. Resolves when what has begun has ended. */
  async close(): Promise<void> {
    this.#watch.close()
    await this.#turns.end(new Error('the server is stopping'))
  }
}

/** A configuration for a server that serves: what it listens with cannot be changed while it listens. */
export function withSamePorts(before: Config, after: Config): Config {
  const { address, http } = before
  return withSameDoor(before, { ...after, address, http })
}
