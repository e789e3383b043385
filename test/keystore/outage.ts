/**
 * What happens to a keystore, and to a server that uses it, when the way to it or the thing itself has trouble: one
 * suite for every keystore that is reached over TCP.
 */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { type KeyStore, KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { ChaosProxy, movingName } from '../support/chaos-proxy.ts'
import { type Answer, ask, startServer, type TestServer } from '../support/server.ts'
import { openSession, type Session } from '../support/session.ts'
import { keyStoreYaml, openStore, type StoreConfig } from '../support/stores.ts'

export interface OutageSubject {
  /** Where it listens on 127.0.0.1. */
  readonly port: number
  /** An empty keystore that is reached at another place, which leads there; the same at every call. */
  at(host: string, port: number): StoreConfig
  /** The thing itself, where it is a process of ours. */
  readonly process?: OutageProcess
}

export interface OutageProcess {
  /** At once, as a crash. */
  kill(): Promise<void>
  /** Again, with its data and port; resolves when it answers. */
  start(): Promise<void>
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
}

/** Fewer kills where a vendor's client takes its time with each. */
export interface OutageOptions {
  readonly kills?: number
  /** For node:test: why the suite cannot run here. */
  readonly skip?: string | false
}

const RECONNECTS = 1000

interface Scene {
  readonly subject: OutageSubject
  readonly proxy: ChaosProxy
}

/** @param start gives a subject with an empty keystore of its own. */
export function storeOutages(
  name: string,
  start: (t: TestContext) => Promise<OutageSubject>,
  { skip = false, kills = 3 }: OutageOptions = {},
): void {
  const outage = (
    fact: string,
    check: (scene: Scene & { store: KeyStore }, t: TestContext) => Promise<void>,
  ): void => {
    test(`${name}: ${fact}`, { skip }, async (t) => {
      const scene = await sceneOf(t, await start(t))
      const store = await openStore(t, scene.subject.at('127.0.0.1', scene.proxy.port))
      await store.create('there', bytes('value'), SIGNAL)
      await check({ ...scene, store }, t)
    })
  }

  outage('nobody there is unreachable, and the next request after it works', async (scene) => {
    const { proxy, store } = scene
    for (let round = 0; round < kills; round++) {
      await proxy.become('refuse')
      await assert.rejects(store.get('there', SIGNAL), isUnreachable)
      await assert.rejects(store.create('new', bytes('v'), SIGNAL), isUnreachable)
      await assert.rejects(store.status(SIGNAL), isUnreachable)
      await proxy.become('pass')
      await isWell(store)
    }
  })

  outage('silence costs the deadline, and no more', async ({ proxy, store }) => {
    await proxy.become('hang')
    const calls = [
      (signal: AbortSignal) => store.get('there', signal),
      (signal: AbortSignal) => store.create('new', bytes('v'), signal),
      (signal: AbortSignal) => store.delete('there', signal),
      (signal: AbortSignal) => store.list({ prefix: '', from: '' }, 9, signal),
      (signal: AbortSignal) => store.status(signal),
    ]
    const outcomes = await Promise.allSettled(calls.map((call) => call(AbortSignal.timeout(150))))
    for (const outcome of outcomes) {
      assert.equal(outcome.status, 'rejected')
      assert.equal((outcome.reason as Error).name, 'TimeoutError')
    }
    // What was given up must not happen later.
    proxy.cut()
    await proxy.become('pass')
    await isWell(store)
  })

  outage('slowness is waited for', async ({ proxy, store }) => {
    await proxy.become({ delay: 100 })
    await isWell(store)
  })

  outage('connections that break under load: each request ends, the next works', async (scene) => {
    const { proxy, store } = scene
    let isOver = false
    const load = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const outcome = await store.get('there', AbortSignal.timeout(30_000)).then(
          (value) => Buffer.from(value).toString(),
          (error: unknown) => error,
        )
        if (outcome !== 'value') assert.ok(isUnreachable(outcome), String(outcome))
      }
    })
    for (const mode of ['reset', 'pass', 'refuse', 'pass', 'reset', 'pass'] as const) {
      await proxy.become(mode)
      await sleep(40)
    }
    isOver = true
    await Promise.all(load)
    await isWell(store)
  })

  outage('what moves behind its name is found at its new address', async (scene, t) => {
    const { subject, proxy } = scene
    const moving = movingName(t, 'keys.test', '127.0.0.1')
    const elsewhere = await ChaosProxy.start(
      t,
      { port: subject.port },
      { host: '127.0.0.2', port: proxy.port },
    )
    const store = await openStore(t, subject.at('keys.test', proxy.port))
    await isWell(store)
    await proxy.become('refuse')
    moving.address = '127.0.0.2'
    await isWell(store)
    assert.ok(elsewhere.accepted > 0)
  })

  outage('1,000 new connections leave no descriptor, no timer and no memory', async (scene) => {
    const { proxy, store } = scene
    const reconnect = async (times: number): Promise<void> => {
      for (let count = 0; count < times; count++) {
        proxy.cut()
        // Whoever asks before he knows of it tries again after a pause, which is another test's subject.
        await until(() => openSockets() === 0)
        await store.get('there', SIGNAL)
      }
    }
    await reconnect(RECONNECTS / 4)
    const [resources, memory] = [openResources(), usedMemory()]
    const accepted = proxy.accepted
    await reconnect(RECONNECTS)
    assert.ok(proxy.accepted >= accepted + RECONNECTS)
    await until(() => openResources() <= resources)
    // Fakes remember what they were asked; a connection that is not let go of is ten times as much.
    const each = (usedMemory() - memory) / RECONNECTS
    assert.ok(each < 5000, `${each} bytes for each`)
  })
}

/** `start` as for `storeOutages`; the process of the subject is killed, stopped and started. */
export function serverOutages(
  name: string,
  start: (t: TestContext) => Promise<OutageSubject>,
  { skip = false }: OutageOptions = {},
): void {
  const outage = (
    fact: string,
    check: (scene: Scene & { server: TestServer; session: Session }) => Promise<void>,
  ): void => {
    test(`${name}: ${fact}`, { skip }, async (t) => {
      const scene = await sceneOf(t, await start(t))
      const config = keyStoreYaml(scene.subject.at('127.0.0.1', scene.proxy.port)) + SETTINGS
      const server = await startServer(t, { config })
      // One connection: hundreds of handshakes would be what a busy machine is occupied with.
      const session = await openSession(t, server.port, server.user)
      for (const key of ['cached', ...COLD])
        assert.equal((await session.ask('PUT', `/v1/key/create/user-${key}`)).status, 200)
      assert.equal((await generate(session, 'user-cached')).status, 200)
      await check({ ...scene, server, session })
    })
  }

  const outages: readonly {
    readonly what: string
    readonly begin: (scene: Scene) => Promise<void>
    readonly end: (scene: Scene) => Promise<void>
  }[] = [
    {
      what: 'was killed, and is started again',
      begin: ({ subject }) => processOf(subject).kill(),
      end: ({ subject }) => processOf(subject).start(),
    },
    {
      what: 'was stopped, and goes on',
      begin: async ({ subject }) => processOf(subject).signal('SIGSTOP'),
      end: async ({ subject }) => processOf(subject).signal('SIGCONT'),
    },
    {
      what: 'resets connections, and takes them again',
      begin: ({ proxy }) => proxy.become('reset'),
      end: ({ proxy }) => proxy.become('pass'),
    },
  ]
  for (const { what, begin, end } of outages) {
    outage(`a server whose keystore ${what}`, async (scene) => {
      const { server, session } = scene
      await begin(scene)
      const truth = sleep(2000)
      const running = generate(session, 'user-cold-0')
      assert.equal((await generate(session, 'user-cached')).status, 200)
      assert.ok([502, 504].includes((await running).status), 'a running request ends')
      await truth
      await looks(server, 'down')
      assert.equal((await generate(session, 'user-cached')).status, 200)
      await end(scene)
      assert.deepEqual((await generate(session, 'user-cold-1')).status, 200)
      await sleep(2000)
      await looks(server, 'up')
    })
  }

  outage(
    'a server whose keystore flaps answers, and never says that a key is missing',
    async (scene) => {
      const { session, proxy } = scene
      const answers: Promise<Answer>[] = []
      for (let round = 0; round < 6; round++) {
        for (const mode of ['reset', 'pass', 'refuse', 'pass'] as const) {
          await proxy.become(mode)
          answers.push(...COLD.map((key) => generate(session, `user-${key}`)))
          await sleep(20)
        }
      }
      for (const { status } of await Promise.all(answers))
        assert.ok([200, 502, 504].includes(status), String(status))
      for (const key of COLD) assert.equal((await generate(session, `user-${key}`)).status, 200)
    },
  )
}

/** Keys that are never in the cache when they are asked for. */
const COLD = Array.from({ length: 4 }, (_, index) => `cold-${index}`)

const SETTINGS = `
cache: { expiry: { any: 1h, unused: 1h, offline: 1h } }
api: { /v1/key/generate/: { timeout: 3s } }
`

async function sceneOf(t: TestContext, subject: OutageSubject): Promise<Scene> {
  return { subject, proxy: await ChaosProxy.start(t, { port: subject.port }) }
}

function processOf({ process }: OutageSubject): OutageProcess {
  assert.ok(process, 'the subject has no process')
  return process
}

function generate(session: Session, key: string): Promise<Answer> {
  return session.ask('PUT', `/v1/key/generate/${key}`, '{}')
}

async function looks({ port, admin }: TestServer, how: 'up' | 'down'): Promise<void> {
  const ready = await ask(port, admin, 'GET', '/v1/ready')
  assert.equal(ready.status, how === 'up' ? 200 : 504, ready.body)
  const { body } = await ask(port, admin, 'GET', '/v1/status')
  const status = JSON.parse(body) as { readonly keystore_unreachable?: boolean }
  assert.equal(status.keystore_unreachable, how === 'up' ? undefined : true)
}

/** Reads, writes, lists and deletes at the first try. */
export async function isWell(store: KeyStore): Promise<void> {
  assert.equal(Buffer.from(await store.get('there', SIGNAL)).toString(), 'value')
  await store.create('well', bytes('v'), SIGNAL)
  const { names } = await store.list({ prefix: '', from: '' }, 9, SIGNAL)
  assert.deepEqual(names, ['there', 'well'])
  await store.delete('well', SIGNAL)
  await assert.rejects(store.get('absent', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await store.status(SIGNAL)
}

function isUnreachable(error: unknown): boolean {
  return error instanceof KeyStoreError && error.failure === 'unreachable'
}

/** Descriptors and timers of this process. */
export function openResources(): number {
  const timers = process.getActiveResourcesInfo().filter((type) => type === 'Timeout')
  return readdirSync('/proc/self/fd').length + timers.length
}

/** Ends of TCP connections that this process has. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((type) => type === 'TCPSocketWrap').length
}

/** Bytes of the heap that are in use, without garbage. */
function usedMemory(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}
