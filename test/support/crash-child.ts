/**
 * A process that changes something durable, and is killed before its n-th step on the disk:
 * `crash-child.js <work> <directory> <n>`. It ends by itself where there are fewer steps.
 */

import { mkdir, open } from 'node:fs/promises'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'

import { CRASHES, type CrashWork } from './crashes.ts'

const [work = '', directory = '', step = ''] = process.argv.slice(2)
let left = Number(step)

function beforeEach<T extends object>(target: T, names: readonly (keyof T)[]): void {
  for (const name of names) {
    const method = target[name] as (...args: unknown[]) => unknown
    target[name] = function (this: unknown, ...args: unknown[]) {
      if (--left === 0) process.kill(process.pid, 'SIGKILL')
      return method.apply(this, args)
    } as T[keyof T]
  }
}

const { prepare, change } = CRASHES[work as CrashWork]
const subject = await prepare(directory)
// What FileHandle is cannot be imported.
await mkdir(join(directory, 'scratch'), { recursive: true })
const handle = await open(join(directory, 'scratch/file'), 'w')
beforeEach(Object.getPrototypeOf(handle) as typeof handle, ['writeFile', 'sync'])
beforeEach(fsPromises, ['open', 'link', 'unlink', 'rename', 'rm', 'mkdir'])
syncBuiltinESMExports()
await change(subject)
// Its own steps are over: what closes now does not count.
process.exit(0)
