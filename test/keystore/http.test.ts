import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { createServer } from 'node:https'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { HttpClient, type HttpOptions, type HttpRequest } from '#src/keystore/http.js'
import { SIGNAL } from '../support/bytes.ts'
import { type Certificate, certificate } from '../support/certificates.ts'
import { failure } from '../support/failure.ts'
import { tempDir } from '../support/server.ts'

interface Service {
  readonly url: string
  readonly ca: string
  readonly server: Server
  readonly sockets: Set<Socket>
  /** Connections so far. */
  connections: number
}

/** A service on a free loopback port with a certificate of its own. */
async function service(
  t: TestContext,
  listener: RequestListener,
  { host = 'localhost', clients }: { host?: string; clients?: Certificate } = {},
): Promise<Service> {
  const made = await certificate({ subject: host, dns: [host] })
  const ca = join(tempDir(t), 'ca.pem')
  writeFileSync(ca, made.cert)
  const server = createServer(
    {
      key: made.key,
      cert: made.cert,
      ...(clients && { ca: clients.cert, requestCert: true, rejectUnauthorized: true }),
    },
    listener,
  )
  const sockets = new Set<Socket>()
  const found: Service = { url: '', ca, server, sockets, connections: 0 }
  server.on('connection', (socket: Socket) => {
    found.connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const port = await listening(t, server)
  return Object.assign(found, { url: `https://localhost:${port}` })
}

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, 'localhost')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

function client(
  t: TestContext,
  { url, ca }: { url: string; ca: string },
  options: Partial<HttpOptions> = {},
): HttpClient {
  const made = new HttpClient({ endpoints: [url], tls: { ca }, ...options })
  t.after(() => made.close())
  return made
}

const GET: HttpRequest = { method: 'GET', path: '/thing', signal: SIGNAL }
const POST: HttpRequest = { method: 'POST', path: '/thing', body: { a: 1 }, signal: SIGNAL }

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

test('JSON goes out and comes in, with the headers asked for', async (t) => {
  const seen: unknown[] = []
  const there = await service(t, async (request, response) => {
    const { method, url, headers } = request
    const { 'content-type': type, 'x-token': token } = headers
    seen.push([method, url, type, token, await bodyOf(request)])
    response.writeHead(201, { 'content-type': 'application/json' }).end('{"b":2}')
  })
  const http = client(t, { ...there, url: `${there.url}/base` })
  const answer = await http.request({ ...POST, headers: { 'x-token': 'T' } })
  assert.deepEqual([answer.status, answer.json(), answer.wasRepeated], [201, { b: 2 }, false])
  await http.request({ ...POST, headers: { 'content-type': undefined } })
  await http.request(GET)
  assert.deepEqual(seen, [
    ['POST', '/base/thing', 'application/json', 'T', '{"a":1}'],
    ['POST', '/base/thing', undefined, undefined, '{"a":1}'],
    ['GET', '/base/thing', undefined, undefined, ''],
  ])
})

test('requests in a row share a connection', async (t) => {
  const there = await service(t, (_, response) => response.end())
  const http = client(t, there)
  for (let count = 0; count < 5; count++) await http.request(GET)
  assert.equal(there.connections, 1)
})

test('a request is tried three times while the service has trouble', async (t) => {
  const statuses = [503, 500, 200]
  const there = await service(t, (_, response) => response.writeHead(statuses.shift() ?? 500).end())
  const answer = await client(t, there).request(GET)
  assert.deepEqual([answer.status, answer.wasRepeated, statuses.length], [200, true, 0])
})

test('a request that may have been sent before is known as such', async (t) => {
  const there = await service(t, (_, response) => response.end())
  const answer = await client(t, there).request({ ...GET, wasRepeated: true })
  assert.equal(answer.wasRepeated, true)
})

test('after three tries the trouble is the answer', async (t) => {
  let count = 0
  const there = await service(t, (_, response) => {
    count++
    response.writeHead(502).end('bad gateway')
  })
  const answer = await client(t, there).request(GET)
  assert.deepEqual([answer.status, count], [502, 3])
  failure(
    'unreachable',
    /reading: answered with status 502: bad gateway$/,
  )(answer.error('reading', answer.body.toString()))
})

test('a POST is sent once, unless it may be repeated', async (t) => {
  let count = 0
  const there = await service(t, (_, response) => {
    count++
    response.writeHead(500).end()
  })
  const http = client(t, there)
  await http.request(POST)
  assert.equal(count, 1)
  await http.request({ ...POST, isRepeatable: true })
  assert.equal(count, 4)
})

test('a POST whose connection breaks is not sent again', async (t) => {
  let count = 0
  const there = await service(t, (request) => {
    count++
    request.socket.destroy()
  })
  await assert.rejects(client(t, there).request(POST), failure('unreachable', /socket hang up/))
  assert.equal(count, 1)
})

test('statuses that the caller calls lasting are not tried again', async (t) => {
  let count = 0
  const there = await service(t, (_, response) => {
    count++
    response.writeHead(503).end('sealed')
  })
  const isTransient = (): boolean => false
  assert.equal((await client(t, there, { isTransient }).request(GET)).status, 503)
  assert.equal(count, 1)
})

test('half an answer is asked for again, and never taken for a whole one', async (t) => {
  let count = 0
  const there = await service(t, (_, response) => {
    count++
    if (count > 1) return response.end('{"a":1}')
    response.writeHead(200, { 'content-length': 100 }).write('{"a":')
    return setTimeout(() => response.destroy(), 20)
  })
  const answer = await client(t, there).request(GET)
  assert.deepEqual([answer.json(), answer.wasRepeated, count], [{ a: 1 }, true, 2])
})

test('a connection that the service closed while idle is replaced at once', async (t) => {
  const there = await service(t, (_, response) => response.end())
  const http = client(t, there)
  await http.request(GET)
  for (const socket of there.sockets) socket.resetAndDestroy()
  assert.equal((await http.request(GET)).status, 200)
  assert.equal(there.connections, 2)
})

test('a service that hangs costs the deadline and no more; the next request has a new connection', async (t) => {
  let isHanging = true
  const there = await service(t, (_, response) => {
    if (!isHanging) response.end()
  })
  const http = client(t, there)
  const late = AbortSignal.timeout(100)
  await assert.rejects(http.request({ ...GET, signal: late }), { name: 'TimeoutError' })
  isHanging = false
  assert.equal((await http.request(GET)).status, 200)
  assert.equal(there.connections, 2)
})

test('a deadline also ends the wait between two tries', async (t) => {
  const there = await service(t, (_, response) => response.writeHead(500).end())
  const http = client(t, there)
  for (let count = 0; count < 5; count++) {
    const signal = AbortSignal.timeout(20 + 40 * count)
    await assert.rejects(http.request({ ...GET, signal }), { name: 'TimeoutError' })
  }
  const given = AbortSignal.abort(new Error('given up before'))
  await assert.rejects(http.request({ ...GET, signal: given }), { message: 'given up before' })
})

test('nobody there is unreachable, at once and with the address', async (t) => {
  const there = await service(t, () => {})
  there.server.close()
  await once(there.server, 'close')
  await assert.rejects(client(t, there).request(GET), failure('unreachable', /ECONNREFUSED/))
})

test('of several endpoints the first that can be connected to is used, and kept', async (t) => {
  const there = await service(t, (_, response) => response.end())
  const gone = createTcpServer()
  const port = await listening(t, gone)
  gone.close()
  const endpoints = [`https://localhost:${port}`, there.url] as const
  const http = client(t, there, { endpoints })
  for (let count = 0; count < 3; count++) assert.equal((await http.request(POST)).status, 200)
  there.server.close()
  for (const socket of there.sockets) socket.destroy()
  await assert.rejects(http.request(GET), failure('unreachable', /ECONNREFUSED/))
})

test('an endpoint that is silent, or has trouble, is left for the next one', async (t) => {
  const good = await service(t, (_, response) => response.end())
  for (const listener of [
    () => {},
    (_: unknown, response: ServerResponse) => void response.writeHead(503).end(),
  ]) {
    const bad = createHttpServer(listener)
    const endpoints = [`http://localhost:${await listening(t, bad)}`, good.url] as const
    const http = client(t, good, { endpoints, answerLimit: 200 })
    assert.equal((await http.request(GET)).status, 200)
    bad.closeAllConnections()
    bad.close()
    assert.equal((await http.request(POST)).status, 200)
  }
})

test('an endpoint that cost a deadline is left for the next one', async (t) => {
  const good = await service(t, (_, response) => response.end())
  const silent = createHttpServer(() => {})
  const url = `http://localhost:${await listening(t, silent)}`
  t.after(() => silent.closeAllConnections())
  const http = client(t, good, { endpoints: [url, good.url] })
  const late = AbortSignal.timeout(100)
  await assert.rejects(http.request({ ...GET, signal: late }), { name: 'TimeoutError' })
  assert.equal((await http.request(GET)).status, 200)
})

test('a certificate of somebody else is a failure that names tls.ca', async (t) => {
  const there = await service(t, (_, response) => response.end())
  const other = await service(t, () => {})
  await assert.rejects(
    client(t, { url: there.url, ca: other.ca }).request(GET),
    failure('failed', /certificate is not trusted: .*; see tls\.ca$/),
  )
  await assert.rejects(
    client(t, { url: there.url, ca: '' }).request(GET),
    failure('failed', /certificate is not trusted/),
  )
})

test('a certificate for another host is a failure', async (t) => {
  const there = await service(t, (_, response) => response.end(), { host: 'elsewhere' })
  await assert.rejects(
    client(t, there).request(GET),
    failure('failed', /certificate is not trusted: Hostname\/IP does not match/),
  )
})

test('a client certificate is shown; without it the service denies', async (t) => {
  const me = await certificate({ subject: 'me' })
  const there = await service(t, (_, response) => response.end(), { clients: me })
  const directory = tempDir(t)
  const [cert, key] = [join(directory, 'cert'), join(directory, 'key')]
  writeFileSync(cert, me.cert)
  writeFileSync(key, me.key)
  const answer = await client(t, there, { tls: { ca: there.ca, cert, key } }).request(GET)
  assert.equal(answer.status, 200)
  await assert.rejects(client(t, there).request(GET), failure('denied', /tls\.cert/))
})

test('CAs may be a directory of files', async (t) => {
  const there = await service(t, (_, response) => response.end())
  writeFileSync(join(there.ca, '..', 'other.pem'), (await certificate({ subject: 'o' })).cert)
  const ca = join(there.ca, '..')
  assert.equal((await client(t, { url: there.url, ca }).request(GET)).status, 200)
})

test('TLS files that cannot be used are named', async (t) => {
  const directory = tempDir(t)
  const [me, other] = [await certificate({ subject: 'a' }), await certificate({ subject: 'b' })]
  const files = { cert: me.cert, key: me.key, other: other.key, none: 'nothing', bad: 'bad' }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
  const damaged = `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`
  writeFileSync(join(directory, 'damaged'), damaged)
  const open = (tls: { ca?: string; cert?: string; key?: string }) => () => {
    const path = (name: string | undefined): string => (name ? join(directory, name) : '')
    return new HttpClient({
      endpoints: ['https://localhost'],
      tls: { ca: path(tls.ca), cert: path(tls.cert), key: path(tls.key) },
    })
  }
  assert.throws(open({ ca: 'absent' }), failure('failed', /^tls\.ca: cannot read '.*absent'/))
  assert.throws(open({ ca: 'none' }), failure('failed', /^tls\.ca: '.*none' has no CA/))
  assert.throws(open({ ca: 'damaged' }), failure('failed', /^tls\.ca: .* a damaged certificate/))
  assert.throws(
    open({ cert: 'cert', key: 'other' }),
    failure('failed', /^tls\.key: .* does not belong to the certificate/),
  )
  assert.throws(open({ cert: 'none', key: 'key' }), failure('failed', /^tls\.cert: .* damaged/))
  assert.throws(open({ cert: 'cert', key: 'bad' }), failure('failed', /^tls\.key: .* is not a PEM/))
})

test('a service without TLS is no service with TLS, and the other way round', async (t) => {
  const plain = createHttpServer((_, response) => response.end())
  const port = await listening(t, plain)
  const there = await service(t, () => {})
  await assert.rejects(
    client(t, { url: `https://localhost:${port}`, ca: there.ca }).request(GET),
    failure('failed', /does it speak TLS\?$/),
  )
  const { port: secure } = there.server.address() as AddressInfo
  const wrong = client(t, { url: `http://localhost:${secure}`, ca: '' }).request(GET)
  await assert.rejects(wrong, { name: 'KeyStoreError' })
  const right = client(t, { url: `http://localhost:${port}`, ca: '' }).request(GET)
  assert.equal((await right).status, 200)
})

test('something that is no HTTP is a failure', async (t) => {
  const babble = createTcpServer((socket) => socket.end('220 mail.example.com ESMTP\r\n'))
  const url = `http://localhost:${await listening(t, babble)}`
  await assert.rejects(
    client(t, { url, ca: '' }).request(GET),
    failure('failed', /does it speak HTTP\?$/),
  )
})

test('an answer that is too large is refused', async (t) => {
  const there = await service(t, (_, response) => response.end('x'.repeat(5000)))
  const http = client(t, there)
  assert.equal((await http.request({ ...GET, maxAnswer: 5000 })).body.length, 5000)
  await assert.rejects(
    http.request({ ...GET, maxAnswer: 4999 }),
    failure('failed', /more than 4999 bytes/),
  )
})

test('an answer that is no JSON is not quoted', async (t) => {
  const there = await service(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('secret')
  })
  const answer = await client(t, there).request(GET)
  assert.throws(() => answer.json(), failure('failed', /JSON, but text\/plain; is the endpoint/))
})

test('a web page is never a success', async (t) => {
  const there = await service(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<h1>secret</h1>')
  })
  const outcome = client(t, there).request(GET)
  await assert.rejects(outcome, failure('failed', /: a web page; is the endpoint right\?.* 200$/))
})

test('redirects are followed as often as allowed, with method, headers and body', async (t) => {
  const seen: unknown[] = []
  const active = await service(t, async (request, response) => {
    seen.push([request.method, request.url, request.headers['x-token'], await bodyOf(request)])
    response.end()
  })
  const { port } = active.server.address() as AddressInfo
  const standby = await service(t, ({ url }, response) =>
    response.writeHead(307, { location: `http://localhost:${port}${url}` }).end(),
  )
  const loop = await service(t, (_, response) =>
    response.writeHead(302, { location: '/again' }).end(),
  )
  const plain = createHttpServer(({ url }, response) =>
    response.writeHead(301, { location: `${active.url}${url}` }).end(),
  )
  const url = `http://localhost:${await listening(t, plain)}`
  const http = client(t, { url, ca: active.ca }, { redirects: 1 })
  const answer = await http.request({ ...POST, headers: { 'x-token': 'T' } })
  assert.equal(answer.status, 200)
  assert.deepEqual(seen, [['POST', '/thing', 'T', '{"a":1}']])
  await assert.rejects(client(t, loop, { redirects: 1 }).request(GET), /unexpected redirect/)
  await assert.rejects(client(t, loop).request(GET), failure('failed', /unexpected redirect/))
  await assert.rejects(
    client(t, standby, { redirects: 1 }).request(GET),
    failure('failed', /away from https, not followed/),
  )
  assert.equal(seen.length, 1)
})

test('what a service says about an error is quoted without what we sent it', async (t) => {
  const there = await service(t, async (request, response) => {
    const said = `no: ${request.headers.authorization} ${await bodyOf(request)}\n${'x'.repeat(999)}`
    response.writeHead(403).end(said)
  })
  const answer = await client(t, there).request({
    ...POST,
    body: { list: [{ value: 'top secret value' }] },
    headers: { authorization: 'Bearer some-token' },
  })
  const error = answer.error('creating', answer.body.toString())
  failure('denied', /status 403: no: Bearer … \{"list":\[\{"value":"…"\}\]\} x+…$/)(error)
  assert.ok(error.message.length < 400)
})

test('after the end nothing is open, and nothing begins', async (t) => {
  let isHanging = false
  const there = await service(t, (_, response) => {
    if (!isHanging) response.end()
  })
  const http = client(t, there)
  await Promise.all(Array.from({ length: 5 }, () => http.request(GET)))
  isHanging = true
  const running = http.request(GET)
  const outcome = assert.rejects(running, failure('unreachable', /closed/))
  await sleep(50)
  http.close()
  await outcome
  await assert.rejects(http.request(GET), failure('unreachable', /closed/))
  while (there.sockets.size > 0) await sleep(5)
})

test('a wait between two tries ends with the client', async (t) => {
  const there = await service(t, (_, response) => response.writeHead(500).end())
  const http = client(t, there)
  const outcome = assert.rejects(http.request(GET), failure('unreachable', /closed/))
  while (there.connections === 0) await sleep(1)
  http.close()
  await outcome
})
