/** More requests than the server can do: what is answered is right, the others are told to come again. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { eventually, serverFiles, startServerProcess } from '../support/process.ts'
import { APP, type Called, OPS, startRustfs } from '../support/rustfs.ts'
import { type Answer, ask, startServer, IN_PROCESS } from '../support/server.ts'
import { answerOf, openSession } from '../support/session.ts'
import { FakeStore, gate } from '../support/store.ts'

function assertRefused({ status, headers, body }: Answer): void {
  assert.equal(status, 503)
  assert.equal(headers['retry-after'], '1')
  assert.match(body, /"message":"server is overloaded: try again later"/)
}

for (const http of ['h1', 'h2'] as const) {
  test(
    `beyond overload.in_flight calls for keys are refused over ${http}, and nothing else is`,
    { skip: IN_PROCESS },
    async (t) => {
      const store = new FakeStore()
      const server = await startServer(t, {
        store,
        config: 'overload: { in_flight: 4 }\nlog: { audit: on }',
      })
      const call = (method: string, path: string, body?: string): Promise<Answer> =>
        ask(server.port, server.admin, method, path, { http, ...(body !== undefined && { body }) })
      const keys = ['a', 'b', 'c', 'd']
      for (const key of keys) assert.equal((await call('PUT', `/v1/key/create/${key}`)).status, 200)
      const { passed, open } = gate()
      store.gate = passed
      const waiting = keys.map((key) => call('PUT', `/v1/key/generate/${key}`, '{}'))
      await eventually('four wait', () => store.calls.get === keys.length)
      const refused = Array.from({ length: 6 }, () =>
        call('PUT', '/v1/key/generate/a', JSON.stringify({ context: 'A'.repeat(100_000) })),
      )
      for (const answer of await Promise.all(refused)) assertRefused(answer)
      for (const path of ['/version', '/v1/status', '/v1/metrics', '/v1/policy/list/'])
        assert.equal((await call('GET', path)).status, 200, path)
      open()
      for (const { status } of await Promise.all(waiting)) assert.equal(status, 200)
      assert.equal((await call('PUT', '/v1/key/generate/a', '{}')).status, 200)
      const { body } = await ask(server.port, server.admin, 'GET', '/v1/metrics', {
        headers: { accept: 'application/openmetrics-text' },
      })
      assert.match(body, /^kes_requests_shed 6$/m)
      assert.match(server.stderr(), /level=WARN msg="overload: .*\(kes_requests_shed\)" running=5/)
      assert.equal(server.stderr().match(/overload/g)?.length, 1)
      await eventually('the events', () => server.stdout().match(/"code":503/g)?.length === 6)
    },
  )
}

test('who may not call is not told of an overload', { skip: IN_PROCESS }, async (t) => {
  const store = new FakeStore()
  const { port, admin, nobody } = await startServer(t, {
    store,
    config: 'overload: { in_flight: 1 }',
  })
  const { passed, open } = gate()
  store.gate = passed
  const waiting = ask(port, admin, 'GET', '/v1/key/describe/a')
  await eventually('one waits', () => store.calls.get === 1)
  assert.equal((await ask(port, nobody, 'GET', '/v1/key/describe/a')).status, 403)
  assertRefused(await ask(port, admin, 'GET', '/v1/key/describe/a'))
  open()
  assert.equal((await waiting).status, 404)
})

test(
  'the port of RustFS refuses calls for keys in its own form',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const server = await startRustfs(t, {
      store,
      config: 'overload: { in_flight: 2 }\nlog: { audit: on }',
    })
    const generate = (key: string, as = OPS): Promise<Called> =>
      server.call('POST', '/generate-data-key', { key_id: key, key_spec: 'AES_256' }, { as })
    for (const name of ['a', 'b'])
      assert.equal((await server.call('POST', '/keys', { Tags: { name } })).status, 200)
    store.calls.get = 0
    const { passed, open } = gate()
    store.gate = passed
    // One at each port: they have one processor.
    const waiting = [
      generate('a'),
      ask(server.port, server.admin, 'PUT', '/v1/key/generate/b', { body: '{}' }),
    ]
    await eventually('two wait', () => store.calls.get === 2)
    const refused = await Promise.all([1, 2, 3].map(() => generate('a')))
    for (const { status, headers, json } of refused) {
      assert.deepEqual([status, headers['retry-after']], [503, '1'])
      const { code, message, success, request_id: id } = json
      const expected = ['ServiceUnavailable', 'server is overloaded: try again later', false]
      assert.deepEqual([code, message, success], expected)
      assert.equal(headers['x-amz-request-id'], id)
    }
    for (const path of ['/status', '/service-status', '/config'])
      assert.equal((await server.call('GET', path)).status, 200, path)
    assert.equal((await generate('a', APP)).status, 403)
    assertRefused(await ask(server.port, server.admin, 'GET', '/v1/key/describe/a'))
    open()
    for (const { status } of await Promise.all(waiting)) assert.equal(status, 200)
    assert.equal((await generate('a')).status, 200)
    const { body } = await ask(server.port, server.admin, 'GET', '/v1/metrics', {
      headers: { accept: 'application/openmetrics-text' },
    })
    assert.match(body, /^kes_requests_shed 4$/m)
    assert.match(body, /^kes_api_requests\{operation="key:generate",code="503"\} 3$/m)
    assert.equal(server.stderr().match(/overload/g)?.length, 2)
    await eventually('the events', () => server.stdout().match(/"code":503/g)?.length === 4)
  },
)

test(
  'requests that have waited for their enclave have not waited for each other',
  { skip: IN_PROCESS },
  async (t) => {
    const store = new FakeStore()
    const { port, admin, user } = await startServer(t, {
      store,
      config: 'overload: { delay: 100ms }',
    })
    const body = JSON.stringify({ admin: user.identity })
    for (const name of ['one', 'two'])
      assert.equal(
        (await ask(port, admin, 'POST', `/v1/enclave/create/${name}`, { body })).status,
        200,
      )
    const find = async (name: string): Promise<{ open(): void; answers: Promise<Answer>[] }> => {
      const { passed, open } = gate()
      store.gate = passed
      const before = store.calls.record
      const look = (): Promise<Answer> =>
        ask(port, user, 'GET', `/v1/key/describe/a?enclave=${name}`)
      const answers = [look()]
      await eventually('the keystore is asked', () => store.calls.record > before)
      await sleep(400)
      answers.push(look())
      return { open, answers }
    }
    const found = [await find('one'), await find('two')]
    await sleep(700)
    store.gate = undefined
    for (const { open } of found) {
      open()
      await sleep(20)
    }
    for (const { answers } of found)
      for (const { status } of await Promise.all(answers)) assert.equal(status, 404)
  },
)

const STREAMS = 200
const CONNECTIONS = 3
/** Refusals: more than a connection's streams may be reset. */
const ENOUGH = 600

/** A small request waits in a turn of the event loop; a large one for the rest of itself, in windows and sockets. */
const SIZES = { small: 1, large: 200 }

for (const [size, entries] of Object.entries(SIZES)) {
  test(`under more ${size} requests than it can bear, a server answers right or not at all, at once, and stays small`, (t) =>
    overload(t, entries))
}

/** @param entries how much each request asks for */
async function overload(t: TestContext, entries: number): Promise<void> {
  const files = await serverFiles(t, {
    config: 'keys: [ { name: a } ]\noverload: { delay: 100us }',
  })
  const server = await startServerProcess(t, ['--config', files.config])
  const first = await ask(server.port, files.admin, 'PUT', '/v1/key/generate/a', { body: '{}' })
  const { plaintext, ciphertext } = JSON.parse(first.body) as Record<string, string>
  const counts = { right: 0, refused: 0 }
  const isBulk = entries > 1
  const list = <T>(one: T): T | T[] => (isBulk ? Array<T>(entries).fill(one) : one)
  const right = `${JSON.stringify(list({ plaintext }))}\n`
  const load = await keepAsking(
    t,
    server.port,
    files.admin,
    {
      path: `/v1/key${isBulk ? '/bulk' : ''}/decrypt/a`,
      body: JSON.stringify(list({ ciphertext })),
    },
    (answer) => {
      if (answer.status === 200) {
        assert.equal(answer.body, right)
        counts.right++
      } else {
        assertRefused(answer)
        counts.refused++
      }
    },
  )
  await eventually(
    'some are refused',
    () => load.failure() !== undefined || counts.refused > ENOUGH,
  )
  for (const path of ['/version', '/v1/ready'])
    assert.equal((await ask(server.port, files.admin, 'GET', path)).status, 200)
  const { ...before } = counts
  await eventually(
    'others are served',
    () => load.failure() !== undefined || counts.right > before.right + 200,
  )
  assert.ok(residentMiB(server.pid) < 300, `${residentMiB(server.pid)} MiB`)
  await load.stop()
  assert.equal(load.failure(), undefined)
  const { status } = await ask(server.port, files.admin, 'PUT', '/v1/key/generate/a', {
    body: '{}',
  })
  assert.equal(status, 200)
}

interface Load {
  /** What was wrong with an answer. */
  failure(): Error | undefined
  stop(): Promise<void>
}

/** Keeps as many requests in flight as the server's streams allow. */
async function keepAsking(
  t: TestContext,
  port: number,
  who: { readonly key: string; readonly cert: string },
  { path, body }: { readonly path: string; readonly body: string },
  check: (answer: Answer) => void,
): Promise<Load> {
  let isOver = false
  let failure: Error | undefined
  const work = async ({ http2 }: Awaited<ReturnType<typeof openSession>>): Promise<void> => {
    while (!isOver && failure === undefined) {
      try {
        const stream = http2.request({ ':method': 'PUT', ':path': path })
        stream.end(body)
        check(await answerOf(stream))
      } catch (error) {
        failure ??= error as Error
      }
    }
  }
  const sessions = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => openSession(t, port, who)),
  )
  const done = Promise.all(
    sessions.flatMap((session) => Array.from({ length: STREAMS }, () => work(session))),
  )
  return {
    failure: () => failure,
    stop: async () => {
      isOver = true
      await done
    },
  }
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}
