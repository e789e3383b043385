#!/usr/bin/env node
/**
 * Starts the command, kes.cjs, from what V8 compiled of it at an earlier start: kes.cache, beside it (docs/adr/0012).
 * Without that, or if it is of another Node, or of another kes.cjs, everything is compiled anew, and kept where the
 * directory can be written.
 */

import type { Stats } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
// An import of them would load what they load on demand, for the sake of its names.
const { createHash, timingSafeEqual } = require('node:crypto') as typeof import('node:crypto')
const { closeSync, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } =
  require('node:fs') as typeof import('node:fs')
const { Script } = require('node:vm') as typeof import('node:vm')

type Wrapper = (require: NodeJS.Require, filename: string) => void

/** Milliseconds until a first request has been answered, but V8 has not yet thrown away what only a start needs. */
const SETTLED = 10_000
/** Bytes of SHA-256. */
const SEAL = 32
/** Whoever is no owner may write. */
const WRITABLE_BY_OTHERS = 0o022

const filename = `${import.meta.dirname}/kes.cjs`
const cacheFile = `${import.meta.dirname}/kes.cache`
const source = read(filename)
const cachedData = readCache()
// esbuild writes ASCII.
const script = new Script(source.bytes.toString('latin1'), {
  filename,
  ...(cachedData !== undefined && { cachedData }),
})
// V8 also rejects the cache of a Node with other flags: that one stays for those without.
if (cachedData === undefined && process.argv[2] === 'server') keepWhenSettled()
const main = script.runInThisContext() as Wrapper
main(require, filename)

function read(path: string): { readonly bytes: Buffer; readonly stats: Stats } {
  const fd = openSync(path, 'r')
  try {
    return { stats: fstatSync(fd), bytes: readFileSync(fd) }
  } finally {
    closeSync(fd)
  }
}

/** Undefined unless it is whole, and was made of this source by this Node: V8 believes any that has the right length. */
function readCache(): Buffer | undefined {
  try {
    const { bytes, stats } = read(cacheFile)
    const data = bytes.subarray(SEAL)
    if (bytes.length <= SEAL || !isTrusted(stats)) return undefined
    return timingSafeEqual(bytes.subarray(0, SEAL), seal(data)) ? data : undefined
  } catch {
    return undefined
  }
}

/** Whether nobody wrote it who may not also write the source, or do as this process does. */
function isTrusted({ uid, mode }: Stats): boolean {
  const me = process.geteuid?.()
  // There are no such owners, nor modes.
  if (me === undefined) return true
  return [0, me, source.stats.uid].includes(uid) && (mode & WRITABLE_BY_OTHERS) === 0
}

function seal(data: Buffer): Buffer {
  const { arch, platform, version } = process
  return createHash('sha256')
    .update(`${platform} ${arch} ${version} ${source.bytes.length}\n`)
    .update(source.bytes)
    .update(data)
    .digest()
}

/** The server runs what a start needs, and a good deal of what a client command does. */
function keepWhenSettled(): void {
  const atExit = (code: number): void => {
    if (code === 0) keep()
  }
  process.once('exit', atExit)
  setTimeout(() => {
    process.off('exit', atExit)
    keep()
  }, SETTLED).unref()
}

/** Never throws: an installation that nobody may write to starts slower, and that is all. */
function keep(): void {
  const draft = `${cacheFile}-${process.pid}`
  try {
    // First, since what follows takes some ten milliseconds, which it is not to take for nothing.
    const fd = openSync(draft, 'w', 0o644)
    try {
      const data = script.createCachedData()
      writeFileSync(fd, Buffer.concat([seal(data), data]))
      renameSync(draft, cacheFile)
    } catch {
      rmSync(draft, { force: true })
    } finally {
      closeSync(fd)
    }
  } catch {}
}
