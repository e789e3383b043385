/** The troubles of outages.ts and outage.ts, for the fakes below vendors' clients. */

import type { FakeHttp, FakeRequest, Fault } from './fake-http.ts'
import type { GcpFake, GcpFault } from './gcp-fake.ts'
import type { Owner } from './server.ts'
import type { OutageSubject } from '../keystore/outage.ts'
import type { Troubled } from '../keystore/outages.ts'
import { ChaosProxy } from './chaos-proxy.ts'

interface Options {
  readonly times?: number
  readonly skip?: number
  readonly only?: RegExp
}

/** Which of the next requests fail. */
class Plan<T> {
  #fault: T | undefined
  #left = 0
  #skip = 0
  #only = /./

  set(fault: T, { times = Number.POSITIVE_INFINITY, skip = 0, only = /./ }: Options = {}): void {
    this.#fault = fault
    this.#left = times
    this.#skip = skip
    this.#only = only
  }

  heal(): void {
    this.#left = 0
  }

  next(request: string): T | undefined {
    if (this.#left === 0 || !this.#only.test(request)) return undefined
    if (this.#skip > 0) {
      this.#skip--
      return undefined
    }
    this.#left--
    return this.#fault
  }
}

const PAGE = { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Sign in</h1>' }

export function httpTroubles(http: FakeHttp): Troubled {
  const plan = new Plan<Fault>()
  const name = ({ method, path }: FakeRequest): string => `${method} ${path}`
  http.choose = (request) => plan.next(name(request))
  return {
    url: http.url,
    port: http.port,
    fail: (fault, options) =>
      plan.set(fault === 'error' ? { status: 500 } : fault === 'type' ? PAGE : fault, options),
    heal: () => plan.heal(),
    taken: () => http.requests.splice(0).map(name),
  }
}

const GRPC: Readonly<Record<Parameters<Troubled['fail']>[0], GcpFault>> = {
  error: { code: 14, details: 'out of order' },
  reset: { code: 14, details: 'the connection broke' },
  type: { code: 2, details: 'no gRPC' },
  lost: 'lost',
  half: 'lost',
  hang: 'hang',
}

export function grpcTroubles(fake: GcpFake): Troubled {
  const plan = new Plan<GcpFault>()
  fake.intercept = (operation) => plan.next(`GET ${operation}`)
  return {
    url: `https://localhost:${fake.port}`,
    port: fake.port,
    fail: (fault, options) => plan.set(GRPC[fault], options),
    heal: () => plan.heal(),
    taken: () => fake.requests.splice(0),
  }
}

/** A service in this process that can be killed and stopped as if it were one of its own. */
export async function behindProxy(t: Owner, port: number): Promise<Omit<OutageSubject, 'at'>> {
  const proxy = await ChaosProxy.start(t, { port })
  return {
    port: proxy.port,
    process: {
      kill: () => proxy.become('refuse'),
      start: () => proxy.become('pass'),
      signal: (name) => void proxy.become(name === 'SIGSTOP' ? 'hang' : 'pass'),
    },
  }
}
