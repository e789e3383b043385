/** TLS and connections: who is let in, as whom, and what is spoken (kes-behaviour.md, "TLS and connections"). */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'

import { certificate } from '../support/certificates.ts'
import { ask, startServer } from '../support/server.ts'
import { http1, talk, talkPlainly } from '../support/wire.ts'

const HTTPS = ['h1', 'h2'] as const
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const DAY = 24 * 3_600_000
const NO_CERTIFICATE = '{"message":"tls: client certificate is required"\n}'
const STATUS = http1('GET', '/v1/status')

const { port, admin, user } = await startServer({ after })
const ca = await certificate({ subject: 'somebody’s own CA', ca: true })
const caWithoutUsage = await certificate({
  subject: 'a CA whose key may not sign certificates',
  ca: true,
  keyCertSign: false,
})

function only(version: (typeof VERSIONS)[number]): object {
  return { minVersion: version, maxVersion: version }
}

for (const version of VERSIONS) {
  test(`${version} is spoken`, async () => {
    const { text, tls } = await talk(port, { bytes: STATUS, tls: { ...admin, ...only(version) } })
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.equal(tls, version)
  })

  test(`without a client certificate a ${version} connection is closed before any answer`, async () => {
    const { text, closed } = await talk(port, { bytes: STATUS, tls: only(version) })
    assert.equal(text, '')
    assert.ok(closed)
  })
}

for (const version of ['TLSv1', 'TLSv1.1'] as const) {
  test(`${version} is refused with an alert that names the reason`, async () => {
    const { text, error } = await talk(port, {
      bytes: STATUS,
      tls: { ...admin, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' },
    })
    assert.equal(text, '')
    assert.equal(error, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
  })
}

test('h2 is chosen even if the client prefers http/1.1', async () => {
  const { alpn } = await talk(port, {
    bytes: '',
    tls: { ...admin, ALPNProtocols: ['http/1.1', 'h2'] },
    wait: 200,
  })
  assert.equal(alpn, 'h2')
})

test('http/1.1 is chosen when the client offers nothing else', async () => {
  const { alpn, text } = await talk(port, {
    bytes: STATUS,
    tls: { ...admin, ALPNProtocols: ['http/1.1'] },
  })
  assert.equal(alpn, 'http/1.1')
  assert.match(text, /^HTTP\/1\.1 200 /)
})

test('without ALPN, HTTP/1.1 is spoken', async () => {
  const { alpn, text } = await talk(port, { bytes: STATUS, tls: admin })
  assert.equal(alpn, false)
  assert.match(text, /^HTTP\/1\.1 200 /)
})

test('the handshake fails when the client offers unknown protocols only', async () => {
  const { error, text } = await talk(port, {
    bytes: STATUS,
    tls: { ...admin, ALPNProtocols: ['spdy/3'] },
  })
  assert.notEqual(error, '')
  assert.equal(text, '')
})

test('plain HTTP is answered with one line that says what is wrong', async () => {
  const { text, closed } = await talkPlainly(port, { bytes: http1('GET', '/v1/status', []) })
  assert.equal(
    text,
    'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n',
  )
  assert.ok(closed)
})

for (const http of HTTPS) {
  test(`a client may send its CA's certificate after its own over ${http}`, async () => {
    const leaf = await certificate({ subject: 'leaf', issuer: ca })
    const who = { key: leaf.key, cert: leaf.cert + ca.cert }
    const answer = await ask(port, who, 'GET', '/v1/identity/self/describe', { http })
    assert.equal(JSON.parse(answer.body).identity, leaf.identity)
  })

  for (const [kind, attacker] of [
    ['CA certificate', ca],
    ['CA certificate without keyCertSign', caWithoutUsage],
  ] as const) {
    test(`a ${kind} is no client certificate over ${http}`, async () => {
      for (const path of ['/version', '/v1/status', '/v1/identity/self/describe']) {
        const { status, body } = await ask(port, attacker, 'GET', path, { http })
        assert.deepEqual({ status, body }, { status: 400, body: NO_CERTIFICATE })
      }
    })

    test(`the admin's certificate behind one's own ${kind} makes nobody the admin over ${http}`, async () => {
      const who = { key: attacker.key, cert: attacker.cert + admin.cert }
      for (const path of ['/version', '/v1/status', '/v1/identity/self/describe']) {
        const { status, body } = await ask(port, who, 'GET', path, { http })
        assert.deepEqual({ status, body }, { status: 400, body: NO_CERTIFICATE })
      }
    })
  }

  test(`the admin's certificate behind one's own leaf makes nobody the admin over ${http}`, async () => {
    const who = { key: user.key, cert: user.cert + admin.cert }
    const self = await ask(port, who, 'GET', '/v1/identity/self/describe', { http })
    assert.equal(JSON.parse(self.body).identity, user.identity)
    assert.equal((await ask(port, who, 'GET', '/v1/status', { http })).status, 403)
  })

  test(`whatever follows the first certificate is ignored over ${http}`, async () => {
    for (const cert of [admin.cert + admin.cert, admin.cert + user.cert]) {
      const answer = await ask(port, { key: admin.key, cert }, 'GET', '/v1/status', { http })
      assert.equal(answer.status, 200)
    }
  })
}

for (const version of VERSIONS) {
  test(`a chain of CA and admin certificate is refused with ${version}, too`, async () => {
    const { text } = await talk(port, {
      bytes: STATUS,
      tls: { key: ca.key, cert: ca.cert + admin.cert, ...only(version) },
    })
    assert.match(text, /^HTTP\/1\.1 400 /)
    assert.ok(text.endsWith(NO_CERTIFICATE))
  })
}

const ODD = {
  'has expired': { notBefore: -2 * DAY, notAfter: -DAY },
  'is not valid yet': { notBefore: DAY, notAfter: 2 * DAY },
  'is for servers only': { usages: ['serverAuth'] },
  'has no extended key usage': { usages: [] },
} as const

for (const [what, request] of Object.entries(ODD)) {
  test(`with tls.auth off, a certificate that ${what} is accepted`, async () => {
    const odd = await certificate({ subject: 'odd', ...request })
    for (const http of HTTPS) {
      assert.equal((await ask(port, odd, 'GET', '/version', { http })).status, 200)
    }
  })
}

test('with tls.auth on, only good certificates of the configured CA are accepted', async (t) => {
  const strict = await startServer(t, { tls: 'auth: on', ca: ca.cert })
  const outcome = async (request: object): Promise<string> => {
    const who = await certificate({ subject: 'client', ...request })
    const { text } = await talk(strict.port, { bytes: http1('GET', '/version'), tls: who })
    return text.slice(0, 'HTTP/1.1 200'.length)
  }
  assert.equal(await outcome({ issuer: ca }), 'HTTP/1.1 200')
  assert.equal(await outcome({ issuer: ca, usages: [] }), 'HTTP/1.1 200')
  assert.equal(await outcome({}), '')
  assert.equal(await outcome({ issuer: caWithoutUsage }), '')
  assert.equal(await outcome({ issuer: ca, ...ODD['has expired'] }), '')
  assert.equal(await outcome({ issuer: ca, ...ODD['is not valid yet'] }), '')
  assert.equal(await outcome({ issuer: ca, ...ODD['is for servers only'] }), '')
})

test('with tls.auth on, a certificate in front of a good chain does not borrow its trust', async (t) => {
  const strict = await startServer(t, { tls: 'auth: on', ca: ca.cert })
  const good = await certificate({ subject: 'good', issuer: ca })
  const { text } = await talk(strict.port, {
    bytes: http1('GET', '/version'),
    tls: { key: user.key, cert: user.cert + good.cert + ca.cert },
  })
  assert.equal(text, '')
})

for (const http of HTTPS) {
  test(`where an API needs no certificate, the others ask for one over ${http}`, async (t) => {
    const open = await startServer(t, { config: 'api: { /v1/status: { skip_auth: on } }' })
    assert.equal((await ask(open.port, undefined, 'GET', '/v1/status', { http })).status, 200)
    for (const path of ['/version', '/v1/ready', '/v1/identity/self/describe']) {
      const { status, body } = await ask(open.port, undefined, 'GET', path, { http })
      assert.deepEqual({ status, body }, { status: 400, body: NO_CERTIFICATE })
    }
  })
}

test('HTTP/1.0 is answered', async () => {
  const bytes = 'GET /v1/status HTTP/1.0\r\n\r\n'
  const { text, closed } = await talk(port, { bytes, tls: admin })
  assert.match(text, /^HTTP\/1\.[01] 200 /)
  assert.ok(closed)
})

const REFUSED = {
  'HTTP/1.1 without Host': 'GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n',
  'a request line that is none': 'how do you do\r\n\r\n',
  'an HTTP version that is none': 'GET /v1/status HTTP/9.9\r\nHost: a\r\n\r\n',
  'two different lengths': http1(
    'PUT',
    '/v1/key/encrypt/user-a',
    ['Content-Length: 2', 'Content-Length: 3'],
    '{} ',
  ),
  'a length and a transfer coding': http1(
    'PUT',
    '/v1/key/encrypt/user-a',
    ['Content-Length: 2', 'Transfer-Encoding: chunked'],
    '2\r\n{}\r\n0\r\n\r\n',
  ),
  'a length that is no number': http1(
    'PUT',
    '/v1/key/encrypt/user-a',
    ['Content-Length: two'],
    '{}',
  ),
  'a header line without a name': http1('GET', '/v1/status', [': nothing', 'Connection: close']),
  'a 20 kB header': http1('GET', '/v1/status', [`X-Long: ${'a'.repeat(20_480)}`]),
}

for (const [what, bytes] of Object.entries(REFUSED)) {
  test(`${what} is refused and the connection closed`, async () => {
    const { text, closed } = await talk(port, { bytes, tls: admin })
    assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/)
    assert.ok(closed)
  })
}

test('an 8 kB header is no obstacle', async () => {
  const headers = { 'x-long': 'a'.repeat(8192) }
  for (const http of HTTPS)
    assert.equal((await ask(port, admin, 'GET', '/v1/status', { http, headers })).status, 200)
})

test('a 20 kB header is refused over h2, and other connections go on', async () => {
  const headers = { 'x-long': 'a'.repeat(20_480) }
  const outcome = await ask(port, admin, 'GET', '/v1/status', { http: 'h2', headers }).then(
    ({ status }) => status,
    () => 'closed',
  )
  assert.ok(outcome === 431 || outcome === 'closed', String(outcome))
  assert.equal((await ask(port, admin, 'GET', '/v1/status', { http: 'h2' })).status, 200)
})

test('a body that nobody wants is never taken for a request', async () => {
  const smuggled = http1('PUT', '/v1/key/create/smuggled', [])
  const bytes =
    http1('PUT', '/v1/key/create/wanted', [`Content-Length: ${smuggled.length}`], smuggled) + STATUS
  const { text } = await talk(port, { bytes, tls: admin })
  // One answer, or two: the connection may close after the first.
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.ok((text.match(/HTTP\/1\.1 200 /g) ?? []).length <= 2)
  const { body } = await ask(port, admin, 'GET', '/v1/key/list/')
  assert.ok(body.includes('"wanted"') && !body.includes('smuggled'), body)
})

test('Expect: 100-continue is answered with 100, then 200', async () => {
  const body = '{"message":"SGVsbG8="}'
  await ask(port, admin, 'PUT', '/v1/key/create/expected')
  const headers = [`Content-Length: ${body.length}`, 'Expect: 100-continue', 'Connection: close']
  const bytes = http1('PUT', '/v1/key/hmac/expected', headers, body)
  const { text } = await talk(port, { bytes, tls: admin })
  assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
})

test('Expect: 100-continue is answered at once where the request is refused', async () => {
  const headers = ['Content-Length: 3000000', 'Expect: 100-continue']
  for (const [path, status] of [
    ['/v1/key/hmac/expected', 413],
    ['/v1/nothing', 404],
  ] as const) {
    const bytes = http1('PUT', path, headers)
    const { text } = await talk(port, {
      bytes,
      tls: admin,
      until: (text) => text.endsWith('}') || text.endsWith('found\n'),
    })
    assert.ok(text.startsWith(`HTTP/1.1 ${status} `), text)
  }
})
