/** One endpoint that does not behave: what the client makes of it. */

import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'

import {
  AnswerError,
  ApiKey,
  ConnectionError,
  type ConnectionFailure,
  type KesClient,
  type KesClientOptions,
} from '#src/client/index.js'
import { bytes } from '../support/bytes.ts'
import { certificate } from '../support/certificates.ts'
import { adminClient, thrownBy } from '../support/client.ts'
import {
  answer,
  deadPort,
  frame,
  http1Peer,
  http2Peer,
  type Peer,
  relay,
  tcpPeer,
  tlsPeer,
  words,
} from '../support/peers.ts'
import { eventually } from '../support/process.ts'
import { people, startServer, tempDir } from '../support/server.ts'

/** Does not repeat anything, so that a test sees the first failure. */
function clientOf(
  t: TestContext,
  { url }: Pick<Peer, 'url'>,
  options: Partial<KesClientOptions> = {},
): Promise<KesClient> {
  return adminClient(t, url, { retries: 0, ...options })
}

async function failureOf(work: Promise<unknown>): Promise<ConnectionError> {
  const error = await thrownBy(work)
  assert.ok(error instanceof ConnectionError, String(error))
  return error
}

async function expectFailure(
  work: Promise<unknown>,
  reason: ConnectionFailure,
  message: RegExp,
): Promise<void> {
  const error = await failureOf(work)
  assert.equal(error.reason, reason, error.message)
  assert.match(error.message, message)
  assert.equal(error.code, 'CONNECTION')
  assert.ok(error.message.startsWith(error.endpoint))
}

const VERSION = '{"version":"1","commit":""}\n'

test('nobody there: refused, and what to look at', async (t) => {
  const client = await clientOf(t, { url: `https://127.0.0.1:${await deadPort(t)}` })
  const error = await failureOf(client.createKey('a'))
  assert.equal(error.reason, 'refused')
  assert.match(error.message, /is the server running/)
  assert.equal(error.isUnprocessed, true)
})

test('a host that is not known', async (t) => {
  const client = await clientOf(t, { url: 'https://kes.invalid:7373' })
  await expectFailure(client.version(), 'dns', /'kes\.invalid' is not known/)
})

for (const [name, http] of [
  ['HTTP/2', 'h2'],
  ['HTTP/1.1', 'h1'],
] as const) {
  test(`a server whose certificate nobody trusts, over ${name}`, async (t) => {
    const server = await startServer(t)
    const url = `https://127.0.0.1:${server.port}`
    for (const ca of [undefined, (await certificate({ subject: 'other', ca: true })).cert]) {
      const client = await clientOf(t, { url }, { ca, http })
      await expectFailure(client.version(), 'untrusted', /pass the CA.*insecure/)
    }
    const insecure = await clientOf(t, { url }, { ca: undefined, http, insecure: true })
    assert.ok(await insecure.version())
  })

  test(`a server whose certificate is for another host, over ${name}`, async (t) => {
    const other = await certificate({ subject: 'other', dns: ['other.example'] })
    const peer = await tlsPeer(t, () => {}, { cert: other.cert, key: other.key })
    const client = await clientOf(t, peer, { ca: other.cert, http })
    await expectFailure(client.version(), 'hostname', /not for this host/)
  })

  test(`a server whose certificate has expired, over ${name}`, async (t) => {
    const old = await certificate({
      subject: 'old',
      dns: ['localhost'],
      notBefore: -9000,
      notAfter: -1,
    })
    const peer = await tlsPeer(t, () => {}, { cert: old.cert, key: old.key })
    const client = await clientOf(t, peer, { ca: old.cert, http })
    await expectFailure(client.version(), 'expired', /certificate/)
  })

  test(`a client without a certificate, over ${name}`, async (t) => {
    const { port } = await startServer(t)
    const url = `https://localhost:${port}`
    const client = await clientOf(t, { url }, { cert: undefined, key: undefined, http })
    await expectFailure(client.createKey('a'), 'unauthenticated', /API key or client certificate/)
  })

  test(`a client whose certificate the server's CA has not signed, over ${name}`, async (t) => {
    const ca = await certificate({ subject: 'ca', ca: true })
    const { port } = await startServer(t, { tls: 'auth: on', ca: ca.cert })
    const url = `https://localhost:${port}`
    const client = await clientOf(t, { url }, { http })
    await expectFailure(client.version(), 'unauthenticated', /API key or client certificate/)
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`a client whom TLS itself refuses, over ${name} and ${version}`, async (t) => {
      const peer = await tlsPeer(t, () => {}, {
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: version,
        maxVersion: version,
      })
      const nobody = await clientOf(t, peer, { http, cert: undefined, key: undefined })
      const error = await failureOf(nobody.createKey('a'))
      assert.equal(error.reason, 'unauthenticated', error.message)
      assert.equal(error.isUnprocessed, true)
      const stranger = await failureOf((await clientOf(t, peer, { http })).createKey('a'))
      // TLS 1.2 ends within the handshake, where other things go wrong, too.
      assert.equal(stranger.reason, version === 'TLSv1.2' ? 'closed' : 'unauthenticated')
      assert.match(stranger.message, /client certificate/)
    })
  }

  test(`a server that accepts and says nothing, over ${name}`, async (t) => {
    const silent = await tcpPeer(t, () => {})
    const url = `https://localhost:${silent.port}`
    const client = await clientOf(t, { url }, { connectTimeout: 100, http })
    const error = await failureOf(client.createKey('a'))
    assert.equal(error.reason, 'timeout')
    assert.match(error.message, /no connection within 100 ms/)
    assert.equal(error.isUnprocessed, true)
    await eventually('the connection is closed', () => silent.open() === 0)
  })

  test(`a server that speaks no TLS, over ${name}`, async (t) => {
    const plain = await tcpPeer(t, (socket) => {
      socket.end('HTTP/1.0 400 Bad Request\r\n\r\n')
    })
    const client = await clientOf(t, { url: `https://localhost:${plain.port}` }, { http })
    await expectFailure(client.version(), 'tls', /TLS failed/)
  })

  test(`a server that closes right after the handshake, over ${name}`, async (t) => {
    const peer = await tlsPeer(t, (socket) => socket.end())
    const client = await clientOf(t, peer, { http })
    await expectFailure(client.version(), 'unauthenticated', /closed the connection instead/)
  })
}

test('a server that is silent after TLS', async (t) => {
  const peer = await tlsPeer(t, () => {})
  const client = await clientOf(t, peer, { connectTimeout: 200 })
  await expectFailure(client.version(), 'timeout', /no connection within 200 ms/)
  const http1 = await clientOf(t, peer, { http: 'h1', timeout: 200 })
  await expectFailure(http1.version(), 'timeout', /no answer within 200 ms/)
})

test('a server that stops answering in the midst is noticed by its silence', async (t) => {
  const peer = await tlsPeer(t, (socket) => {
    // SETTINGS and nothing else, not even to a ping.
    socket.write(frame(4, 0, 0))
  })
  const client = await clientOf(t, peer, { pingInterval: 100 })
  const error = await failureOf(client.createKey('a'))
  assert.equal(error.reason, 'timeout')
  assert.match(error.message, /no sign of life within 100 ms/)
  assert.equal(error.isUnprocessed, false)
})

test('a slow answer is waited for as long as the server answers pings', async (t) => {
  const peer = await http2Peer(t, (stream) => {
    setTimeout(() => answer(stream, VERSION), 1500)
  })
  const client = await clientOf(t, peer, { pingInterval: 400 })
  assert.equal((await client.version()).version, '1')
  await expectFailure(client.version({ timeout: 300 }), 'timeout', /no answer within 300 ms/)
})

test('a CA that the operating system knows is trusted, unless others are given', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const signed = await certificate({ subject: 'kes', dns: ['localhost'], issuer: ca })
  const tls = { cert: signed.cert, key: signed.key }
  const peer = await http2Peer(t, (stream) => answer(stream, VERSION), { tls })
  const system = process.env['SSL_CERT_FILE']
  t.after(() => {
    if (system === undefined) delete process.env['SSL_CERT_FILE']
    else process.env['SSL_CERT_FILE'] = system
  })
  const file = join(tempDir(t), 'ca.pem')
  for (const [content, trusted] of [
    [ca.cert, true],
    [(await certificate({ subject: 'other', ca: true })).cert, false],
    ['no certificate', false],
    ['-----BEGIN CERTIFICATE-----\ncut', false],
    [undefined, false],
  ] as const) {
    process.env['SSL_CERT_FILE'] = file
    rmSync(file, { force: true })
    if (content !== undefined) writeFileSync(file, content)
    const before = peer.connections()
    // The peer may know of the cut below before the client does, who then has to ask again.
    const client = await clientOf(t, peer, { ca: undefined, retries: 1 })
    const outcome = await client.version().then(
      () => true,
      (error: ConnectionError) => error.reason !== 'untrusted',
    )
    assert.equal(outcome, trusted, String(content))
    if (!trusted) continue
    assert.equal(peer.connections() - before, 2)
    peer.cut()
    await eventually('it is cut', () => peer.open() === 0)
    await client.version()
    // Whom to trust is known now.
    assert.equal(peer.connections() - before, 3)
  }
  writeFileSync(file, ca.cert)
  const other = (await people()).server.cert
  assert.equal(
    (await failureOf((await clientOf(t, peer, { ca: other })).version())).reason,
    'untrusted',
  )
})

test('HTTP/2 where the server has it, HTTP/1.1 where not, or as told', async (t) => {
  const both = await http2Peer(
    t,
    (stream) => {
      answer(stream, '{"version":"h2"}')
    },
    { tls: { ALPNProtocols: ['http/1.1', 'h2'] } },
  )
  const old = await http1Peer(t, (response) => response.end('{"version":"h1"}'))
  const none = await http1Peer(t, (response) => response.end('{"version":"none"}'), {
    tls: { ALPNProtocols: [] },
  })
  assert.equal((await (await clientOf(t, both)).version()).version, 'h2')
  assert.equal((await (await clientOf(t, old)).version()).version, 'h1')
  assert.equal((await (await clientOf(t, none)).version()).version, 'none')
  assert.equal((await (await clientOf(t, old, { http: 'h1' })).version()).version, 'h1')
  const error = await failureOf((await clientOf(t, none, { http: 'h2' })).version())
  assert.match(error.message, /HTTP\/2/)
  assert.equal((await failureOf((await clientOf(t, old, { http: 'h2' })).version())).reason, 'tls')
})

test('all calls share one HTTP/2 connection, and wait where the server takes no more', async (t) => {
  let [running, most] = [0, 0]
  const peer = await http2Peer(
    t,
    (stream) => {
      most = Math.max(most, ++running)
      setTimeout(() => {
        running--
        answer(stream, VERSION)
      }, 2)
    },
    { settings: { maxConcurrentStreams: 7 } },
  )
  const client = await clientOf(t, peer)
  const warnings: Error[] = []
  const warn = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warn)
  t.after(() => process.off('warning', warn))
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 300 }, () => client.version({ signal })))
  assert.deepEqual(warnings, [])
  assert.equal(peer.connections(), 1)
  assert.equal(most, 7)
})

test('a call that waits for its turn can be taken back, and the others go on', async (t) => {
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  const peer = await http2Peer(
    t,
    (stream) => {
      void gate.then(() => answer(stream, VERSION))
    },
    { settings: { maxConcurrentStreams: 1 } },
  )
  const client = await clientOf(t, peer)
  const first = client.version()
  const waiting = Array.from({ length: 20 }, (_, index) => {
    const controller = new AbortController()
    const call = client.version({ signal: controller.signal })
    return { call, controller, isOdd: index % 2 === 1 }
  })
  await eventually('the first is there', () => peer.open() === 1)
  const outcomes = Promise.allSettled(waiting.map(({ call }) => call))
  for (const { controller, isOdd } of waiting) if (isOdd) controller.abort(new Error('no more'))
  go()
  await first
  for (const [index, outcome] of (await outcomes).entries()) {
    assert.equal(outcome.status, waiting[index]?.isOdd ? 'rejected' : 'fulfilled')
  }
})

test('HTTP/1.1 connections are used again', async (t) => {
  const peer = await http1Peer(t, (response) => response.end(VERSION))
  const client = await clientOf(t, peer)
  for (let i = 0; i < 10; i++) await client.version()
  assert.equal(peer.connections(), 1)
  await Promise.all(Array.from({ length: 10 }, () => client.version()))
  assert.ok(peer.connections() <= 10)
  await Promise.all(Array.from({ length: 200 }, () => client.version()))
  assert.ok(peer.connections() <= 64, `${peer.connections()} connections`)
})

for (const http of ['h2', 'h1'] as const) {
  test(`headers that cannot be sent are the caller's fault and cost no place, over ${http}`, async (t) => {
    const server = await startServer(t)
    const url = `https://localhost:${server.port}`
    const client = await clientOf(t, { url }, { http, retries: 3, timeout: 10_000 })
    for (let i = 0; i < 70; i++) {
      for (const method of ['GET', 'PUT']) {
        const error = await thrownBy(
          client.request(method, '/version', { headers: { 'a b': 'c' } }),
        )
        assert.ok(error instanceof TypeError, String(error))
      }
    }
    assert.ok(await client.version())
  })
}

test('a call with an effect is sent on an HTTP/1.1 connection of its own', async (t) => {
  const peer = await http1Peer(t, (response) => response.end())
  const client = await clientOf(t, peer)
  await client.ready()
  await client.createKey('a')
  await client.createKey('b')
  assert.equal(peer.connections(), 3)
  await eventually('they are closed', () => peer.open() === 1)
})

test('an answer that is no KES answer is told apart from an error of KES', async (t) => {
  const answers: Record<string, [status: number, type: string, body: string]> = {
    '/html': [200, 'text/html', '<html>Welcome</html>'],
    '/empty': [200, 'application/json', ''],
    '/broken': [200, 'application/json', '{"version":'],
    '/array': [200, 'application/json', '[]'],
    '/number': [200, 'application/json', '12'],
    '/fields': [200, 'application/json', '{"version":12}'],
    '/missing': [200, 'application/json', '{}'],
    '/moved': [302, 'text/html', 'over there'],
    '/continue': [207, 'text/html', 'multi'],
  }
  const peer = await http2Peer(t, (stream, { headers }) => {
    const [status, type, body] = answers[String(headers['kes-enclave'])] ?? [500, '', '']
    stream.respond({ ':status': status, 'content-type': type, location: 'https://elsewhere/' })
    stream.end(body)
  })
  for (const name of Object.keys(answers)) {
    const client = await clientOf(t, peer, { enclave: name, retries: 3 })
    const error = await thrownBy(client.version())
    assert.ok(error instanceof AnswerError, `${name}: ${String(error)}`)
    assert.match(error.message, /is this a KES server\?$/)
    assert.ok(!error.message.includes('Welcome'))
  }
  const moved = await clientOf(t, peer, { enclave: '/moved' })
  const error = await thrownBy(moved.createKey('a'))
  assert.ok(error instanceof AnswerError)
  assert.equal(error.status, 302)
  assert.match(error.message, /redirection to https:\/\/elsewhere\//)
  // A page that says 200 has not made a key.
  const html = await clientOf(t, peer, { enclave: '/html' })
  for (const call of [html.createKey('a'), html.deleteKey('a'), html.ready(), html.metrics()]) {
    assert.ok((await thrownBy(call)) instanceof AnswerError)
  }
})

test('a date is read to the millisecond; one that was never recorded is undefined', async (t) => {
  const dates: Record<string, number | undefined> = {
    '2026-01-02T03:04:05.678999999Z': Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    '2026-01-02T05:04:05+02:00': Date.UTC(2026, 0, 2, 3, 4, 5),
    '1969-12-31T23:59:59.25Z': -750,
    '0001-01-01T00:00:00Z': undefined,
    '': undefined,
  }
  let date = ''
  const peer = await http2Peer(t, (stream) => answer(stream, JSON.stringify({ created_at: date })))
  const client = await clientOf(t, peer)
  for (const [text, expected] of Object.entries(dates)) {
    date = text
    assert.equal((await client.describeKey('a')).createdAt?.getTime(), expected, text)
  }
  for (const text of ['yesterday', '2026-02-30T00:00:00Z', '2026-01-02']) {
    date = text
    assert.ok((await thrownBy(client.describeKey('a'))) instanceof AnswerError, text)
  }
})

for (const http of ['h2', 'h1'] as const) {
  test(`an answer without end does not fill the memory, over ${http}`, async (t) => {
    let sent = 0
    const pour = (out: {
      write(chunk: Buffer): boolean
      once(event: string, then: () => void): unknown
      destroyed: boolean
    }): void => {
      while (!out.destroyed) {
        sent += 65_536
        if (!out.write(Buffer.alloc(65_536, 0x20))) break
      }
      if (!out.destroyed) out.once('drain', () => pour(out))
    }
    const peer =
      http === 'h2'
        ? await http2Peer(t, (stream) => {
            stream.respond({ ':status': 200 })
            pour(stream)
          })
        : await http1Peer(t, (response) => pour(response))
    const client = await clientOf(t, peer)
    const error = await thrownBy(client.request('GET', '/version', { maxAnswer: 1_000_000 }))
    assert.ok(error instanceof AnswerError)
    assert.match(error.message, /more than 1000000 bytes/)
    assert.ok(sent < 20_000_000, `${sent} bytes`)
  })
}

test('an answer over HTTP/2 that is cut is an error, not half an answer', async (t) => {
  const begin = [frame(1, 4, 1, Buffer.from([0x88])), frame(0, 0, 1, bytes('{"names":["a"]}'))]
  const ends = [8, 2].map((code) => frame(3, 0, 1, words(code)))
  for (const end of [...ends, frame(7, 0, 0, words(0, 0)), undefined]) {
    const peer = await rawHttp2(t, () => {
      if (end === undefined) setTimeout(() => peer.cut(), 50)
      return Buffer.concat([...begin, end ?? Buffer.alloc(0)])
    })
    const error = await failureOf((await clientOf(t, peer)).listKeys())
    assert.deepEqual([error.reason, error.isUnprocessed], ['closed', false], error.message)
  }
  // Without a length, this looks like an end.
  const end = [frame(0, 0, 1, bytes('{"names":["b"')), frame(3, 0, 1, words(0))]
  const odd = await rawHttp2(t, () => Buffer.concat([begin[0] ?? bytes(''), ...end]))
  assert.ok((await thrownBy((await clientOf(t, odd)).listKeys())) instanceof AnswerError)
  // The same with `content-length: 100`.
  const head = Buffer.concat([Buffer.of(0x88, 0x0f, 0x0d, 3), bytes('100')])
  const body = [frame(0, 0, 1, bytes('{"names":["a"]}')), frame(3, 0, 1, words(0))]
  const short = await rawHttp2(t, () => Buffer.concat([frame(1, 4, 1, head), ...body]))
  assert.equal((await failureOf((await clientOf(t, short)).listKeys())).isUnprocessed, false)
})

test('an answer over HTTP/1.1 that is cut is an error, not half an answer', async (t) => {
  const peer = await http1Peer(t, (response, { path }, request) => {
    if (path.endsWith('short')) response.setHeader('content-length', 100)
    response.write('{"names":["a"]}')
    setTimeout(() => {
      if (path.endsWith('destroy')) request.socket.destroy()
      else request.socket.end()
    }, 20)
  })
  for (const end of ['destroy', 'end', 'short']) {
    const error = await failureOf((await clientOf(t, peer)).listKeys(end))
    assert.deepEqual([error.reason, error.isUnprocessed], ['closed', false], error.message)
  }
})

test('half-closed: the server ends its side without an answer', async (t) => {
  const http2 = await tlsPeer(t, (socket) => {
    socket.write(frame(4, 0, 0))
    socket.once('data', () => setTimeout(() => socket.end(), 20))
  })
  const error = await failureOf((await clientOf(t, http2)).version())
  assert.equal(error.reason, 'closed')
  const http1 = await tlsPeer(t, (socket) => socket.once('data', () => socket.end()), {
    ALPNProtocols: ['http/1.1'],
  })
  await failureOf((await clientOf(t, http1)).version())
})

test('what is no HTTP is said to be none', async (t) => {
  const http1 = await tlsPeer(
    t,
    (socket) => socket.once('data', () => socket.end('220 smtp.example.com ESMTP\r\n')),
    { ALPNProtocols: ['http/1.1'] },
  )
  await expectFailure((await clientOf(t, http1)).version(), 'protocol', /no proper HTTP/)
  const http2 = await tlsPeer(t, (socket) => socket.write('220 smtp.example.com ESMTP\r\n'))
  await expectFailure((await clientOf(t, http2)).version(), 'protocol', /no proper HTTP/)
})

test('GOAWAY lets running calls finish; later ones take another connection', async (t) => {
  let count = 0
  const peer = await http2Peer(t, (stream, _, session) => {
    if (++count === 1) session.goaway()
    setTimeout(() => {
      answer(stream, VERSION)
    }, 50)
  })
  const client = await clientOf(t, peer, { retries: 3 })
  const first = client.version()
  await eventually('GOAWAY', () => count === 1)
  await Promise.all([first, client.version(), client.version()])
  await client.version()
  assert.equal(peer.connections(), 2)
})

/** SETTINGS, then `answer` to the first frame of a request. */
function rawHttp2(t: TestContext, answer: (count: number) => Buffer | undefined): Promise<Peer> {
  let count = 0
  return tlsPeer(t, (socket) => {
    let isGreeted = false
    socket.write(frame(4, 0, 0))
    socket.on('data', (chunk: Buffer) => {
      // Preface and SETTINGS come before the first request; a HEADERS frame has type 1.
      if (!isGreeted && chunk.subarray(0, 3).toString() === 'PRI') isGreeted = true
      if (!hasHeaders(chunk)) return
      const bytes = answer(++count)
      if (bytes === undefined) socket.destroy()
      else socket.write(bytes)
    })
  })
}

/** Whether a chunk of whole frames (and perhaps the preface) has a HEADERS frame. */
function hasHeaders(chunk: Buffer): boolean {
  let at = chunk.subarray(0, 3).toString() === 'PRI' ? 24 : 0
  while (at + 9 <= chunk.length) {
    if (chunk[at + 3] === 1) return true
    at += 9 + chunk.readUIntBE(at, 3)
  }
  return false
}

test('what a server has certainly not acted on is known to be so', async (t) => {
  const reset = (code: number) => frame(3, 0, 1, words(code))
  const goaway = (last: number, code: number) => frame(7, 0, 0, words(last, code))
  const cases: [string, Buffer | undefined, isUnprocessed: boolean][] = [
    ['REFUSED_STREAM', reset(7), true],
    ['GOAWAY below the stream', goaway(0, 0), true],
    ['GOAWAY below the stream, with an error', goaway(0, 11), true],
    ['RST_STREAM CANCEL', reset(8), false],
    ['RST_STREAM INTERNAL_ERROR', reset(2), false],
    ['RST_STREAM NO_ERROR', reset(0), false],
    ['RST_STREAM ENHANCE_YOUR_CALM', reset(11), false],
    ['GOAWAY that includes the stream, with an error', goaway(1, 2), false],
    ['closed', undefined, false],
  ]
  for (const [name, bytes, isUnprocessed] of cases) {
    const peer = await rawHttp2(t, () => bytes)
    const client = await clientOf(t, peer)
    const error = await failureOf(client.createKey('a'))
    assert.equal(error.isUnprocessed, isUnprocessed, `${name}: ${error.message}`)
    assert.equal(error.reason, 'closed', `${name}: ${error.message}`)
  }
})

test('a connection that died while idle costs a call with an effect nothing', async (t) => {
  let created = 0
  const peer = await http2Peer(t, (stream, { path }) => {
    if (path.startsWith('/v1/key/create/')) created++
    answer(stream, path === '/version' ? VERSION : '')
  })
  const cable = await relay(t, peer.port)
  const client = await clientOf(t, cable, { pingInterval: 200, retries: 2 })
  await client.version()
  cable.freeze()
  await sleep(1100)
  await client.createKey('a')
  assert.equal(created, 1)
  assert.equal(cable.connections(), 2)
})

test('an API key is made into a certificate that says who it is', async (t) => {
  let subject = ''
  const peer = await http2Peer(
    t,
    (stream) => {
      answer(stream, VERSION)
    },
    {
      tls: { requestCert: true, rejectUnauthorized: false },
      onSession: (session) => {
        subject = (session.socket as TLSSocket).getPeerCertificate().subject.CN
      },
    },
  )
  const apiKey = ApiKey.generate()
  const client = await clientOf(t, peer, { cert: undefined, key: undefined, apiKey })
  await client.version()
  assert.equal(subject, apiKey.identity)
})

test('an encrypted private key needs its password', async (t) => {
  const { admin } = await people()
  const key = admin.privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret word',
  })
  const { port } = await startServer(t)
  const url = `https://localhost:${port}`
  const right = await clientOf(t, { url }, { key: String(key), passphrase: 'secret word' })
  assert.equal((await right.describeSelf()).identity, admin.identity)
  for (const passphrase of [undefined, 'other word']) {
    const wrong = await clientOf(t, { url }, { key: String(key), passphrase })
    const error = await thrownBy(wrong.version())
    assert.ok(
      error instanceof Error && 'code' in error && error.code === 'BAD_OPTIONS',
      String(error),
    )
    assert.ok(!error.message.includes('word'))
  }
})

test('the enclave is named with each call', async (t) => {
  const seen: unknown[] = []
  const peer = await http2Peer(t, (stream, { headers }) => {
    seen.push(headers['kes-enclave'])
    answer(stream, VERSION)
  })
  await (await clientOf(t, peer, { enclave: 'tenant-1' })).version()
  await (await clientOf(t, peer)).version()
  assert.deepEqual(seen, ['tenant-1', undefined])
})

test('bodies of many megabytes may be on their way at once', async (t) => {
  const server = await startServer(t, { config: 'keys: [ { name: a } ]' })
  const client = await clientOf(t, { url: `https://localhost:${server.port}` })
  const plaintext = Buffer.alloc(500_000, 7)
  const sealed = await Promise.all(Array.from({ length: 40 }, () => client.encrypt('a', plaintext)))
  for (const ciphertext of sealed) assert.ok(ciphertext.length > plaintext.length)
  assert.deepEqual(await client.decrypt('a', sealed[39] ?? bytes('')), plaintext)
})

test('events of a socket that nobody waits for any more harm nobody', async (t) => {
  const peer = await http2Peer(t, (stream, _, session) => {
    answer(stream, VERSION)
    stream.on('close', () => setTimeout(() => session.destroy(undefined, 2), 10))
  })
  const client = await clientOf(t, peer)
  await client.version()
  await eventually('the connection is cut', () => peer.open() === 0)
  await sleep(50)
  await client.version()
})
