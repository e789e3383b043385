/** The audit log and the error log: as streams over the API, and as lines on the standard streams. */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'

import { eventually, serverFiles, startServerProcess } from '../support/process.ts'
import { ask, startServer, WORKERS } from '../support/server.ts'
import { follow, openSession } from '../support/session.ts'

interface AuditEvent {
  readonly time: string
  readonly request: { readonly ip: string; readonly path: string; readonly identity?: string }
  readonly response: { readonly code: number; readonly time: number }
}

function parse(lines: readonly string[]): AuditEvent[] {
  return lines.map((line) => JSON.parse(line))
}

for (const http of ['h1', 'h2'] as const) {
  test(`the head of a log stream over ${http} comes before any event`, async (t) => {
    const { port, admin } = await startServer(t)
    const audit = await follow(t, port, admin, '/v1/log/audit', http)
    const errors = await follow(t, port, admin, '/v1/log/error', http)
    assert.deepEqual([audit.status, errors.status], [200, 200])
    assert.deepEqual(errors.lines, [])
  })

  test(`each event comes over ${http} as it happens`, async (t) => {
    const { port, admin } = await startServer(t)
    const audit = await follow(t, port, admin, '/v1/log/audit', http)
    const seen = (path: string) => () =>
      parse(audit.lines).filter(({ request }) => request.path === path).length === 1
    for (const path of ['/v1/one', '/v1/two', '/v1/three']) {
      await ask(port, admin, 'GET', path)
      await eventually(`an event for ${path}`, seen(path))
    }
  })

  test(`a follower over ${http} is ended when the server stops`, async (t) => {
    const { port, admin, close } = await startServer(t)
    const followers = [
      await follow(t, port, admin, '/v1/log/audit', http),
      await follow(t, port, admin, '/v1/log/error', http),
    ]
    await close()
    await eventually('both end', () => followers.every(({ hasEnded }) => hasEnded()))
  })

  test(`a follower over ${http} who has no permission gets 403`, async (t) => {
    const { port, nobody } = await startServer(t)
    for (const log of ['audit', 'error'])
      assert.equal((await ask(port, nobody, 'GET', `/v1/log/${log}`, { http })).status, 403)
  })
}

test('every call is audited: granted, refused, failed or not to be found', async (t) => {
  const { port, admin, user, nobody, stdout } = await startServer(t, {
    config: 'log: { audit: on }\napi: { /v1/ready: { skip_auth: on } }',
  })
  const audit = await follow(t, port, admin, '/v1/log/audit', 'h2')
  const large = `{"plaintext":"${'A'.repeat(1_100_000)}"}`
  const expected: object[] = []
  for (const http of ['h1', 'h2'] as const) {
    const calls = [
      [user, 'PUT', `/v1/key/create/user-${http}`, 200],
      [user, 'PUT', `/v1/key/create/user-${http}`, 400],
      [user, 'PUT', '/v1/key/create/other', 403],
      [nobody, 'GET', '/v1/status', 403],
      [nobody, 'GET', '/version', 200],
      [user, 'GET', '/v1/key/describe/user-gone', 404],
      [user, 'GET', '/v1/no/such/path', 404],
      [user, 'GET', `/v1/key/create/user-${http}`, 405],
      [user, 'PUT', '/v1/key/encrypt/user-h1', 413, large],
      [user, 'PUT', '/v1/key/encrypt/user-h1', 400, '{"plaintext":'],
      [user, 'PUT', '/v1/key/import/user-b', 406, '{"bytes":"AAAA"}'],
      [user, 'GET', '/v1/key//describe/user-h1', 307],
      [user, 'GET', '/v1/key/describe/user-h1?secret=query', 200],
      [user, 'GET', '/v1/key/describe/user-%681', 200],
      [user, 'GET', '/v1/key/describe/user-%zz', 400],
      [user, 'GET', '/v1/key/describe/user-%0A%22', 400],
      [undefined, 'GET', '/v1/ready', 200],
      [undefined, 'GET', '/version', 400],
    ] as const
    for (const [who, method, path, status, body] of calls) {
      const options = body === undefined ? { http } : { http, body }
      const answer = await ask(port, who, method, path, options)
      assert.equal(answer.status, status, `${method} ${path} over ${http}`)
      const [target = ''] = path.split('?')
      const decoded = target.includes('%zz') ? target : decodeURIComponent(target)
      expected.push({ path: decoded, identity: who?.identity, code: status })
    }
  }
  const events = parse(await audit.until(expected.length))
  for (const { time, request, response } of events) {
    assert.equal(request.ip, '127.0.0.1')
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/)
    assert.ok(Math.abs(Date.now() - Date.parse(time)) < 60_000)
    assert.ok(Number.isInteger(response.time) && response.time > 0, String(response.time))
  }
  const summary = (all: readonly AuditEvent[]): object[] =>
    all.map(({ request, response }) => ({
      path: request.path,
      identity: request.identity,
      code: response.code,
    }))
  const opening = { path: '/v1/log/audit', identity: admin.identity, code: 200 }
  assert.deepEqual(ordered(summary(events)), ordered(expected))
  // The lines on standard output say the same, one for each call.
  const lines = await eventually('all lines', () => {
    const written = stdout().trimEnd().split('\n')
    return written.length === expected.length + 1 && written
  })
  assert.deepEqual(ordered(summary(parse(lines))), ordered([opening, ...expected]))
})

/** Of several processes events come in the order of each, but not of all. */
function ordered(events: readonly object[]): string[] {
  const texts = events.map((event) => JSON.stringify(event))
  return WORKERS > 1 ? texts.toSorted() : texts
}

test('the duration of a call is in nanoseconds, from the head of the request to the answer', async (t) => {
  const { port, admin } = await startServer(t, { config: 'keys: [ { name: a } ]' })
  const audit = await follow(t, port, admin, '/v1/log/audit', 'h1')
  const path = '/v1/key/encrypt/a'
  const body = '{"plaintext":""}'
  const { key, cert } = admin
  const headers = { 'content-length': body.length, expect: '100-continue' }
  const begin = performance.now()
  const request = httpsRequest({
    port,
    host: '127.0.0.1',
    method: 'PUT',
    path,
    headers,
    key,
    cert,
    rejectUnauthorized: false,
  })
  t.after(() => request.destroy())
  request.flushHeaders()
  await new Promise((resolve) => request.once('continue', resolve))
  await sleep(300)
  request.end(body)
  await new Promise((resolve) => request.once('response', resolve))
  const took = performance.now() - begin
  const event = await eventually('the event', () =>
    parse(audit.lines).find((one) => one.request.path === path),
  )
  assert.ok(event.response.time >= 290e6 && event.response.time <= took * 1e6)
})

test('any number of followers see every event', async (t) => {
  const { port, admin, user } = await startServer(t)
  const audits = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      follow(t, port, admin, '/v1/log/audit', index % 2 === 0 ? 'h1' : 'h2'),
    ),
  )
  const errors = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      follow(t, port, admin, '/v1/log/error', index % 2 === 0 ? 'h1' : 'h2'),
    ),
  )
  const paths = Array.from({ length: 20 }, (_, index) => `/v1/missing-${index}`)
  for (const path of paths) await ask(port, user, 'GET', path)
  for (const { lines } of audits) {
    await eventually('all audit events', () => {
      const seen = parse(lines).map(({ request }) => request.path)
      return paths.every((path) => seen.filter((one) => one === path).length === 1)
    })
  }
  for (const follower of errors) assert.equal((await follower.until(20)).length, 20)
})

test('an error event is one line with the field message only, and has nothing of the body', async (t) => {
  const { port, admin, user } = await startServer(t)
  const errors = await follow(t, port, admin, '/v1/log/error', 'h2')
  const word = 'c2VjcmV0LXdvcmQtMTIz'
  const bodies: readonly (readonly [operation: string, body: string])[] = [
    ['encrypt', `{"plaintext":"${word}`],
    ['encrypt', `{"plaintext":"${word}*"}`],
    ['encrypt', `{"plaintext":{"a":"${word}"}}`],
    ['encrypt', word],
    ['decrypt', `{"ciphertext":"${word}"}`],
    ['hmac', `["${word}"]`],
    ['generate', `{"context":"${word}-"}`],
    ['import', `{"bytes":"${word}"}`],
    ['import', `{"bytes":"${word}*"}`],
    ['import', `{"bytes":"${word}","cipher":"${word}"}`],
  ]
  for (const [operation, body] of bodies) {
    const path = `/v1/key/${operation}/user-a`
    const { status } = await ask(port, user, 'PUT', path, { body })
    assert.ok(status >= 400 && status < 500, `${operation} ${body}: ${status}`)
  }
  await ask(port, user, 'GET', '/v1/key/describe/user-%0A%E2%80%A8%22%1B[31m')
  await ask(port, user, 'PUT', '/v1/key/create/other')
  const lines = await errors.until(bodies.length + 2)
  assert.equal(lines.length, bodies.length + 2)
  for (const line of lines) {
    const event = JSON.parse(line)
    assert.deepEqual(Object.keys(event), ['message'])
    assert.doesNotMatch(event.message, /[\p{Cc}\p{Zl}\p{Zp}]/u)
    assert.ok(!event.message.includes(word), event.message)
  }
  assert.match(JSON.parse(lines.at(-1) ?? '').message, /insufficient permissions/)
  assert.match(JSON.parse(lines.at(-1) ?? '').message, new RegExp(user.identity))
})

test('a failed key store is an error event and a line that say what the client is not told', async (t) => {
  const files = await serverFiles(t)
  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const errors = await follow(t, process.port, files.admin, '/v1/log/error', 'h1')
  writeFileSync(`${files.keys}/damaged`, '')
  const { status, body } = await ask(
    process.port,
    files.admin,
    'PUT',
    '/v1/key/generate/damaged',
    {},
  )
  assert.equal(status, 502)
  assert.equal(JSON.parse(body).message, 'failed to read key')
  const [line = ''] = await errors.until(1)
  assert.match(JSON.parse(line).message, /level=ERROR .*'damaged' is damaged/)
  await eventually('the line', () =>
    /level=ERROR .*'damaged' is damaged/.test(process.stderr().toString()),
  )
})

test('the error log is text with one line for each failure, or JSON with log.format', async (t) => {
  const fail = async (port: number, who: Parameters<typeof ask>[1]): Promise<void> => {
    await ask(port, who, 'GET', '/v1/key/describe/gone')
    await ask(port, who, 'GET', '/v1/key/describe/a%0Alevel=ERROR%20msg=forged')
  }
  const text = await startServer(t)
  await fail(text.port, text.admin)
  const lines = await eventually('two lines', () => {
    const written = text.stderr().trimEnd().split('\n')
    return written.length === 2 && written
  })
  for (const line of lines) {
    assert.match(
      line,
      /^time=\S+ level=WARN msg=.* req\.method=GET req\.path=.* req\.ip=127\.0\.0\.1/,
    )
    assert.match(line, / status=40[04]\b/)
  }

  const json = await startServer(t, { config: 'log: { format: json }' })
  await fail(json.port, json.admin)
  const objects = await eventually('two lines', () => {
    const written = json.stderr().trimEnd().split('\n')
    return written.length === 2 && written.map((line) => JSON.parse(line))
  })
  assert.deepEqual(
    objects.map(({ level, msg, status, ...rest }) => [level, msg, status, rest['req.path']]),
    [
      ['WARN', 'key does not exist', 404, '/v1/key/describe/gone'],
      ['WARN', objects[1]?.msg, 400, '/v1/key/describe/a\nlevel=ERROR msg=forged'],
    ],
  )
  for (const { 'req.identity': identity } of objects) assert.equal(identity, json.admin.identity)
})

test('log.error decides what is written, not what followers see', async (t) => {
  for (const [level, count] of [
    ['off', 0],
    ['error', 0],
    ['warn', 1],
  ] as const) {
    const { port, admin, stderr } = await startServer(t, { config: `log: { error: ${level} }` })
    const errors = await follow(t, port, admin, '/v1/log/error', 'h2')
    await ask(port, admin, 'GET', '/v1/key/describe/gone')
    await errors.until(1)
    await eventually('the line', () => stderr().split('\n').length - 1 === count)
  }
})

const BURST = 1600
const LONG_PATH = `/v1/key/describe/${'x'.repeat(12_000)}`

test('followers that never read are cut off, cost no memory, and hold nobody up', async (t) => {
  const files = await serverFiles(t, { config: 'log: { error: off }' })
  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const { port } = process
  const reader = await follow(t, port, files.admin, '/v1/log/audit', 'h1')
  const slow = await Promise.all(Array.from({ length: 12 }, () => sleeper(port, files.admin)))
  for (const { socket } of slow) t.after(() => socket.destroy())
  const slowHttp2 = await openSession(t, port, files.admin)
  const stream = slowHttp2.http2.request({ ':path': '/v1/log/audit' })
  stream.on('error', () => {})
  await new Promise((resolve) => stream.once('response', resolve))
  stream.pause()

  const rss = (): number =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'))?.[1])
  const session = await openSession(t, port, files.admin)
  for (let i = 0; i < 100; i++) await session.ask('GET', LONG_PATH)
  const before = rss()
  let next = 0
  let peak = 0
  const worker = async (): Promise<void> => {
    while (next++ < BURST) {
      assert.equal((await session.ask('GET', LONG_PATH)).status, 400)
      if (next % 100 === 0) peak = Math.max(peak, rss())
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  await eventually('the reader sees all', () => {
    return (
      parse(reader.lines).filter(({ request }) => request.path === LONG_PATH).length === BURST + 100
    )
  })
  assert.equal(reader.hasEnded(), false)
  // Unbounded, 13 followers would keep 20 MB each; bounded, 1 MiB each beside what a burst costs anyway.
  assert.ok(peak - before < 150_000, `${peak - before} kB more than ${before} kB`)

  await eventually('the stream of HTTP/2 is reset', () => stream.closed)
  for (const { socket } of slow) socket.resume()
  await eventually('the connections of HTTP/1.1 are closed', () =>
    slow.every((one) => one.hasEnded()),
  )
  for (const one of slow) assert.ok(one.received() < BURST * LONG_PATH.length)
  assert.equal((await session.ask('GET', '/version')).status, 200)
})

/** Follows the audit log over HTTP/1.1 and stops reading after the head of the answer. */
async function sleeper(
  port: number,
  { key, cert }: { readonly key: string; readonly cert: string },
): Promise<{ socket: ReturnType<typeof connect>; hasEnded(): boolean; received(): number }> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, key, cert })
  let ended = false
  let bytes = 0
  socket.on('error', () => {})
  socket.on('close', () => (ended = true))
  socket.on('secureConnect', () => socket.write('GET /v1/log/audit HTTP/1.1\r\nHost: a\r\n\r\n'))
  await new Promise<void>((resolve) =>
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      resolve()
    }),
  )
  socket.pause()
  return { socket, hasEnded: () => ended, received: () => bytes }
}
