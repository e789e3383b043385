/** Seals as a process or a thread of its own, and prints what must not repeat. Argument: how many times. */

import { fingerprints } from './seals.ts'

process.stdout.write(await fingerprints(Number(process.argv[2])))
