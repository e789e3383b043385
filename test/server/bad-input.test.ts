/**
 * Input that is wrong in every way we can think of: each time a clear refusal, or a closed connection, and a server
 * that answers the next request as if nothing had been.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect as connectHttp2 } from 'node:http2'
import { connect as tcpConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { after, afterEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { memory } from '#src/keystore/memory.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { type Answer, ask, startServer, IN_PROCESS } from '../support/server.ts'
import { http1, talk, talkPlainly } from '../support/wire.ts'

const HTTPS = ['h1', 'h2'] as const
const MIB = 1_048_576
const KEY = Buffer.alloc(32, 7).toString('base64')
const BAD_BODY = 'invalid request body'
const BAD_IMPORT = 'invalid import key request body'
const NOT_AUTHENTIC = 'decryption failed: ciphertext is not authentic'

const server = await startServer({ after }, { config: 'keys: [{ name: known }]' })
const { port, admin, nobody } = server

afterEach(async () => {
  for (const http of HTTPS) {
    const { status } = await ask(port, admin, 'GET', '/v1/ready', { http })
    assert.equal(status, 200)
  }
})

function assertRefused(answer: Answer, status: number, message: string, about?: string): void {
  const { headers, body } = answer
  assert.deepEqual(
    { status: answer.status, type: headers['content-type'], body },
    {
      status,
      type: 'application/json',
      body: `${JSON.stringify({ message }).slice(0, -1)}\n}`,
    },
    about,
  )
  assert.equal(headers['content-length'], String(Buffer.byteLength(body)))
}

/** The routes that read a body. */
const ROUTES = [
  {
    path: '/v1/key/import/fresh',
    limit: MIB,
    message: BAD_IMPORT,
    fields: ['key', 'bytes', 'hmac_key'],
  },
  { path: '/v1/key/generate/known', limit: MIB, message: BAD_BODY, fields: ['context'] },
  {
    path: '/v1/key/encrypt/known',
    limit: MIB,
    message: BAD_BODY,
    fields: ['plaintext', 'context'],
  },
  {
    path: '/v1/key/decrypt/known',
    limit: 2 * MIB,
    message: BAD_BODY,
    fields: ['ciphertext', 'context'],
  },
  { path: '/v1/key/hmac/known', limit: MIB, message: BAD_BODY, fields: ['message'] },
] as const

const NOT_JSON: readonly (string | Buffer)[] = [
  ' ',
  '\n\n',
  '{',
  '}',
  '[',
  ']',
  '[]',
  '[{}]',
  '"text"',
  '12',
  'true',
  'nul',
  'undefined',
  '{"a"}',
  '{"a":}',
  '{"a":1,}',
  '{,}',
  "{'a':1}",
  '{a:1}',
  '{"a":01}',
  '{"a":+1}',
  '{"a":NaN}',
  '{"a":1 "b":2}',
  '{"a":"\\x"}',
  '{"a":"\n"}',
  '{"a":"',
  '{"a":"\\',
  '{"a":[1,2}',
  '{/* a comment */}',
  '\ufeff{}',
  '\0',
  '{}'.split('').join('\0'),
  Buffer.from([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]),
  Buffer.from([0x1f, 0x8b, 0x08, 0x00]),
  Buffer.from([0xc3, 0x28]),
  '['.repeat(200_000),
  '{"a":'.repeat(100_000),
]

/** JSON values that are no byte strings. */
const NO_BYTES = [
  '12',
  '-1',
  '1.5',
  'true',
  'false',
  '{}',
  '{"0":1}',
  '["a"]',
  '[256]',
  '[-1]',
  '[1.5]',
  '[[1]]',
  '[true]',
  '"a"',
  '"AAA"',
  '"AAAAA"',
  '"A==="',
  '"AA=A"',
  '"=AAA"',
  '"===="',
  '"AA==AA=="',
  '"-_-_"',
  '"AA A"',
  '" AAAA"',
  '"AA\\tAA"',
  '"AAAA\\u0000"',
  '"ÄÄÄÄ"',
  '"\\ud800AAA"',
  '"{}"',
]

for (const { path, message, fields } of ROUTES) {
  test(`a body that is no JSON object is refused by ${path}`, async () => {
    for (const [index, body] of NOT_JSON.entries()) {
      // A list of objects is bulk decryption.
      if (path.includes('/decrypt/') && (body === '[]' || body === '[{}]')) continue
      const http = HTTPS[index % 2] ?? 'h1'
      const answer = await ask(port, admin, 'PUT', path, { http, body })
      assertRefused(answer, 400, message, String(body).slice(0, 40))
    }
  })

  for (const field of fields) {
    test(`'${field}' that is no byte string is refused by ${path}`, async () => {
      for (const [index, value] of NO_BYTES.entries()) {
        const http = HTTPS[index % 2] ?? 'h1'
        const body = `{"${field}":${value}}`
        assertRefused(await ask(port, admin, 'PUT', path, { http, body }), 400, message, body)
      }
    })

    test(`'${field}' that is not UTF-8 is refused by ${path}`, async () => {
      const body = Buffer.concat([
        Buffer.from(`{"${field}":"AAA`),
        Buffer.from([0xff]),
        Buffer.from('"}'),
      ])
      assertRefused(await ask(port, admin, 'PUT', path, { body }), 400, message)
    })
  }

  test(`a name that is none is refused by ${path} before its body is looked at`, async () => {
    const answer = await ask(port, admin, 'PUT', path.replace(/\w+$/, 'a.b'), { body: '{' })
    assertRefused(answer, 400, "key name 'a.b' is empty, too long or contains invalid characters")
  })
}

test('fields that are missing, null or unknown are refused only where they are needed', async () => {
  const cases: readonly (readonly [string, string, number, string?])[] = [
    ['import/fresh', '{}', 406, "invalid key size for 'AES256'"],
    ['import/fresh', 'null', 406, "invalid key size for 'AES256'"],
    ['import/fresh', '{"key":null,"cipher":null}', 406, "invalid key size for 'AES256'"],
    ['import/fresh', '{"cipher":"AES256"}', 406, "invalid key size for 'AES256'"],
    ['import/fresh', '{"secret":"AAAA"}', 406, "invalid key size for 'AES256'"],
    ['generate/known', '{}', 200],
    ['generate/known', '', 200],
    ['generate/known', 'null', 200],
    ['generate/known', '{"context":null}', 200],
    ['generate/known', '{"cntext":12}', 200],
    ['encrypt/known', '', 400, BAD_BODY],
    ['encrypt/known', '{}', 200],
    ['encrypt/known', 'null', 200],
    ['encrypt/known', '{"plaintext":null,"context":null}', 200],
    ['encrypt/known', '{"context":"AAAA"}', 200],
    ['decrypt/known', '', 400, BAD_BODY],
    ['decrypt/known', '{}', 400, NOT_AUTHENTIC],
    ['decrypt/known', 'null', 400, NOT_AUTHENTIC],
    ['decrypt/known', '{"ciphertext":null}', 400, NOT_AUTHENTIC],
    ['decrypt/known', '{"plaintext":"AAAA"}', 400, NOT_AUTHENTIC],
    ['hmac/known', '', 400, BAD_BODY],
    ['hmac/known', '{}', 200],
    ['hmac/known', '{"message":null}', 200],
  ]
  for (const [path, body, status, message] of cases) {
    const answer = await ask(port, admin, 'PUT', `/v1/key/${path}`, { body })
    if (message === undefined) assert.equal(answer.status, status, path + body)
    else assertRefused(answer, status, message, path + body)
  }
})

test('text that is not UTF-8 does no harm in a field that nobody reads', async () => {
  const body = Buffer.concat([
    Buffer.from('{"plaintext":"AAAA","x":"'),
    Buffer.from([0xff, 0xc3]),
    Buffer.from('"}'),
  ])
  assert.equal((await ask(port, admin, 'PUT', '/v1/key/encrypt/known', { body })).status, 200)
})

test('a cipher of the wrong type or name is refused', async () => {
  for (const value of ['12', 'true', '{}', '[]', '["AES256"]']) {
    const body = `{"key":"${KEY}","cipher":${value}}`
    assertRefused(await ask(port, admin, 'PUT', '/v1/key/import/fresh', { body }), 400, BAD_IMPORT)
  }
  for (const name of [
    '',
    'AES',
    ' AES256',
    'AES256\0',
    'aes256',
    'ünbekannt',
    '__proto__',
    'constructor',
  ]) {
    const body = JSON.stringify({ key: KEY, cipher: name })
    const { status, body: text } = await ask(port, admin, 'PUT', '/v1/key/import/fresh', { body })
    assert.equal(status, 406)
    assert.deepEqual(JSON.parse(text), { message: `algorithm '${name}' is not supported` })
  }
})

test('a key or an HMAC key of the wrong size is refused', async () => {
  for (const size of [1, 16, 31, 33, 64, 100_000]) {
    const bytes = Buffer.alloc(size).toString('base64')
    for (const field of ['key', 'bytes']) {
      const body = JSON.stringify({ [field]: bytes, cipher: 'ChaCha20' })
      const answer = await ask(port, admin, 'PUT', '/v1/key/import/fresh', { body })
      assertRefused(answer, 406, "invalid key size for 'ChaCha20'")
    }
    const body = JSON.stringify({ key: KEY, hmac_key: bytes })
    assert.equal((await ask(port, admin, 'PUT', '/v1/key/import/fresh', { body })).status, 406)
  }
})

test('a refused import leaves no key behind', async () => {
  const answer = await ask(port, admin, 'GET', '/v1/key/describe/fresh')
  assertRefused(answer, 404, 'key does not exist')
})

test('no part of a body is in the error log, also where the answer quotes it', async () => {
  const secret = 'c2VjcmV0LW9mLXNvbWVib2R5LWVsc2UtISEhISEhISE='
  for (const body of [
    JSON.stringify({ key: KEY, cipher: secret }),
    JSON.stringify({ key: `${secret}${secret}` }),
    JSON.stringify({ key: `${secret}!` }),
    JSON.stringify({ key: [secret] }),
    `{"key":"${secret}`,
    secret,
  ]) {
    const { status } = await ask(port, admin, 'PUT', '/v1/key/import/fresh', { body })
    assert.ok(status === 400 || status === 406)
  }
  assert.ok(!server.stderr().includes(secret.slice(0, 20)))
})

/** A JSON object of exactly so many bytes. */
function bodyOf(size: number): string {
  return `{"x":"${'a'.repeat(size - 8)}"}`
}

for (const http of HTTPS) {
  for (const chunked of [false, true]) {
    const how = chunked ? 'without a length' : 'with its length'
    test(`a body beyond the limit, sent ${how} over ${http}, is answered 413`, async () => {
      for (const { path, limit } of ROUTES) {
        for (const size of [limit + 1, 3 * MIB]) {
          const answer = await ask(port, admin, 'PUT', path, { http, chunked, body: bodyOf(size) })
          assertRefused(answer, 413, `request body is too large: the limit is ${limit} bytes`, path)
        }
      }
    })

    test(`a body of just the limit, sent ${how} over ${http}, is read`, async () => {
      for (const { path, limit } of ROUTES) {
        const body = bodyOf(limit)
        const { status } = await ask(port, admin, 'PUT', path, { http, chunked, body })
        assert.notEqual(status, 413, path)
      }
    })
  }

  test(`a body where none is expected is ignored over ${http}, however large`, async () => {
    const body = bodyOf(3 * MIB)
    for (const method of ['GET', 'PUT']) {
      const { status } = await ask(port, admin, method, '/v1/status', { http, body })
      assert.equal(status, method === 'GET' ? 200 : 405)
    }
  })

  test(`somebody who may not call is refused over ${http} without his body being read`, async () => {
    for (const { path } of ROUTES) {
      const answer = await ask(port, nobody, 'PUT', path, { http, body: bodyOf(3 * MIB) })
      assert.equal(answer.status, 403)
    }
  })

  test(`a body of 24 MiB over ${http} is answered 413 or cut off`, async () => {
    const body = Buffer.alloc(24 * MIB, ' ')
    const outcome = await ask(port, admin, 'PUT', '/v1/key/hmac/known', { http, body }).then(
      ({ status }) => status,
      () => 'cut',
    )
    assert.ok(outcome === 413 || outcome === 'cut', String(outcome))
  })

  test(`whatever encrypt seals over ${http}, decrypt takes back`, async () => {
    // The largest plaintext alone, the largest context alone, and both.
    for (const [plain, context] of [
      [1_048_512, 0],
      [0, 1_048_512],
      [524_256, 524_256],
    ] as const) {
      const fields = { plaintext: 'A'.repeat(plain), context: 'A'.repeat(context) }
      const sealed = await ask(port, admin, 'PUT', '/v1/key/encrypt/known', {
        http,
        body: JSON.stringify(fields),
      })
      const { ciphertext } = JSON.parse(sealed.body)
      const opened = await ask(port, admin, 'PUT', '/v1/key/decrypt/known', {
        http,
        body: JSON.stringify({ ciphertext, context: fields.context }),
      })
      assert.equal(opened.status, 200)
      assert.ok(JSON.parse(opened.body).plaintext === fields.plaintext)
    }
  })
}

const never = (): Promise<never> => new Promise(() => {})

/** A server whose keystore stops answering once it was opened, with short deadlines. */
async function stuckServer(t: { after(end: () => unknown): void }) {
  const store = await memory.open({}, AbortSignal.timeout(1000))
  let isOpen = false
  const stuck: KeyStore = {
    status: async (signal) => {
      if (isOpen) await never()
      isOpen = true
      await store.status(signal)
    },
    create: never,
    get: never,
    delete: never,
    list: never,
    close: () => store.close(),
  }
  const verbs = [
    'create',
    'import',
    'describe',
    'delete',
    'list',
    'generate',
    'encrypt',
    'decrypt',
    'hmac',
  ]
  const api = Object.fromEntries(verbs.map((verb) => [`/v1/key/${verb}/`, { timeout: '300ms' }]))
  return startServer(t, { store: stuck, config: `api: ${JSON.stringify(api)}` })
}

const WAITING: readonly (readonly [string, string, string?])[] = [
  ['PUT', '/v1/key/create/a'],
  ['PUT', '/v1/key/import/a', `{"key":"${KEY}"}`],
  ['GET', '/v1/key/describe/a'],
  ['DELETE', '/v1/key/delete/a'],
  ['GET', '/v1/key/list/a'],
  ['PUT', '/v1/key/generate/a', '{}'],
  ['PUT', '/v1/key/encrypt/a', '{}'],
  ['PUT', '/v1/key/decrypt/a', '{}'],
  ['PUT', '/v1/key/hmac/a', '{}'],
]

for (const http of HTTPS) {
  test(`a call past its deadline is answered 504 over ${http}`, { skip: IN_PROCESS }, async (t) => {
    const { port } = await stuckServer(t)
    const answers = await Promise.all(
      WAITING.map(([method, path, body]) =>
        ask(port, admin, method, path, { http, ...(body !== undefined && { body }) }),
      ),
    )
    for (const answer of answers) assertRefused(answer, 504, 'request was not finished in time')
  })
}

test(
  'a keystore that does not answer is told by ready and status',
  { skip: IN_PROCESS },
  async (t) => {
    const { port } = await stuckServer(t)
    const asked = HTTPS.flatMap((http) =>
      ['ready', 'status'].map((path) => ask(port, admin, 'GET', `/v1/${path}`, { http })),
    )
    for (const answer of await Promise.all(asked)) {
      if (answer.status === 200) assert.equal(JSON.parse(answer.body).keystore_unreachable, true)
      else assertRefused(answer, 504, 'key store is not reachable')
    }
  },
)

const SLOW = 'request body was not received in time'

test(
  'a body that does not come in time is answered 408 over h1',
  { skip: IN_PROCESS },
  async (t) => {
    const { port } = await stuckServer(t)
    for (const headers of ['Content-Length: 100', 'Transfer-Encoding: chunked']) {
      const bytes = http1('PUT', '/v1/key/encrypt/a', [headers], '5\r\n{"pla\r\n')
      const { text, closed } = await talk(port, { bytes, tls: admin, wait: 10_000 })
      assert.match(text, /^HTTP\/1\.1 408 /)
      assert.ok(text.endsWith(`{"message":"${SLOW}"\n}`))
      assert.ok(closed)
    }
  },
)

test(
  'a body that does not come in time is answered 408 over h2',
  { skip: IN_PROCESS },
  async (t) => {
    const { port } = await stuckServer(t)
    const session = connectHttp2(`https://127.0.0.1:${port}`, {
      ...admin,
      rejectUnauthorized: false,
    })
    const stream = session.request({ ':method': 'PUT', ':path': '/v1/key/encrypt/a' })
    stream.write('{"pla')
    let [status, text] = [0, '']
    stream.on('response', (headers) => (status = Number(headers[':status'])))
    stream.on('error', () => {})
    stream.on('data', (chunk) => (text += String(chunk)))
    await new Promise((resolve) => stream.on('end', resolve))
    session.destroy()
    assert.deepEqual({ status, text }, { status: 408, text: `{"message":"${SLOW}"\n}` })
  },
)

/** Waits until no request but the scrape itself is running. */
async function assertIdle(port: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const { body } = await ask(port, admin, 'GET', '/v1/metrics')
    if (/^kes_http_request_active 0$/m.test(body)) return
    assert.ok(attempt < 100, 'a request never ended')
    await sleep(20)
  }
}

test('a client that breaks off its body leaves nothing behind over h1', async () => {
  for (const headers of ['Content-Length: 100', 'Transfer-Encoding: chunked']) {
    for (const end of ['end', 'destroy'] as const) {
      const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...admin })
      socket.on('error', () => {})
      socket.resume()
      socket.write(http1('PUT', '/v1/key/encrypt/known', [headers], '5\r\n{"pla\r\n'))
      await sleep(50)
      socket[end]()
      await assertIdle(port)
    }
  }
})

test('a client that breaks off its body leaves nothing behind over h2', async () => {
  for (const end of ['reset', 'destroy'] as const) {
    const session = connectHttp2(`https://127.0.0.1:${port}`, {
      ...admin,
      rejectUnauthorized: false,
    })
    session.on('error', () => {})
    const stream = session.request({ ':method': 'PUT', ':path': '/v1/key/encrypt/known' })
    stream.on('error', () => {})
    stream.write('{"pla')
    await sleep(50)
    if (end === 'reset') stream.close(8)
    else session.destroy()
    await assertIdle(port)
    session.destroy()
  }
})

test(
  'a client that goes away while it waits leaves nothing behind',
  { skip: IN_PROCESS },
  async (t) => {
    const stuck = await stuckServer(t)
    const socket = tlsConnect({
      port: stuck.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...admin,
    })
    socket.on('error', () => {})
    socket.write(http1('GET', '/v1/key/describe/a'))
    await sleep(50)
    socket.destroy()
    await assertIdle(stuck.port)
  },
)

for (const http of HTTPS) {
  test(`incomplete percent-encoding in the path is refused over ${http}`, async () => {
    for (const who of [admin, nobody]) {
      for (const path of [
        '/%',
        '/v1/status%',
        '/v1/key/describe/%',
        '/v1/key/describe/%4',
        '/v1/key/describe/%zz',
        '/v1/key/describe/a%2',
        '/v1/key/describe/%u0041',
        '/v1/nothing/%g0',
      ]) {
        const answer = await ask(port, who, 'GET', path, { http })
        assertRefused(answer, 400, 'the path has an incomplete percent-encoding', path)
      }
    }
  })

  test(`a percent sign in the query is no matter over ${http}`, async () => {
    assert.equal((await ask(port, admin, 'GET', '/v1/status?%&%zz=%', { http })).status, 200)
  })

  test(`NUL bytes and other controls are no part of a name over ${http}`, async () => {
    for (const name of ['%00', 'a%00', '%00a', 'a%0d%0a', '%7f', '%c0%80', '%ed%a0%80', '%fe%ff']) {
      for (const verb of ['describe', 'list']) {
        const { status, body } = await ask(port, admin, 'GET', `/v1/key/${verb}/${name}`, { http })
        assert.equal(status, 400, name)
        assert.match(JSON.parse(body).message, / is empty, too long or /)
      }
    }
    assert.equal((await ask(port, admin, 'GET', '/v1/status%00', { http })).status, 404)
  })

  test(`a very long path is refused over ${http}`, async () => {
    const long = await ask(port, admin, 'GET', `/v1/key/describe/${'a'.repeat(12_000)}`, { http })
    assert.equal(long.status, 400)
    const longer = await ask(port, admin, 'GET', `/v1/key/describe/${'a'.repeat(30_000)}`, {
      http,
    }).then(
      ({ status }) => status,
      () => 'closed',
    )
    assert.ok(longer === 431 || longer === 'closed', String(longer))
  })

  test(`very many headers are refused or ignored over ${http}`, async () => {
    const headers = Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`x-${i}`, 'a']))
    const outcome = await ask(port, admin, 'GET', '/v1/status', { http, headers }).then(
      ({ status }) => status,
      () => 'closed',
    )
    assert.ok([200, 431, 'closed'].includes(outcome), String(outcome))
  })
}

test('a request target that is no path is refused', async () => {
  for (const line of [
    'OPTIONS *',
    'GET v1/status',
    'GET ?a',
    'CONNECT localhost:443',
    'GET \0',
    'GET /\0',
  ]) {
    const { text } = await talk(port, {
      bytes: `${line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      tls: admin,
    })
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/, line)
  }
})

test('an unknown method is refused', async () => {
  for (const method of ['BREW', 'get', 'PROPFIND', 'G\0T', 'TRACE']) {
    const bytes = http1(method, '/v1/status')
    const { text } = await talk(port, { bytes, tls: admin })
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/, method)
  }
})

test('chunks that are none end the request', async () => {
  for (const chunks of [
    'zz\r\n{}',
    '-1\r\n{}',
    'ffffffffffffffffff\r\n{}',
    '2{}\r\n',
    '\r\n\r\n',
  ]) {
    const bytes = http1('PUT', '/v1/key/hmac/known', ['Transfer-Encoding: chunked'], chunks)
    const { text, closed } = await talk(port, { bytes, tls: admin })
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/, chunks)
    assert.ok(closed, chunks)
  }
})

/** Bytes without meaning, the same in every run. */
function noise(seed: string, size: number): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i * 32 < size; i++)
    parts.push(createHash('sha256').update(`${seed} ${i}`).digest())
  return Buffer.concat(parts, size)
}

test('bytes without meaning on the port end the connection', async () => {
  for (let i = 0; i < 20; i++) {
    const bytes = noise(`port ${i}`, 50 + i * 100)
    // What might be the beginning of a record is waited for; TLS bounds that.
    const { text } = await talkPlainly(port, { bytes, wait: 300 })
    assert.ok(!text.startsWith('HTTP/1.1'), text)
  }
})

test('TLS that is none ends the connection', async () => {
  const record = (type: number, payload: Buffer): Buffer => {
    const head = Buffer.from([type, 3, 1, payload.length >> 8, payload.length & 255])
    return Buffer.concat([head, payload])
  }
  for (const bytes of [
    record(22, noise('hello', 200)),
    record(22, Buffer.concat([Buffer.from([1, 0, 0, 196]), noise('hello body', 196)])),
    record(22, Buffer.alloc(0)),
    record(23, noise('data before a handshake', 100)),
    record(21, Buffer.from([2, 40])),
    record(20, Buffer.from([1])),
    Buffer.from([22, 3, 1, 255, 255, 1]),
    Buffer.from([0x80, 0x2e, 1, 0, 2]),
  ]) {
    const { text } = await talkPlainly(port, { bytes, wait: 300 })
    assert.ok(!text.includes('HTTP/1.1'), text)
  }
})

test('bytes without meaning below an open TLS connection end it', async () => {
  const plain = tcpConnect({ port, host: '127.0.0.1' })
  const socket = tlsConnect({ socket: plain, rejectUnauthorized: false, ...admin })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  const closed = new Promise((resolve) => plain.once('close', resolve))
  plain.write(noise('below', 500))
  socket.resume()
  await closed
})

test('bytes without meaning instead of HTTP/1.1 are refused and the connection closed', async () => {
  for (let i = 0; i < 20; i++) {
    const { text, closed } = await talk(port, { bytes: noise(`h1 ${i}`, 20 + i * 50), tls: admin })
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/)
    assert.ok(closed)
  }
})

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const [DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, WINDOW_UPDATE, CONTINUATION] = [
  0, 1, 3, 4, 5, 6, 8, 9,
]
const [END_STREAM, END_HEADERS] = [0x1, 0x4]

function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer | number[] = [],
): Buffer {
  const body = Buffer.from(payload)
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

const HELLO = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)])
/** HPACK: :method GET, :scheme https, :path /v1/status, :authority a. */
const STATUS_HEAD = [
  0x82,
  0x87,
  0x04,
  10,
  ...Buffer.from('/v1/status'),
  0x01,
  1,
  ...Buffer.from('a'),
]
const STATUS_FRAME = frame(HEADERS, END_STREAM | END_HEADERS, 1, STATUS_HEAD)

/** What breaks the rules of HTTP/2 so that the connection ends. */
const BROKEN_H2: Readonly<Record<string, Buffer>> = {
  'HTTP/1.1': Buffer.from(http1('GET', '/v1/status')),
  'bytes without meaning': noise('h2', 500),
  'a preface and bytes without meaning': Buffer.concat([PREFACE, noise('h2 preface', 500)]),
  'settings and bytes without meaning': Buffer.concat([HELLO, noise('h2 settings', 500)]),
  'a request without settings': Buffer.concat([PREFACE, STATUS_FRAME]),
  'settings of the wrong length': Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, [1, 2, 3, 4, 5])]),
  'a head on stream 0': Buffer.concat([HELLO, frame(HEADERS, END_HEADERS, 0, STATUS_HEAD)]),
  'a head on a stream of the server': Buffer.concat([
    HELLO,
    frame(HEADERS, END_HEADERS, 2, STATUS_HEAD),
  ]),
  'a head that is no HPACK': Buffer.concat([
    HELLO,
    frame(HEADERS, END_HEADERS, 1, Buffer.alloc(50, 0xff)),
  ]),
  'data on a stream that is not open': Buffer.concat([HELLO, frame(DATA, 0, 1, [1])]),
  'a frame that is too large': Buffer.concat([HELLO, frame(DATA, 0, 1, Buffer.alloc(20_000))]),
  'a continuation of nothing': Buffer.concat([HELLO, frame(CONTINUATION, END_HEADERS, 1)]),
  'a head that something interrupts': Buffer.concat([
    HELLO,
    frame(HEADERS, 0, 1, STATUS_HEAD),
    frame(PING, 0, 0, Buffer.alloc(8)),
  ]),
  'a window of 0 more bytes': Buffer.concat([HELLO, frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 0])]),
  'a push by the client': Buffer.concat([HELLO, frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])]),
  'the reset of a stream that is not open': Buffer.concat([
    HELLO,
    frame(RST_STREAM, 0, 1, [0, 0, 0, 8]),
  ]),
  'a ping of the wrong length': Buffer.concat([HELLO, frame(PING, 0, 0, [1])]),
  'a head without end': Buffer.concat([
    HELLO,
    frame(HEADERS, 0, 1, STATUS_HEAD),
    ...Array.from({ length: 2000 }, () => frame(CONTINUATION, 0, 1)),
  ]),
}

/** Whether the server has said that it ends the connection: a frame of type 7 on stream 0. */
function isGoAway(text: string): boolean {
  return Buffer.from(text, 'latin1').includes(Buffer.from([7, 0, 0, 0, 0, 0]))
}

for (const [what, bytes] of Object.entries(BROKEN_H2)) {
  test(`over h2, ${what} ends the connection`, async () => {
    const tls = { ...admin, ALPNProtocols: ['h2'] }
    const { closed, text } = await talk(port, { bytes, tls, until: isGoAway })
    assert.ok(closed || isGoAway(text))
    assert.ok(!text.includes('keystore_latency'))
  })
}

test('over h2, a head that lacks its path, or has it twice, is no request', async () => {
  for (const head of [
    [0x82, 0x87],
    [...STATUS_HEAD, ...STATUS_HEAD],
    [...STATUS_HEAD, 0x00, 1, 0x41, 1, 0x61],
    [...STATUS_HEAD, 0x00, 10, ...Buffer.from('connection'), 5, ...Buffer.from('close')],
  ]) {
    const bytes = Buffer.concat([HELLO, frame(HEADERS, END_STREAM | END_HEADERS, 1, head)])
    const { text } = await talk(port, {
      bytes,
      tls: { ...admin, ALPNProtocols: ['h2'] },
      wait: 200,
    })
    assert.ok(!text.includes('keystore_latency'))
  }
})

test('over h2, requests that are reset at once leave nothing behind', async () => {
  const frames: Buffer[] = [HELLO]
  for (let stream = 1; stream < 1000; stream += 2) {
    frames.push(frame(HEADERS, END_STREAM | END_HEADERS, stream, STATUS_HEAD))
    frames.push(frame(RST_STREAM, 0, stream, [0, 0, 0, 8]))
  }
  const tls = { ...admin, ALPNProtocols: ['h2'] }
  await talk(port, { bytes: Buffer.concat(frames), tls, wait: 300 })
  await assertIdle(port)
})

test('over h2, a body of another length than announced is no request', async () => {
  for (const [length, body] of [
    [10, '{}'],
    [1, '{}'],
  ] as const) {
    const session = connectHttp2(`https://127.0.0.1:${port}`, {
      ...admin,
      rejectUnauthorized: false,
    })
    session.on('error', () => {})
    const stream = session.request({
      ':method': 'PUT',
      ':path': '/v1/key/hmac/known',
      'content-length': length,
    })
    let status = 0
    stream.on('response', (headers) => (status = Number(headers[':status'])))
    stream.on('error', () => {})
    stream.end(body)
    await new Promise((resolve) => stream.on('close', resolve))
    session.destroy()
    assert.notEqual(status, 200)
  }
  await assertIdle(port)
})

test('nothing of all this was a fault of the server', () => {
  assert.ok(!/internal server error|bug:/.test(server.stderr()), server.stderr().slice(-2000))
})
