/** HTTP/1.1 by hand: what is a request, what is refused, and that nobody reads one request as two. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { AnswerHead } from '#src/wire/answer.js'
import { ChunkedBody } from '#src/wire/http1-chunks.js'
import { parseHead, readHead } from '#src/wire/http1-head.js'
import * as limits from '#src/wire/limits.js'
import type { Stream } from '#src/wire/request.js'
import { echo, http1Talker, type Talker } from '../support/frames.ts'

const HEAD = new AnswerHead({ status: 200, type: 'text/plain', headers: {}, repeats: true })
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const never = (): void => {}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

function text(talk: Talker): string {
  return talk.socket.bytes.toString('latin1')
}

/** The statuses that were sent. */
function statuses(talk: Talker): number[] {
  return [...text(talk).matchAll(/HTTP\/1\.1 (\d\d\d) /g)].map(([, status]) => Number(status))
}

/** The bodies of all requests that were served. */
function listener(): { talk: Talker; bodies: string[] } {
  const bodies: string[] = []
  const talk = http1Talker((stream) => {
    let body = ''
    const answer = (): void => {
      bodies.push(body)
      stream.respond(HEAD, 'ok', false)
    }
    if (stream.hasNoBody) return answer()
    stream.receiver = {
      data: (chunk) => (body += chunk.toString('latin1')),
      end: answer,
      closed: never,
    }
    stream.accept(1_000_000)
  })
  return { talk, bodies }
}

test('a request is answered, and the connection kept', async () => {
  const talk = http1Talker(echo(HEAD))
  await talk.say(bytes('PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'))
  assert.match(
    text(talk),
    /^HTTP\/1\.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text\/plain\r\nDate: [^\r]+ GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=120\r\n\r\nhello$/,
  )
  assert.ok(!talk.isOver)
})

/** What is refused, with the status that is told. After it comes a request that must never be served. */
const REFUSED: Readonly<Record<string, readonly [request: string, status: number]>> = {
  'a length and chunks': [
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'chunks and a length': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n',
    400,
  ],
  'two lengths': [
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    400,
  ],
  'the same length twice': [
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
    400,
  ],
  'a list of lengths': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello', 400],
  'a length with a sign': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello', 400],
  'a negative length': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello', 400],
  'a hexadecimal length': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello', 400],
  'a length with a space in it': [
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\nhello',
    400,
  ],
  'an empty length': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello', 400],
  'a huge length': [
    `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${'9'.repeat(20)}\r\n\r\nhello`,
    400,
  ],
  'an unknown coding': ['PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 501],
  'a coding before chunks': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    501,
  ],
  'chunks twice': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
    501,
  ],
  'two lines of codings': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a coding in quotes': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a coding with a vertical tab': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'an empty coding': ['PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n', 400],
  'chunks in HTTP/1.0': [
    'PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a space before the colon': ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello', 400],
  'a tab before the colon': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a space before a name': ['GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
  'a line that goes on': ['GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n', 400],
  'a coding on a line that goes on': [
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  'a line without a colon': ['GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n', 400],
  'a line without a name': ['GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n', 400],
  'a name with a NUL': ['GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n', 400],
  'a value with a NUL': ['GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n', 400],
  'a value with a bare carriage return': [
    'GET / HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 5\r\n\r\n',
    400,
  ],
  'bare line feeds': ['GET / HTTP/1.1\nHost: a\n\n', 400],
  'a bare line feed in a value': [
    'PUT / HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 5\r\n\r\nhello',
    400,
  ],
  'a bare line feed at the end': ['GET / HTTP/1.1\r\nHost: a\n\r\n', 400],
  'no host': ['GET / HTTP/1.1\r\n\r\n', 400],
  'two hosts': ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400],
  'a host that is none': ['GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
  'a host with a user': ['GET / HTTP/1.1\r\nHost: a@b\r\n\r\n', 400],
  'no version': ['GET /\r\nHost: a\r\n\r\n', 400],
  'HTTP/0.9': ['GET / HTTP/0.9\r\nHost: a\r\n\r\n', 400],
  'HTTP/1.2': ['GET / HTTP/1.2\r\nHost: a\r\n\r\n', 400],
  'HTTP/2.0': ['GET / HTTP/2.0\r\nHost: a\r\n\r\n', 400],
  'a version in lower case': ['GET / http/1.1\r\nHost: a\r\n\r\n', 400],
  'two spaces': ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'a tab for a space': ['GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'a space at the end of the first line': ['GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400],
  'a space in the target': ['GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'a NUL in the target': ['GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'a method that is none': ['G(T / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'a long method': [`${'A'.repeat(100)} / HTTP/1.1\r\nHost: a\r\n`, 400],
  'the preface of HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  'an expectation that is unknown': [
    'PUT / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n',
    417,
  ],
  'a head of more than 16 KiB': [
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(16_400)}\r\n\r\n`,
    431,
  ],
  'a head of more than 16 KiB without end': [
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(16_400)}`,
    431,
  ],
  'a target of more than 16 KiB': [`GET /${'a'.repeat(16_400)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
}

for (const [what, [request, status]] of Object.entries(REFUSED)) {
  test(`${what}: ${status}, and what follows is no request`, async () => {
    for (const pieces of [[request + GET], (request + GET).split('')]) {
      const { talk, bodies } = listener()
      await talk.say(...pieces.map(bytes))
      assert.deepEqual(statuses(talk), [status])
      assert.match(text(talk), /^HTTP\/1\.1 \d+ [A-Z][A-Za-z ]+\r\nConnection: close\r\n\r\n$/)
      assert.deepEqual(bodies, [])
      assert.ok(talk.isOver)
    }
  })
}

const CHUNKED = 'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'

/** Chunked bodies that are none. */
const BAD_CHUNKS: Readonly<Record<string, string>> = {
  'no size': '\r\nhello\r\n0\r\n\r\n',
  'a size that is none': 'g\r\nhello\r\n0\r\n\r\n',
  'a size with a sign': '+5\r\nhello\r\n0\r\n\r\n',
  'a size with 0x': '0x5\r\nhello\r\n0\r\n\r\n',
  'a space before the size': ' 5\r\nhello\r\n0\r\n\r\n',
  'a space behind the size': '5 \r\nhello\r\n0\r\n\r\n',
  'a size of too many digits': `${'0'.repeat(20)}5\r\nhello\r\n0\r\n\r\n`,
  'a size that is too large': 'fffffffffffffff\r\nhello',
  'a bare line feed behind the size': '5\nhello\r\n0\r\n\r\n',
  'a bare carriage return behind the size': '5\rhello\r\n0\r\n\r\n',
  'a bare line feed behind the chunk': '5\r\nhello\n0\r\n\r\n',
  'more than the size says': '5\r\nhello!\r\n0\r\n\r\n',
  'less than the size says': '5\r\nhell\r\n0\r\n\r\n',
  'an extension with a bare line feed': '5;a\nb\r\nhello\r\n0\r\n\r\n',
  'a long extension': `5;${'a'.repeat(300)}\r\nhello\r\n0\r\n\r\n`,
  'many extensions': `${`1;${'a'.repeat(200)}\r\nx\r\n`.repeat(30)}0\r\n\r\n`,
  'a trailer with a bare line feed': '0\r\nX: a\nb\r\n\r\n',
  'a trailer that goes on': '0\r\nX: a\r\n b\r\n\r\n',
  'a length as a trailer': '0\r\nContent-Length: 5\r\n\r\n',
  'a coding as a trailer': '0\r\nTransfer-Encoding: chunked\r\n\r\n',
  'a trailer that is none': '0\r\nGET / HTTP/1.1\r\n\r\n',
  'a bare line feed at the end': '0\r\n\n',
  'long trailers': `0\r\n${'X: aaaaaaaa\r\n'.repeat(400)}\r\n`,
}

for (const [what, chunks] of Object.entries(BAD_CHUNKS)) {
  test(`a chunked body with ${what} is refused, and what follows is no request`, async () => {
    for (const pieces of [[CHUNKED + chunks + GET], (CHUNKED + chunks + GET).split('')]) {
      const { talk, bodies } = listener()
      await talk.say(...pieces.map(bytes))
      assert.deepEqual(statuses(talk), [400])
      assert.deepEqual(bodies, [])
      assert.ok(talk.isOver)
    }
  })
}

/** Requests that are good, and what is served: each is followed by another one. */
const TAKEN: Readonly<Record<string, readonly [request: string, body: string]>> = {
  'a body of known length': [
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
    'hello',
  ],
  'a body that looks like a request': [
    `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${GET.length}\r\n\r\n${GET}`,
    GET,
  ],
  'white space around a value': [
    'PUT / HTTP/1.1\r\nHost:\t a \r\nContent-Length: \t 5 \t\r\n\r\nhello',
    'hello',
  ],
  'names in any case': ['PUT / HTTP/1.1\r\nHOST: a\r\ncontent-LENGTH: 5\r\n\r\nhello', 'hello'],
  chunks: [`${CHUNKED}5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n`, 'hello world'],
  'chunks with extensions': [`${CHUNKED}5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n`, 'hello'],
  'chunks with trailers': [`${CHUNKED}5\r\nhello\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n`, 'hello'],
  'a chunk of hexadecimal size': [`${CHUNKED}0A\r\n0123456789\r\n00\r\n\r\n`, '0123456789'],
  'chunks in capitals': [CHUNKED.replace('chunked', 'Chunked') + '0\r\n\r\n', ''],
  'an empty line before the request': [`\r\n${GET}`, ''],
  'an empty host': ['GET / HTTP/1.1\r\nHost:\r\n\r\n', ''],
  'a host of IPv6': ['GET / HTTP/1.1\r\nHost: [::1]:7373\r\n\r\n', ''],
  'a target in absolute form': ['GET https://a/b HTTP/1.1\r\nHost: a\r\n\r\n', ''],
  'bytes beyond ASCII in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\xff\r\n\r\n', ''],
  'an upgrade, which is not heard': [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n',
    '',
  ],
}

for (const [what, [request, body]] of Object.entries(TAKEN)) {
  test(`${what}: taken, however the bytes come`, async () => {
    for (const pieces of [[request + GET], (request + GET).split('')]) {
      const { talk, bodies } = listener()
      await talk.say(...pieces.map(bytes))
      assert.deepEqual(bodies, [body, ''])
      assert.deepEqual(statuses(talk), [200, 200])
      assert.ok(!talk.isOver)
    }
  })
}

test('requests that come at once are answered one after the other, in their order', async () => {
  const waiting: Stream[] = []
  const talk = http1Talker((stream) => waiting.push(stream))
  await talk.say(bytes(GET.replace('/', '/1') + GET.replace('/', '/2') + GET.replace('/', '/3')))
  for (const [index, target] of ['/1', '/2', '/3'].entries()) {
    assert.equal(waiting.length, index + 1)
    assert.equal(waiting[index]?.head.target, target)
    waiting[index]?.respond(HEAD, `answer to ${target}`, false)
  }
  await talk.say()
  assert.deepEqual(text(talk).match(/answer to \/\d/g), [
    'answer to /1',
    'answer to /2',
    'answer to /3',
  ])
})

test('thousands of requests at once are no matter', async () => {
  const talk = http1Talker(echo(HEAD))
  await talk.say(bytes(GET.repeat(5000)))
  assert.equal(statuses(talk).length, 5000)
})

test('whoever sends on while he waits for an answer is held up', async () => {
  const talk = http1Talker(never)
  for (let sent = 0; sent < 2 * limits.PIPELINE_LIMIT; sent += 1000 * GET.length) {
    await talk.say(bytes(GET.repeat(1000)))
    if (talk.socket.isPaused) break
  }
  assert.ok(talk.socket.isPaused)
  talk.streams[0]?.respond(HEAD, 'ok', false)
  for (let at = 1; talk.streams.length > at; at++) talk.streams[at]?.respond(HEAD, 'ok', false)
  assert.ok(!talk.socket.isPaused)
})

test('a client that does not read its answers gets no more of them, and is cut off', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, 'x'.repeat(50_000), false))
  talk.socket.isTaken = false
  await talk.say(bytes(GET.repeat(1000)))
  assert.ok(
    talk.socket.bytes.length < limits.SOCKET_LIMIT + 100_000,
    String(talk.socket.bytes.length),
  )
  assert.ok(talk.socket.isPaused)
  const now = performance.now()
  talk.session.tick(now)
  talk.session.tick(now + limits.STALL_TIMEOUT + 1)
  assert.ok(talk.socket.destroyed)
})

test('what was held back is answered when the client reads again', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, 'x'.repeat(50_000), false))
  talk.socket.isTaken = false
  await talk.say(bytes(GET.repeat(20)))
  while (statuses(talk).length < 20) {
    const before = statuses(talk).length
    talk.socket.writableLength = 0
    talk.session.drained()
    await talk.say()
    assert.ok(statuses(talk).length > before)
  }
})

for (const [what, head, lines] of [
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', 'Connection: close'],
  [
    'HTTP/1.0 that wants to be kept',
    'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    'Connection: keep-alive',
  ],
  [
    'Connection: close',
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'Connection: close',
  ],
  [
    'close among others',
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n',
    'Connection: close',
  ],
] as const) {
  test(`${what}: ${lines}`, async () => {
    const talk = http1Talker(echo(HEAD))
    await talk.say(bytes(head + GET))
    const closes = lines.endsWith('close')
    assert.equal(statuses(talk).length, closes ? 1 : 2)
    assert.ok(text(talk).includes(`\r\n${lines}\r\n`))
    assert.equal(talk.isOver, closes)
  })
}

test('HEAD is answered without a body, and with its length', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, 'hello', false))
  await talk.say(bytes(GET.replace('GET', 'HEAD')))
  assert.match(text(talk), /\r\nContent-Length: 5\r\n[^]*\r\n\r\n$/)
})

test('a body of another script has its length in bytes', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, 'schlüssel 鍵', false))
  await talk.say(bytes(GET))
  assert.match(talk.socket.bytes.toString(), /\r\nContent-Length: 14\r\n[^]*\r\n\r\nschlüssel 鍵$/)
})

test('a body of bytes is sent as it is, between the answers before and after it', async () => {
  const body = Buffer.from(Array.from({ length: 50_000 }, (_, at) => at % 251))
  const answers = ['before', body, 'after']
  const talk = http1Talker((stream) => stream.respond(HEAD, answers.shift(), false))
  await talk.say(bytes(GET.repeat(3)))
  const sent = talk.socket.bytes
  const at = sent.indexOf(body)
  assert.match(
    sent.toString('latin1', 0, at),
    /\r\n\r\nbeforeHTTP[^]*\r\nContent-Length: 50000\r\n[^]*\r\n\r\n$/,
  )
  assert.match(sent.toString('latin1', at + body.length), /^HTTP[^]*\r\n\r\nafter$/)
})

test('HEAD is answered without a body of bytes, and with its length', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, Buffer.from('hello'), false))
  await talk.say(bytes(GET.replace('GET', 'HEAD')))
  assert.match(text(talk), /\r\nContent-Length: 5\r\n[^]*\r\n\r\n$/)
})

const EXPECTING = 'PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n'

test('who expects to be told to go on is told, if the body is wanted', async () => {
  const wanted = http1Talker(echo(HEAD))
  await wanted.say(bytes(EXPECTING))
  assert.equal(text(wanted), 'HTTP/1.1 100 Continue\r\n\r\n')
  await wanted.say(bytes('hello'))
  assert.deepEqual(statuses(wanted), [100, 200])

  const unwanted = http1Talker((stream) => stream.respond(HEAD, 'no', false))
  await unwanted.say(bytes(EXPECTING))
  assert.deepEqual(statuses(unwanted), [200])
  // The client may send it all the same, and it is no request.
  await unwanted.say(bytes(`GET /${GET}`))
  assert.deepEqual(statuses(unwanted), [200, 200])
})

test('a body waits until somebody wants it', async () => {
  let [body, ends] = ['', 0]
  const talk = http1Talker((stream) => {
    stream.receiver = {
      data: (chunk) => (body += chunk.toString()),
      end: () => ends++,
      closed: never,
    }
  })
  await talk.say(bytes('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'))
  assert.deepEqual([body, ends], ['', 0])
  talk.streams[0]?.accept(100)
  assert.deepEqual([body, ends], ['hello', 1])
})

test('a request that is refused ends the connection without an answer', async () => {
  const talk = http1Talker((stream) => stream.refuse())
  await talk.say(bytes(GET + GET))
  assert.equal(text(talk), '')
  assert.equal(talk.streams.length, 1)
  assert.ok(talk.socket.hasEnded)
})

test('a body that is not wanted is dropped, for a while', async () => {
  const talk = http1Talker((stream) => stream.respond(HEAD, 'no', false))
  await talk.say(bytes('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n'))
  const chunk = Buffer.alloc(65_536)
  for (let sent = 0; sent <= limits.DROP_LIMIT - chunk.length; sent += chunk.length)
    await talk.say(chunk)
  assert.ok(!talk.isOver)
  await talk.say(chunk, chunk)
  assert.ok(talk.socket.destroyed)

  const slow = http1Talker((stream) => stream.respond(HEAD, 'no', false))
  await slow.say(bytes('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n'))
  slow.session.tick(performance.now() + limits.DROP_TIME - 1000)
  assert.ok(!slow.isOver)
  slow.session.tick(performance.now() + limits.DROP_TIME + 1)
  assert.ok(slow.isOver)
})

test('whoever is slow is told 408 and cut off', async () => {
  for (const [beginning, limit] of [
    ['', limits.HEAD_TIMEOUT],
    ['GET / HTT', limits.HEAD_TIMEOUT],
    ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell', limits.REQUEST_TIMEOUT],
  ] as const) {
    const { talk } = listener()
    await talk.say(bytes(beginning))
    // A byte now and then is not enough.
    talk.session.tick(performance.now() + limit - 1000)
    assert.ok(!talk.isOver, beginning)
    talk.session.tick(performance.now() + limit + 1)
    assert.deepEqual(statuses(talk), [408])
    assert.ok(talk.isOver)
  }
})

test('a head that comes byte by byte has no more time for it', async () => {
  const talk = http1Talker(never)
  await talk.say(...'GET / HTTP/1.1\r\nX: '.split('').map(bytes))
  const now = performance.now()
  for (let second = 1; second * 1000 < limits.HEAD_TIMEOUT; second++) {
    await talk.say(bytes('a'))
    talk.session.tick(now + second * 1000)
  }
  talk.session.tick(performance.now() + limits.HEAD_TIMEOUT + 1)
  assert.deepEqual(statuses(talk), [408])
})

test('an idle connection ends after a while, one that waits does not', async () => {
  const [idle, waits] = [http1Talker(echo(HEAD)), http1Talker(never)]
  for (const talk of [idle, waits]) {
    await talk.say(bytes(GET))
    talk.session.tick(performance.now() + limits.IDLE_TIMEOUT - 1000)
    assert.ok(!talk.isOver)
    talk.session.tick(performance.now() + limits.IDLE_TIMEOUT + 1)
  }
  assert.deepEqual([idle.isOver, waits.isOver], [true, false])
})

test('an answer that goes on is sent in chunks, and the connection used again', async () => {
  let ends = 0
  const talk = http1Talker((stream) => {
    if (stream.head.target !== '/open') return stream.respond(HEAD, 'ok', false)
    stream.receiver = { data: never, end: never, closed: () => ends++ }
    stream.open(HEAD)
  })
  await talk.say(bytes(GET.replace('/', '/open') + GET))
  const [stream] = talk.streams
  stream?.write('é\n')
  stream?.end()
  await talk.say()
  assert.match(
    talk.socket.bytes.toString(),
    /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain\r\nDate: [^\r]+\r\nConnection: keep-alive\r\nKeep-Alive: timeout=120\r\nTransfer-Encoding: chunked\r\n\r\n3\r\né\n\r\n0\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
  )
  assert.equal(ends, 1)
})

test('over HTTP/1.0, the end of the connection is the end of an answer that goes on', async () => {
  const talk = http1Talker((stream) => stream.open(HEAD))
  await talk.say(bytes('GET / HTTP/1.0\r\n\r\n'))
  talk.streams[0]?.write('line\n')
  talk.streams[0]?.end()
  await talk.say()
  assert.match(text(talk), /\r\nConnection: close\r\n\r\nline\n$/)
  assert.ok(talk.socket.hasEnded)
})

test('a client that goes away is told to whoever serves it, once', async () => {
  let closed = 0
  const talk = http1Talker((stream) => {
    stream.receiver = { data: never, end: never, closed: () => closed++ }
  })
  await talk.say(bytes('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell'))
  talk.session.ended()
  talk.session.closed()
  assert.equal(closed, 1)
})

test('an orderly end waits for the request that runs, and takes no other', async () => {
  const talk = http1Talker(never)
  await talk.say(bytes(GET + GET))
  talk.session.drain()
  assert.ok(!talk.isOver)
  talk.streams[0]?.respond(HEAD, 'ok', true)
  await talk.say()
  assert.deepEqual(statuses(talk), [200])
  assert.ok(talk.socket.hasEnded)
  talk.session.tick(performance.now() + limits.LINGER + 1)
  assert.ok(talk.socket.destroyed)
})

test('the pieces of a chunked body may be cut anywhere', () => {
  const body = bytes('5;x\r\nhello\r\n006\r\n world\r\n0\r\nA: b\r\n\r\nGET')
  for (let cut = 0; cut <= body.length; cut++) {
    const chunks = new ChunkedBody()
    let got = ''
    const take = (chunk: Buffer): void => void (got += chunk.toString('latin1'))
    const first = body.subarray(0, cut)
    const end = chunks.read(first, 0, take)
    const rest = chunks.isComplete ? end : cut + chunks.read(body.subarray(cut), 0, take)
    assert.equal(got, 'hello world')
    assert.equal(rest, body.length - 3)
  }
})

test('a head that came before, on whatever connection, is read as it was the first time', () => {
  const heads = [...Array(200).keys()].map((number) =>
    number % 3 === 0
      ? `GET /${number} HTTP/1.1\r\nHost: a\r\nHost: b`
      : `PUT /${number} HTTP/1.1\r\nHost: a\r\nContent-Length: ${number}\r\nX: ${'x'.repeat(number * 10)}`,
  )
  for (const round of [1, 2, 3]) {
    for (const head of heads) assert.deepEqual(readHead(head), parseHead(head), `${round}`)
  }
})
