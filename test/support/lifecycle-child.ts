/**
 * A process that changes the key `a` of a keystore in a directory and is killed at one of its writes:
 * `lifecycle-child.js <directory> <step> <n> before|after`.
 */

import { KeyService } from '#src/keys/service.js'
import { fs } from '#src/keystore/fs.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { PATIENT, SIGNAL } from './bytes.ts'
import { LIFE_STEPS } from './lifecycle.ts'

const [path = '', step = '', nth = '', side] = process.argv.slice(2)
const inner = await fs.open({ path }, SIGNAL)
let writes = 0

/** Dies before or after the write that it is to die at. */
async function write(work: () => Promise<void>): Promise<void> {
  const isLast = ++writes === Number(nth)
  if (isLast && side === 'before') process.kill(process.pid, 'SIGKILL')
  await work()
  if (isLast) process.kill(process.pid, 'SIGKILL')
}

const store: KeyStore = {
  status: (signal) => inner.status(signal),
  get: (name, signal) => inner.get(name, signal),
  list: (listing, limit, signal) => inner.list(listing, limit, signal),
  close: () => inner.close(),
  create: (name, value, signal) => write(() => inner.create(name, value, signal)),
  delete: (name, signal) => write(() => inner.delete(name, signal)),
}
const keys = new KeyService(store, { any: 1, unused: 1, offline: 0, changes: 0 })
await LIFE_STEPS[step as keyof typeof LIFE_STEPS](keys, PATIENT)
// Fewer writes than that.
process.stdout.write(`${writes}`)
