/** Servers of others as processes: on loopback, watched until they answer, stopped by their own process ids. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Owner } from './server.ts'

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Of another user, where we are root and the program must not be. */
  readonly uid?: number
  readonly gid?: number
}

const START_LIMIT = 60_000

export class Program {
  readonly #child: ChildProcess
  readonly #output: Buffer[] = []
  readonly #exited: Promise<void>
  #hasExited = false

  /** It runs until the owner's end at the latest. */
  constructor(t: Owner, file: string, args: readonly string[], options: ProgramOptions = {}) {
    this.#child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...options,
      env: { ...process.env, ...options.env },
    })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => this.#output.push(chunk))
    this.#exited = new Promise((resolve) => {
      const end = (): void => {
        this.#hasExited = true
        resolve()
      }
      this.#child.on('exit', end)
      this.#child.on('error', (error) => {
        this.#output.push(Buffer.from(String(error)))
        end()
      })
    })
    t.after(() => this.kill())
  }

  get output(): string {
    return Buffer.concat(this.#output).toString()
  }

  /** Resolves when `probe` does. @throws Error with the program's output when it ends before, or takes too long */
  async ready(probe: () => Promise<unknown>): Promise<void> {
    for (const limit = performance.now() + START_LIMIT; ;) {
      try {
        await probe()
        return
      } catch (error) {
        if (this.#hasExited || performance.now() > limit) {
          throw new Error(`${this.#child.spawnfile} does not answer: ${this.output}`, {
            cause: error,
          })
        }
      }
      await sleep(50)
    }
  }

  /** Sends a signal to it and to the processes below it. */
  signal(name: NodeJS.Signals): void {
    if (this.#hasExited || this.#child.pid === undefined) return
    for (const pid of [this.#child.pid, ...below(this.#child.pid)]) {
      try {
        process.kill(pid, name)
      } catch {
        // It ended meanwhile.
      }
    }
  }

  /** At once, as a crash would; resolves when it is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.#exited
  }

  /** Lets it end in its own way; resolves when it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#hasExited) this.#child.kill(signal)
    await this.#exited
  }
}

/** Process ids below one, all generations; Linux only. */
function below(pid: number): number[] {
  let children: number[]
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter((text) => text !== '')
      .map(Number)
  } catch {
    return []
  }
  return children.flatMap((child) => [child, ...below(child)])
}

/**
 * For servers that a test may start again: `after` of node:test means the test that runs when it is called, so what
 * outlives it is ended by who made it.
 */
export const ENDED_BY_ITS_MAKER: Owner = { after: () => {} }

/** Below those that the kernel gives to whoever asks for any port, at least on Linux. */
const [FIRST_PORT, LAST_PORT] = [10_000, 32_000]

/** Ports that nobody listens on just now, and that hardly anybody will take before the program that they are for. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch {
    return false
  }
  await once(server.close(), 'close')
  return true
}
