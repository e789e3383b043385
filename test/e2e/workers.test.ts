/** `kes server --workers 3`: what is true of one process is true of several. */

import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { certificate } from '../support/certificates.ts'
import { adminClient } from '../support/client.ts'
import {
  eventually,
  type Files,
  type FilesOptions,
  kes,
  serverFiles,
  type ServerProcess,
  startServerProcess,
} from '../support/process.ts'
import { freePorts } from '../support/program.ts'
import { OPS, PREFIX, sendTo, sign } from '../support/rustfs.ts'
import { ask } from '../support/server.ts'
import { follow, openSession, type Session } from '../support/session.ts'
import { visit } from '../support/visitor.ts'
import { allServe, sessionsOnAll, workersOf } from '../support/workers.ts'

const WORKERS = 3
/** What a stop may take when nothing runs (kes-api.md, "Connections"). */
const IDLE_STOP = 4000
const skip = process.platform !== 'linux' && 'asks /proc which worker serves a connection'

interface Scene extends Omit<Files, 'server'> {
  readonly server: ServerProcess
  log(): string
  /** A connection of the admin to each worker. */
  everywhere(): Promise<Session[]>
}

async function scene(t: TestContext, options: FilesOptions = {}): Promise<Scene> {
  const files = await serverFiles(t, options)
  const server = await startServerProcess(
    t,
    ['--config', 'config.yml', '--workers', String(WORKERS)],
    { cwd: files.directory },
  )
  return {
    ...files,
    server,
    log: () => server.stderr().toString(),
    everywhere: async () => [...(await sessionsOnAll(t, server, files.admin, WORKERS)).values()],
  }
}

async function ok(session: Session, method: string, path: string, body?: string): Promise<string> {
  const answer = await session.ask(method, path, body)
  assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${answer.body}`)
  return answer.body
}

async function statuses(
  sessions: readonly Session[],
  method: string,
  path: string,
): Promise<number[]> {
  const answers = await Promise.all(sessions.map((session) => session.ask(method, path)))
  return answers.map(({ status }) => status)
}

function all(status: number): number[] {
  return Array.from({ length: WORKERS }, () => status)
}

/** Kills a worker as a crash would, and waits until another one serves in its place. */
async function replace({ server }: Pick<Scene, 'server'>, pid: number): Promise<void> {
  const before = new Set(workersOf(server))
  process.kill(pid, 'SIGKILL')
  await eventually('another worker', () => workersOf(server).some((worker) => !before.has(worker)))
}

test('the server says how many workers it has, and all of them serve', { skip }, async (t) => {
  const it = await scene(t)
  assert.match(it.log(), /^Workers +3$/m)
  assert.equal(workersOf(it.server).length, WORKERS)
  assert.deepEqual(await statuses(await it.everywhere(), 'GET', '/version'), all(200))
})

test(
  'a key that is deleted over one worker is gone from all before the answer',
  { skip },
  async (t) => {
    const it = await scene(t)
    const sessions = await it.everywhere()
    for (let round = 0; round < 50; round++) {
      const path = `/v1/key/generate/a${round}`
      const deleter = sessions[round % WORKERS] ?? assert.fail()
      await ok(deleter, 'PUT', `/v1/key/create/a${round}`)
      assert.deepEqual(await statuses(sessions, 'PUT', path), all(200))
      await ok(deleter, 'DELETE', `/v1/key/delete/a${round}`)
      assert.deepEqual(await statuses(sessions, 'PUT', path), all(404))
    }
  },
)

test('a change of policies counts in all workers before the answer', { skip }, async (t) => {
  const it = await scene(t)
  const admins = await it.everywhere()
  const { user } = it
  const users = [...(await sessionsOnAll(t, it.server, user, WORKERS)).values()]
  const [first = assert.fail(), second = assert.fail(), third = assert.fail()] = admins
  for (let round = 0; round < 20; round++) {
    const allow = JSON.stringify({ allow: ['/v1/status'] })
    await ok(first, 'POST', '/v1/policy/write/p', allow)
    const assign = JSON.stringify({ identity: user.identity })
    await ok(second, 'POST', '/v1/policy/assign/p', assign)
    assert.deepEqual(await statuses(users, 'GET', '/v1/status'), all(200))
    await ok(third, 'POST', '/v1/policy/write/p', '{"allow":["/v1/status"],"deny":["/v1/status"]}')
    assert.deepEqual(await statuses(users, 'GET', '/v1/status'), all(403))
    await ok(second, 'POST', '/v1/policy/write/p', allow)
    if (round % 2 === 0) await ok(first, 'DELETE', '/v1/policy/delete/p')
    else await ok(first, 'DELETE', `/v1/identity/delete/${user.identity}`)
    assert.deepEqual(await statuses(users, 'GET', '/v1/status'), all(403))
  }
  assert.equal((await third.ask('DELETE', '/v1/policy/delete/none')).status, 404)
})

test('workers agree when several write the same policy at once', { skip }, async (t) => {
  const it = await scene(t)
  const sessions = await it.everywhere()
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      sessions.map((session, index) =>
        ok(
          session,
          'POST',
          '/v1/policy/write/p',
          JSON.stringify({ allow: [`/v1/key/list/${index}*`] }),
        ),
      ),
    )
    const read = await Promise.all(
      sessions.map(async (session) => JSON.parse(await ok(session, 'GET', '/v1/policy/read/p'))),
    )
    assert.deepEqual(read[1], read[0])
    assert.deepEqual(read[2], read[0])
  }
})

test('a worker that is new knows the policies and enclaves from before', { skip }, async (t) => {
  const it = await scene(t)
  const [first = assert.fail()] = await it.everywhere()
  const assign = JSON.stringify({ identity: it.user.identity })
  await ok(first, 'POST', '/v1/enclave/create/tenant')
  for (const enclave of ['', '?enclave=tenant']) {
    await ok(first, 'POST', `/v1/policy/write/p${enclave}`, '{"allow":["/v1/key/list/*"]}')
    await ok(first, 'POST', `/v1/policy/assign/p${enclave}`, assign)
  }
  const old = workersOf(it.server)
  for (const pid of old) await replace(it, pid)
  const users = await sessionsOnAll(t, it.server, it.user, WORKERS)
  assert.ok(old.every((pid) => !users.has(pid)))
  for (const enclave of ['', '?enclave=tenant'])
    assert.deepEqual(
      await statuses([...users.values()], 'GET', `/v1/key/list/${enclave}`),
      all(200),
    )
  assert.equal(it.log().match(/worker \d+ has ended \(signal SIGKILL\)/g)?.length, WORKERS)
})

test('an enclave, its policies and keys are the same in all workers', { skip }, async (t) => {
  const it = await scene(t)
  const sessions = await it.everywhere()
  const [first = assert.fail(), second = assert.fail(), third = assert.fail()] = sessions
  const users = [...(await sessionsOnAll(t, it.server, it.user, WORKERS)).values()]
  const path = '/v1/key/generate/a?enclave=tenant'
  for (let round = 0; round < 10; round++) {
    assert.deepEqual(await statuses(sessions, 'PUT', path), all(404))
    await ok(first, 'POST', '/v1/enclave/create/tenant')
    await ok(second, 'PUT', '/v1/key/create/a?enclave=tenant')
    assert.deepEqual(await statuses(sessions, 'PUT', path), all(200))
    await ok(third, 'POST', '/v1/policy/write/p?enclave=tenant', '{"allow":["/v1/key/generate/*"]}')
    const assign = JSON.stringify({ identity: it.user.identity })
    await ok(first, 'POST', '/v1/policy/assign/p?enclave=tenant', assign)
    assert.deepEqual(await statuses(users, 'PUT', path), all(200))
    await ok(second, 'DELETE', '/v1/enclave/delete/tenant')
    assert.deepEqual(await statuses(users, 'PUT', path), all(403))
  }
})

test('a follower of a log over one worker sees the events of all', { skip }, async (t) => {
  const it = await scene(t)
  const sessions = await it.everywhere()
  const [first = assert.fail()] = sessions
  await ok(first, 'POST', '/v1/enclave/create/tenant')
  const logs = ['/v1/log/audit', '/v1/log/error', '/v1/log/audit?enclave=tenant']
  for (let round = 0; round < 2 * WORKERS; round++) {
    for (const log of logs) {
      const [pathname = ''] = log.split('?')
      const follower = await follow(t, it.server.port, it.admin, log, round % 2 === 0 ? 'h1' : 'h2')
      assert.equal(follower.status, 200)
      const query = log.slice(pathname.length)
      for (const [index, session] of sessions.entries())
        await session.ask('GET', `/v1/key/describe/gone-${round}-${index}${query}`)
      for (const index of sessions.keys()) {
        const events = (): number =>
          follower.lines.filter((line) => line.includes(`gone-${round}-${index}`)).length
        await eventually(`the event of worker ${index} on ${pathname}`, () => events() === 1)
      }
      const foreign = follower.lines.filter((line) => !line.includes('gone-'))
      assert.deepEqual(
        foreign.filter((line) => log.includes('enclave') && !line.includes('tenant')),
        [],
      )
    }
  }
})

test(
  'while the primary stands still workers answer, and end followers of a log rather than keep all for them',
  { skip },
  async (t) => {
    const it = await scene(t)
    const sessions = await sessionsOnAll(t, it.server, it.admin, WORKERS)
    const log = '/v1/log/audit'
    const follower = await follow(t, it.server.port, it.admin, log, 'h2')
    // An event has the path. 24 MB of each worker: more than it keeps (relay.ts).
    const path = `/v1/${'a'.repeat(12_000)}`
    it.server.kill('SIGSTOP')
    try {
      for (let round = 0; round < 20; round++) {
        const asked = [...sessions.values()].flatMap((session) =>
          Array.from({ length: 100 }, () => session.ask('GET', path)),
        )
        for (const { status } of await Promise.all(asked)) assert.equal(status, 404)
      }
    } finally {
      it.server.kill('SIGCONT')
    }
    await eventually('it is cut off', follower.hasEnded)
    // What is still on its way may cut off who comes too early.
    for (let isBack = false; !isBack;) {
      const again = await follow(t, it.server.port, it.admin, log, 'h2')
      for (const [pid, session] of sessions) await session.ask('GET', `/v1/after-${pid}`)
      const isThere = (pid: number): boolean =>
        again.lines.some((line) => line.includes(`/v1/after-${pid}"`))
      isBack = await eventually('the events, or the end', () =>
        again.hasEnded() ? 'no' : [...sessions.keys()].every(isThere) && 'yes',
      ).then((answer) => answer === 'yes')
    }
    assert.deepEqual(new Set(workersOf(it.server)), new Set(sessions.keys()))
  },
)

async function figures(session: Session): Promise<Map<string, number>> {
  const stream = session.http2.request({
    ':path': '/v1/metrics',
    accept: 'text/plain;version=0.0.4',
  })
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return new Map(
    [...text.matchAll(/^(\w+(?:\{[^}]*\})?) (\S+)$/gm)].map(([, name = '', value]) => [
      name,
      Number(value),
    ]),
  )
}

test(
  'metrics are those of all workers, and no counter goes back when one dies',
  { skip },
  async (t) => {
    const it = await scene(t, { config: 'log: { audit: on }' })
    const sessions = await it.everywhere()
    const [first = assert.fail()] = sessions
    await ok(first, 'PUT', '/v1/key/create/a')
    for (const session of sessions)
      for (let index = 0; index < 10; index++) await ok(session, 'PUT', '/v1/key/generate/a')
    for (const session of sessions) await session.ask('PUT', '/v1/key/generate/none')
    const names = [
      'kes_api_requests{operation="key:generate",code="200"}',
      'kes_http_request_success{code="200"}',
      'kes_http_request_error{code="404"}',
      'kes_http_response_time_bucket{le="+Inf"}',
      'kes_http_response_time_count',
      'kes_http_response_time_sum',
      'kes_log_audit_events',
      'kes_log_error_events',
      'kes_cache_hits',
      'kes_cache_misses',
      'kes_system_up_time',
    ]
    const before = await figures(first)
    assert.equal(before.get('kes_api_requests{operation="key:generate",code="200"}'), 10 * WORKERS)
    assert.equal(before.get('kes_http_request_error{code="404"}'), WORKERS)
    assert.equal(before.get('kes_log_error_events'), WORKERS)
    assert.equal(before.get('kes_cache_keys'), WORKERS)
    assert.equal(before.get('kes_keystore_up'), 1)
    assert.equal(before.get('kes_http_request_active'), 0)
    assert.equal(before.get('kes_system_num_threads'), WORKERS)
    const served = new Map((await sessionsOnAll(t, it.server, it.admin, WORKERS)).entries())
    for (const pid of served.keys()) {
      await replace(it, pid)
      const [session] = await it.everywhere()
      const after = await figures(session ?? assert.fail())
      for (const name of names)
        assert.ok((after.get(name) ?? 0) >= (before.get(name) ?? Infinity), `${name} went back`)
    }
  },
)

test(
  'a worker that is killed under load: only its own connections fail, and nothing is wrong',
  { skip },
  async (t) => {
    const it = await scene(t, { config: 'keys: [ { name: a } ]' })
    const victims = await sessionsOnAll(t, it.server, it.admin, WORKERS)
    const [[victim, itsSession] = assert.fail()] = [...victims]
    let isOver = false
    const failed = new Set<number>()
    const counts = new Map<number, number>()
    const load = Promise.all(
      [...victims].map(async ([pid, session]) => {
        while (!isOver) {
          try {
            const { plaintext, ciphertext } = JSON.parse(
              await ok(session, 'PUT', '/v1/key/generate/a'),
            )
            const body = JSON.stringify({ ciphertext })
            const opened = await ok(session, 'PUT', '/v1/key/decrypt/a', body)
            assert.equal(JSON.parse(opened).plaintext, plaintext)
            counts.set(pid, (counts.get(pid) ?? 0) + 1)
          } catch (error) {
            if (error instanceof assert.AssertionError) throw error
            failed.add(pid)
            return
          }
        }
      }),
    ).finally(() => (isOver = true))
    const served = (): boolean => [...victims.keys()].every((pid) => (counts.get(pid) ?? 0) > 20)
    await eventually('all are busy', () => isOver || served())
    await replace(it, victim)
    itsSession.abandon()
    const before = new Map(counts)
    await eventually(
      'the others go on',
      () =>
        isOver ||
        [...counts].every(([pid, count]) => pid === victim || count > (before.get(pid) ?? 0) + 20),
    )
    const again = await openSession(t, it.server.port, it.admin)
    await ok(again, 'PUT', '/v1/key/generate/a')
    isOver = true
    await load
    assert.deepEqual([...failed], [victim])
  },
)

for (const http of ['h2', 'h1'] as const) {
  test(
    `a client’s calls over ${http} go on, whichever worker is killed in the middle of them`,
    { skip },
    async (t) => {
      const { server } = await scene(t, { config: 'keys: [ { name: a } ]' })
      const endpoints = [`https://localhost:${server.port}`]
      const client = await adminClient(t, endpoints, { http, retries: 12, pingInterval: 1000 })
      let [isOver, done] = [false, 0]
      const call = async (): Promise<void> => {
        while (!isOver) {
          const { plaintext, ciphertext } = await client.generateKey('a')
          assert.deepEqual(await client.decrypt('a', ciphertext), plaintext)
          done++
        }
      }
      const load = Promise.all(Array.from({ length: 8 }, call)).finally(() => (isOver = true))
      load.catch(() => {})
      const goesOn = (): Promise<unknown> => {
        const target = done + 20
        return eventually('calls go on', () => isOver || done >= target)
      }
      for (const pid of workersOf(server)) {
        await goesOn()
        await replace({ server }, pid)
      }
      await goesOn()
      isOver = true
      await load
    },
  )
}

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

test(
  'a session is resumed by any worker, a new one too, and by none after its CA was removed',
  { skip },
  async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const other = await certificate({ subject: 'other', ca: true })
    const member = await certificate({ subject: 'member', issuer: ca })
    const files = await serverFiles(t, { tls: 'auth: on, ca: ca.pem' })
    writeFileSync(join(files.directory, 'ca.pem'), ca.cert)
    const args = ['--config', 'config.yml', '--workers', String(WORKERS)]
    const server = await startServerProcess(t, args, { cwd: files.directory })
    const { port } = server
    const visits = await Promise.all(VERSIONS.map((version) => visit(port, member, version)))
    const again = async (count: number): Promise<[boolean, number | 'closed'][]> => {
      const outcomes: [boolean, number | 'closed'][] = []
      for (let index = 0; index < count; index++)
        for (const [at, version] of VERSIONS.entries()) {
          const { isReused, status } = await visit(port, member, version, visits[at])
          outcomes.push([isReused, status])
        }
      return outcomes
    }
    for (const [isReused, status] of await again(WORKERS))
      assert.deepEqual([isReused, status], [true, 200])
    for (const pid of workersOf(server)) {
      process.kill(pid, 'SIGKILL')
      await eventually('it is gone', () => !workersOf(server).includes(pid))
      await allServe(server, WORKERS)
    }
    await eventually(
      'all were replaced',
      () =>
        server
          .stderr()
          .toString()
          .match(/has ended/g)?.length === WORKERS,
    )
    // Each answer shows that there is somebody; in turn they are all of them before long.
    for (const [isReused, status] of await again(3 * WORKERS))
      assert.deepEqual([isReused, status], [true, 200])
    writeFileSync(join(files.directory, 'ca.pem'), other.cert)
    server.kill('SIGHUP')
    await eventually('the reload', () => /the config was reloaded/.test(server.stderr().toString()))
    for (const [isReused, status] of await again(2 * WORKERS))
      assert.deepEqual([isReused, status], [false, 'closed'])
  },
)

const RELOADS = 100

test(
  `${RELOADS} reloads under load: not one request fails, and all workers change over`,
  { skip },
  async (t) => {
    const it = await scene(t, { config: 'keys: [ { name: a } ]' })
    const sessions = await it.everywhere()
    const reloads = (): number => it.log().match(/the config was reloaded/g)?.length ?? 0
    let isOver = false
    let count = 0
    const load = Promise.all(
      sessions.map(async (session) => {
        while (!isOver) {
          await ok(session, 'PUT', '/v1/key/generate/a')
          count++
        }
      }),
    ).finally(() => (isOver = true))
    const base = `address: 127.0.0.1:0
admin: { identity: ${it.admin.identity} }
tls: { key: server.key, cert: server.cert }
`
    for (let index = 1; index <= RELOADS && !isOver; index++) {
      // The same directory, but every other time another keystore as far as the server knows.
      const keystore = `keystore: { fs: { path: ${index % 4 < 2 ? it.keys : `${it.keys}/.`} } }`
      const policy = `policy: { p${index}: { allow: [ "/v1/key/*" ], identities: [ ${it.user.identity} ] } }`
      writeFileSync(it.config, `${base}${keystore}\n${policy}\n`)
      it.server.kill('SIGHUP')
      await eventually(`reload ${index}`, () => isOver || reloads() === index)
      const read = await statuses(sessions, 'GET', `/v1/policy/read/p${index}`)
      assert.deepEqual(read, all(200), `reload ${index}`)
    }
    isOver = true
    await load
    assert.equal(reloads(), RELOADS)
    assert.ok(count > RELOADS, `only ${count} requests`)
    assert.doesNotMatch(it.log(), /refused|level=(WARN|ERROR)/)
  },
)

test(
  'a reload that one thing is wrong with changes nothing in any worker, and is complained about once',
  { skip },
  async (t) => {
    const it = await scene(t)
    const sessions = await it.everywhere()
    const good = `admin: { identity: ${it.admin.identity} }
tls: { key: server.key, cert: server.cert }
policy: { p: { allow: [ "/v1/status" ] } }
`
    const refusals = (): string[] => it.log().match(/^.*the reload is refused.*$/gm) ?? []
    for (const [index, keystore] of [
      'keystore: { fs: { path: server.key } }',
      'keystore: { nothing: {} }',
    ].entries()) {
      writeFileSync(it.config, good + keystore)
      it.server.kill('SIGHUP')
      await eventually('it is refused', () => refusals().length > index)
      assert.deepEqual(await statuses(sessions, 'GET', '/v1/policy/read/p'), all(404))
    }
    rmSync(join(it.directory, 'server.key'))
    writeFileSync(it.config, `${good}keystore: { fs: { path: ${it.keys} } }`)
    it.server.kill('SIGHUP')
    await eventually('it is refused', () => refusals().length === 3)
    assert.match(refusals()[2] ?? '', /tls\.key/)
    await sleep(300)
    assert.equal(refusals().length, 3)
    assert.deepEqual(await statuses(sessions, 'GET', '/version'), all(200))
  },
)

test('lines of the audit log are whole, one for each call over any worker', { skip }, async (t) => {
  const it = await scene(t, { config: 'log: { audit: on, error: off }' })
  const sessions = await it.everywhere()
  const rounds = 300
  await Promise.all(
    sessions.map(async (session, worker) => {
      for (let index = 0; index < rounds; index += 10) {
        const batch = Array.from({ length: 10 }, (_, at) =>
          session.ask('GET', `/v1/key/describe/${'x'.repeat(6000)}-${worker}-${index + at}`),
        )
        await Promise.all(batch)
      }
    }),
  )
  assert.equal((await it.server.stop()).code, 0)
  const lines = it.server.stdout().toString().trimEnd().split('\n')
  const seen = lines.map((line) => JSON.parse(line).request.path as string)
  const described = seen.filter((path) => path.includes('/describe/'))
  assert.equal(described.length, WORKERS * rounds)
  assert.equal(new Set(described).size, WORKERS * rounds)
})

test(
  'a stop ends all workers in time, lets running requests end, and exits with 0',
  { skip },
  async (t) => {
    const it = await scene(t, { config: 'keys: [ { name: a } ]' })
    const sessions = await it.everywhere()
    const body = '{"plaintext":"SGVsbG8="}'
    const slow = await Promise.all(
      sessions.map(async ({ http2, ask: askHere }) => {
        const stream = http2.request({
          ':method': 'PUT',
          ':path': '/v1/key/encrypt/a',
          'content-length': body.length,
        })
        stream.write(body.slice(0, 5))
        // Answered behind the head above, on the same connection.
        await askHere('GET', '/version')
        return stream
      }),
    )
    const followers = await Promise.all(
      ['h1', 'h2'].map((http) =>
        follow(t, it.server.port, it.admin, '/v1/log/audit', http as 'h1'),
      ),
    )
    const workers = workersOf(it.server)
    it.server.kill('SIGTERM')
    await eventually('the stop begins', () => /stopping/i.test(it.log()))
    await eventually('followers end', () => followers.every(({ hasEnded }) => hasEnded()))
    // Not awaited here: one that Node gave to a worker that had just closed lies in the primary until that ends.
    const refused = assert.rejects(ask(it.server.port, it.admin, 'GET', '/version'))
    const answers = slow.map(
      (stream) =>
        new Promise((resolve, reject) => {
          stream.on('error', reject)
          stream.on('response', (head) => resolve(head[':status']))
          stream.resume()
          stream.end(body.slice(5))
        }),
    )
    assert.deepEqual(await Promise.all(answers), all(200))
    assert.equal((await it.server.exited).code, 0, it.log())
    await refused
    for (const pid of workers) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  },
)

test('connections that idle do not hold a stop', { skip }, async (t) => {
  const it = await scene(t)
  await it.everywhere()
  const { code, took } = await it.server.stop('SIGINT')
  assert.equal(code, 0, it.log())
  assert.ok(took < IDLE_STOP, `${took} ms`)
})

test(
  'signals to a worker are not for it, and workers end with a primary that is killed',
  { skip },
  async (t) => {
    const it = await scene(t)
    const sessions = await it.everywhere()
    const workers = workersOf(it.server)
    for (const pid of workers)
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(pid, signal)
    await sleep(200)
    assert.deepEqual(await statuses(sessions, 'GET', '/version'), all(200))
    await it.server.stop('SIGKILL')
    const isGone = (pid: number): boolean => {
      try {
        return process.kill(pid, 0) && false
      } catch {
        return true
      }
    }
    await eventually('they have ended', () => workers.every(isGone))
  },
)

test('what is wrong at the start is said once, with exit code 1', async (t) => {
  const files = await serverFiles(t)
  const args = ['server', '--config', 'config.yml', '--workers', String(WORKERS)]
  const taken = await startServerProcess(t, args.slice(1), { cwd: files.directory })
  const second = await kes(t, [...args, '--addr', `127.0.0.1:${taken.port}`], {
    cwd: files.directory,
  })
  assert.equal(second.code, 1)
  assert.equal(second.stderr.trim().split('\n').length, 1, second.stderr)
  assert.match(second.stderr, new RegExp(`^Error: port ${taken.port} is taken`))
  const broken = await serverFiles(t, { keys: join(files.directory, 'server.key') })
  const { code, stderr } = await kes(t, args, { cwd: broken.directory })
  assert.equal(code, 1)
  assert.equal(stderr.match(/^Error: keystore fs/gm)?.length, 1, stderr)
  assert.doesNotMatch(stderr, /^ +at /m)
  for (const bad of ['0', '-1', 'many', '1.5', '1000']) {
    const refused = await kes(t, ['server', '--config', 'config.yml', `--workers=${bad}`], {
      cwd: files.directory,
    })
    assert.deepEqual(
      [refused.code, refused.stderr.startsWith('Error: --workers: ')],
      [2, true],
      bad,
    )
  }
})

test(
  'a server that has lost all workers and can start none gives up with an error',
  { skip },
  async (t) => {
    const it = await scene(t)
    rmSync(join(it.directory, 'server.key'))
    for (const pid of workersOf(it.server)) process.kill(pid, 'SIGKILL')
    assert.equal((await it.server.exited).code, 1)
    assert.match(it.log(), /^Error: no worker is left, and none can be started: tls\.key/m)
  },
)

test(
  'keys in memory are the same in all workers, and outlive each of them',
  { skip },
  async (t) => {
    const files = await serverFiles(t)
    const config = `address: 127.0.0.1:0
admin: { identity: ${files.admin.identity} }
tls: { key: server.key, cert: server.cert }
`
    const [memory, inFiles] = [
      'keystore: { memory: {} }',
      `keystore: { fs: { path: ${files.keys} } }`,
    ]
    writeFileSync(files.config, config + memory)
    const args = ['--config', 'config.yml', '--workers', String(WORKERS)]
    const server = await startServerProcess(t, args, { cwd: files.directory })
    const sessions = [...(await sessionsOnAll(t, server, files.admin, WORKERS)).values()]
    for (const [index, session] of sessions.entries()) {
      await ok(session, 'PUT', `/v1/key/create/k${index}`)
      assert.deepEqual(await statuses(sessions, 'PUT', `/v1/key/generate/k${index}`), all(200))
      assert.deepEqual(await statuses(sessions, 'PUT', `/v1/key/create/k${index}`), all(400))
    }
    for (const pid of workersOf(server)) {
      process.kill(pid, 'SIGKILL')
      await eventually('it is gone', () => !workersOf(server).includes(pid))
      await allServe(server, WORKERS)
    }
    const again = [...(await sessionsOnAll(t, server, files.admin, WORKERS)).values()]
    assert.deepEqual(await statuses(again, 'PUT', '/v1/key/generate/k0'), all(200))
    const [first = assert.fail()] = again
    assert.deepEqual(JSON.parse(await ok(first, 'GET', '/v1/key/list/')).names, ['k0', 'k1', 'k2'])
    await ok(first, 'DELETE', '/v1/key/delete/k0')
    assert.deepEqual(await statuses(again, 'PUT', '/v1/key/generate/k0'), all(404))
    // Another keystore and back again: what was in memory is gone.
    for (const [index, keystore] of [inFiles, memory].entries()) {
      writeFileSync(files.config, config + keystore)
      server.kill('SIGHUP')
      const reloads = (): number =>
        server
          .stderr()
          .toString()
          .match(/was reloaded/g)?.length ?? 0
      await eventually('the reload', () => reloads() === index + 1)
    }
    assert.deepEqual(await statuses(again, 'PUT', '/v1/key/generate/k1'), all(404))
    await ok(first, 'PUT', '/v1/key/create/k1')
    assert.deepEqual(await statuses(again, 'PUT', '/v1/key/generate/k1'), all(200))
  },
)

test(
  'a worker that stands still is ended, so that what it does not know holds nobody up',
  { skip },
  async (t) => {
    const it = await scene(t, { config: 'keys: [ { name: a } ]' })
    const sessions = await sessionsOnAll(t, it.server, it.admin, WORKERS)
    assert.deepEqual(await statuses([...sessions.values()], 'PUT', '/v1/key/generate/a'), all(200))
    const [[stuck] = assert.fail(), [, deleter] = assert.fail()] = sessions
    process.kill(stuck, 'SIGSTOP')
    await ok(deleter, 'DELETE', '/v1/key/delete/a')
    assert.ok(!workersOf(it.server).includes(stuck))
    await eventually('the log says so', () =>
      /has ended \(signal SIGKILL: it has not answered/.test(it.log()),
    )
    assert.deepEqual(await statuses(await it.everywhere(), 'PUT', '/v1/key/generate/a'), all(404))
  },
)

test(
  'the RustFS KMS Admin API is in one worker, and moves when that one dies',
  { skip },
  async (t) => {
    const [door = 0] = await freePorts(1)
    const credentials = `{ access_key: ${OPS.accessKey}, secret_key: ${OPS.secret}, policy: admin }`
    const config = `rustfs:
  address: 127.0.0.1:${door}
  credentials: [ ${credentials} ]
  start: { backend_type: keystore }`
    const it = await scene(t, { config })
    const call = async (method: string, path: string, body?: object): Promise<number> => {
      const text = body === undefined ? {} : { body: JSON.stringify(body) }
      const request = sign({ method, target: `${PREFIX}${path}`, ...text }, OPS, { door })
      return (await sendTo({ door, isPrivate: false }, request)).status
    }
    assert.equal(await call('POST', '/keys', { Tags: { name: 'rustfs-a' } }), 200)
    const sessions = await it.everywhere()
    assert.deepEqual(await statuses(sessions, 'PUT', '/v1/key/generate/rustfs-a'), all(200))
    for (const pid of workersOf(it.server)) await replace(it, pid)
    let status = 0
    for (let attempt = 0; status !== 200 && attempt < 100; attempt++) {
      status = await call('GET', '/keys/rustfs-a').catch(() => 0)
      if (status !== 200) await sleep(100)
    }
    assert.equal(status, 200)
    // A port that is taken is found at the start.
    const args = ['server', '--config', 'config.yml', '--workers', String(WORKERS)]
    const second = await kes(t, args, { cwd: it.directory })
    assert.equal(second.code, 1)
    assert.match(second.stderr, /EADDRINUSE|is taken/)
  },
)
