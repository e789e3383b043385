/** A worker process, as the primary sees it. */

import cluster, { type Worker } from 'node:cluster'
import type { AddressInfo } from 'node:net'

import type { Member } from './hub.ts'
import type { Outlet } from './lines.ts'
import type { Business, FromWorker, ToWorker } from './messages.ts'

/** Why a worker could not start; the message is for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError'
  /** As Node's errors have it. */
  readonly code: string | undefined
  /** That could not be listened on. */
  readonly port: number | undefined

  constructor(message: string, { code, port }: Partial<Pick<StartError, 'code' | 'port'>> = {}) {
    super(message)
    this.code = code
    this.port = port
  }
}

export interface ChildEvents {
  /** What is not about its start. */
  message(child: Child, message: Business): void
  /** It is gone, and so is its part of everything. @param how `exit code 1`, `signal SIGKILL` */
  ended(child: Child, how: string): void
}

export interface Addresses {
  readonly address: AddressInfo
  /** Of the RustFS KMS Admin API, in the worker that has it. */
  readonly rustfsAddress: AddressInfo | undefined
}

/** For what it writes. */
export interface Outlets {
  readonly stdout: Outlet
  readonly stderr: Outlet
}

interface Milestone<T> {
  readonly reached: Promise<T>
  resolve(value: T): void
  reject(error: Error): void
}

export class Child implements Member {
  readonly id: number
  readonly pid: number
  readonly ready: Promise<void>
  /** The fingerprint of its certificate files. @throws StartError */
  readonly opened: Promise<string>
  /** @throws StartError */
  readonly listening: Promise<Addresses>
  /** No request runs there any more. */
  readonly stopped: Promise<void>
  readonly exited: Promise<void>
  /** When it began to listen, by `performance.now()`. */
  since: number | undefined
  /** Why the primary has ended it. */
  reason: string | undefined
  readonly #worker: Worker

  constructor(events: ChildEvents, { stdout, stderr }: Outlets) {
    const worker = cluster.fork()
    this.#worker = worker
    this.id = worker.id
    this.pid = worker.process.pid ?? 0
    const ready = milestone<void>()
    const opened = milestone<string>()
    const listening = milestone<Addresses>()
    const stopped = milestone<void>()
    this.ready = ready.reached
    this.opened = opened.reached
    this.listening = listening.reached
    this.stopped = stopped.reached
    const fail = (error: Error): void => {
      ready.reject(error)
      opened.reject(error)
      listening.reject(error)
    }
    if (worker.process.stdout !== null) stdout.take(worker.process.stdout)
    if (worker.process.stderr !== null) stderr.take(worker.process.stderr)
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') ready.resolve()
      else if (message.kind === 'opened') opened.resolve(message.fingerprint)
      else if (message.kind === 'listening') {
        this.since = performance.now()
        listening.resolve(message)
      } else if (message.kind === 'stopped') stopped.resolve()
      else if (message.kind === 'failed') fail(new StartError(message.message, message))
      else events.message(this, message)
    })
    this.exited = new Promise((resolve) => {
      const end = (how: string): void => {
        fail(new StartError(`a worker process ended before it served: ${how}`))
        events.ended(this, how)
        stopped.resolve()
        resolve()
      }
      worker.process.once('error', (error) => end(error.message))
      worker.process.once('exit', (code, signal) =>
        end(signal === null ? `exit code ${code}` : `signal ${signal}`),
      )
    })
  }

  send(message: ToWorker): void {
    // It may be going just now; then nobody waits for an answer.
    if (this.#worker.isConnected()) this.#worker.send(message, () => {})
  }

  kill(reason: string): void {
    this.reason ??= reason
    this.#worker.process.kill('SIGKILL')
  }
}

/** One that is rejected when nobody looks is no unhandled rejection. */
function milestone<T>(): Milestone<T> {
  let [resolve, reject]: [(value: T) => void, (error: Error) => void] = [() => {}, () => {}]
  const reached = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  reached.catch(() => {})
  return { reached, resolve, reject }
}
