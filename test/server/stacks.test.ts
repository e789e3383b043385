/**
 * Both implementations of HTTP give the same answers, byte for byte: over the whole table of requests, and where
 * the protocol itself is at fault.
 */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'

import { ask, startServer } from '../support/server.ts'
import { openSession } from '../support/session.ts'
import { expand, placeholders, type Row, shape, table } from '../support/table.ts'
import { http1, talk } from '../support/wire.ts'

const names = await placeholders()
const policies = `policy: ${expand(JSON.stringify(table.policies), names)}`
const node = await startServer({ after }, { config: `http: node\n${policies}` })
const lean = await startServer({ after }, { config: `http: lean\n${policies}` })
const { admin } = node

const CHUNK = 65_536

/** The request of a row as bytes of HTTP/1.1. */
function bytesOf(row: Row, fill: (text: string) => string): string {
  const body = row.body === undefined ? undefined : fill(row.body)
  const headers = Object.entries(row.headers ?? {}).map(([name, value]) => `${name}: ${value}`)
  headers.push('Connection: close')
  if (body === undefined) return http1(row.method, fill(row.path), headers)
  if (!row.noLength) {
    headers.push(`Content-Length: ${Buffer.byteLength(body)}`)
    return http1(row.method, fill(row.path), headers, body)
  }
  headers.push('Transfer-Encoding: chunked')
  let chunks = ''
  for (let at = 0; at < body.length; at += CHUNK) {
    const chunk = body.slice(at, at + CHUNK)
    chunks += `${chunk.length.toString(16)}\r\n${chunk}\r\n`
  }
  return http1(row.method, fill(row.path), headers, `${chunks}0\r\n\r\n`)
}

/** What differs from call to call, by a word. The length of a body is right, or stands as it is. */
function steady(head: string, body: string): string {
  const lines = head
    .replace(/(?<=^date(: |\n))\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/im, '{date}')
    .replace(/(?<=^content-length(?:: |\n))\d+/im, (length) =>
      Number(length) === Buffer.byteLength(body, 'latin1') ? '{length}' : length,
    )
  return lines + shape(body).replace(/^(kes_\S+) [\d.e-]+$/gm, '$1 {number}')
}

/** Gives both servers the keys of a row, under names that no other row has. */
async function prepare(row: Row): Promise<(text: string) => string> {
  const own = await placeholders()
  const fill = (text: string): string => expand(text, own)
  for (const name of row.given ?? []) {
    for (const { port } of [node, lean]) {
      const { status } = await ask(port, admin, 'PUT', `/v1/key/create/${fill(name)}`)
      assert.equal(status, 200)
    }
  }
  return fill
}

for (const row of table.requests) {
  const what = `row ${row.row}: ${row.method} ${row.path} by ${row.who}`
  if (row.http !== 'h2') {
    test(`${what} is answered over h1 with the same bytes by both stacks`, async () => {
      const fill = await prepare(row)
      const bytes = bytesOf(row, fill)
      const [a, b] = await Promise.all(
        [node, lean].map(async ({ port }) => {
          const { key, cert } = node[row.who]
          const { text } = await talk(port, { bytes, tls: { key, cert } })
          const end = text.indexOf('\r\n\r\n') + 4
          return steady(text.slice(0, end), text.slice(end))
        }),
      )
      assert.match(a ?? '', /^HTTP\/1\.1 \d\d\d /)
      assert.equal(b, a)
    })
  }
  if (row.http !== 'h1') {
    test(`${what} is answered over h2 with the same fields by both stacks`, async (t) => {
      const fill = await prepare(row)
      const [a, b] = await Promise.all(
        [node, lean].map(async ({ port }) => {
          const { http2 } = await openSession(t, port, node[row.who])
          const body = row.body === undefined ? undefined : fill(row.body)
          const length =
            body === undefined || row.noLength ? {} : { 'content-length': Buffer.byteLength(body) }
          const fields = {
            ':method': row.method,
            ':path': fill(row.path),
            ...length,
            ...row.headers,
          }
          const stream = http2.request(fields, { endStream: body === undefined })
          let [head, answer] = ['', '']
          // The last argument: names and values in turn, in their order.
          stream.on('response', (...event: unknown[]) => {
            head = `${(event[2] as string[]).join('\n')}\n\n`
          })
          stream.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
          if (body !== undefined) stream.end(body)
          await new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject))
          return steady(head, answer)
        }),
      )
      assert.match(a ?? '', /^:status\n\d\d\d\n/)
      assert.equal(b, a)
    })
  }
}

/** What a stack answers itself, or reads in a way of its own. */
const RAW: Readonly<Record<string, string>> = {
  'no request': 'how do you do\r\n\r\n',
  'too large a head': http1('GET', '/version', [`X-Large: ${'a'.repeat(20_000)}`]),
  'HTTP/1.0': 'GET /version HTTP/1.0\r\n\r\n',
  'HTTP/1.0 that is kept, and a second request':
    'GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /version HTTP/1.0\r\n\r\n',
  'two requests at once': http1('GET', '/version', []) + http1('GET', '/v1/api'),
  HEAD: http1('HEAD', '/version'),
  'OPTIONS *': http1('OPTIONS', '*'),
  'an expectation': http1(
    'PUT',
    '/v1/key/hmac/none',
    ['Expect: 100-continue', 'Content-Length: 2', 'Connection: close'],
    '{}',
  ),
  'chunks that are none': http1(
    'PUT',
    '/v1/key/hmac/none',
    ['Transfer-Encoding: chunked'],
    'zz\r\n',
  ),
  'a length and chunks': http1(
    'PUT',
    '/v1/key/hmac/none',
    ['Transfer-Encoding: chunked', 'Content-Length: 5'],
    '0\r\n\r\n',
  ),
  'an upgrade': http1('GET', '/version', ['Connection: upgrade, close', 'Upgrade: h2c']),
  'a target in full': http1('GET', 'https://localhost/version'),
}

for (const [what, bytes] of Object.entries(RAW)) {
  test(`${what}: both stacks answer the same bytes`, async () => {
    const { key, cert } = admin
    const [a, b] = await Promise.all(
      [node, lean].map(({ port }) => talk(port, { bytes, tls: { key, cert } })),
    )
    const dateless = (text = ''): string => text.replaceAll(/^Date: [^\r]+/gm, 'Date: {date}')
    assert.match(a?.text ?? '', /^HTTP\/1\.1 \d\d\d /)
    assert.equal(dateless(b?.text), dateless(a?.text))
    assert.ok(a?.closed && b?.closed)
  })
}
