/** Keys of TLS session tickets live for an hour, in a server of one process and in one of several. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  eventually,
  serverFiles,
  type ServerProcess,
  startServerProcess,
} from '../support/process.ts'
import type { Owner } from '../support/server.ts'
import { visit, type Visit } from '../support/visitor.ts'
import { allServe, workersOf } from '../support/workers.ts'

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const HOUR = new URL('../support/hour.js', import.meta.url)

interface Scene {
  readonly server: ServerProcess
  /** A session of each version of TLS. */
  sessions(): Promise<Visit[]>
  /** Whether each session is resumed, asked of all workers in turn; everybody is answered. */
  resumed(sessions: readonly Visit[]): Promise<Set<boolean>>
}

async function scene(t: Owner, workers: number): Promise<Scene> {
  const { config, directory, admin } = await serverFiles(t)
  const server = await startServerProcess(t, ['--config', config, '--workers', `${workers}`], {
    cwd: directory,
    env: { NODE_OPTIONS: `--import ${HOUR.href}` },
  })
  const { port } = server
  const visits = async (before: readonly Visit[]): Promise<Visit[]> => {
    const all: Visit[] = []
    for (const [index, version] of VERSIONS.entries())
      all.push(await visit(port, admin, version, before[index]))
    for (const { status } of all) assert.equal(status, 200)
    return all
  }
  return {
    server,
    sessions: () => visits([]),
    resumed: async (sessions) => {
      const outcomes = new Set<boolean>()
      for (let round = 0; round < workers; round++)
        for (const { isReused } of await visits(sessions)) outcomes.add(isReused)
      return outcomes
    },
  }
}

for (const workers of [1, 3]) {
  const skip = workers > 1 && process.platform !== 'linux' && 'asks /proc for the workers'
  test(
    `every hour tickets get another key, the same in all of ${workers}, and those of before are void`,
    { skip },
    async (t) => {
      const { server, sessions, resumed } = await scene(t, workers)
      const hour = async (): Promise<Visit[]> => {
        const before = await sessions()
        assert.deepEqual([...(await resumed(before))], [true])
        server.kill('SIGUSR2')
        // It goes from the primary to the workers while this asks.
        for (let isOver = false; !isOver;) {
          const outcomes = await resumed(before)
          isOver = !outcomes.has(true)
        }
        return before
      }
      const first = await hour()
      const second = await hour()
      const last = await sessions()
      assert.deepEqual([...(await resumed(last))], [true])
      assert.deepEqual([...(await resumed([...first, ...second]))], [false])
      if (workers === 1) return
      // Who starts later begins with the latest.
      const [victim = 0] = workersOf(server)
      process.kill(victim, 'SIGKILL')
      await eventually('it is gone', () => !workersOf(server).includes(victim))
      await allServe(server, workers)
      for (let round = 0; round < 3; round++) {
        assert.deepEqual([...(await resumed(last))], [true])
        assert.deepEqual([...(await resumed(first))], [false])
      }
      assert.equal((await server.stop()).code, 0)
    },
  )
}
