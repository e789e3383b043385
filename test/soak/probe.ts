/**
 * Loaded into a server before the server itself (`--import`): at SIGUSR2 it collects garbage and writes what is left to
 * a file. From outside nobody can tell what is in use from what nobody has swept up yet.
 */

import { renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes, after a collection. */
export interface Left {
  /** Counts up, so that an answer is not taken for the one before. */
  readonly number: number
  readonly heapUsed: number
  /** Outside of the heap, of objects in it: buffers, for the most part. */
  readonly external: number
  /** Timers, sockets, files and the like that keep a process busy, by kind. */
  readonly resources: Readonly<Record<string, number>>
}

const path = process.env['KES_SOAK_PROBE']
if (path !== undefined) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let number = 0
  process.on('SIGUSR2', () => {
    collect()
    // What was waiting for the first collection goes with the second.
    setTimeout(() => {
      collect()
      const { heapUsed, external } = process.memoryUsage()
      const resources: Record<string, number> = {}
      for (const kind of process.getActiveResourcesInfo())
        resources[kind] = (resources[kind] ?? 0) + 1
      const left: Left = { number: ++number, heapUsed, external, resources }
      writeFileSync(`${path}.new`, JSON.stringify(left))
      renameSync(`${path}.new`, path)
    }, 100)
  })
}
