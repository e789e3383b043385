/**
 * Every request whose answer by the Go server is on record (requests.json, one row each), asked of this server
 * over the protocols that it was observed on. An answer is the observed one, or the one that the row's
 * decision (kes-api.md) puts in its place.
 */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'

import { type Answer, ask, startServer } from '../support/server.ts'
import { openSession } from '../support/session.ts'
import { expand, type Expected, placeholders, shape, table } from '../support/table.ts'

const ROWS = 151
const FIELDS = [
  'row',
  'who',
  'http',
  'method',
  'path',
  'headers',
  'body',
  'noLength',
  'given',
  'observed',
  'instead',
]
const COMPARED = [
  'content-length',
  'content-type',
  'accept',
  'allow',
  'location',
  'x-content-type-options',
]

// One server for all rows: to start one takes longer than to ask it.
const names = await placeholders()
const server = await startServer({ after }, { config: `policy: ${JSON.stringify(policies())}` })
const session = await openSession({ after }, server.port, server.admin)

test('every row of the table has an observed answer, and a decision where ours differs', () => {
  assert.deepEqual(
    table.requests.map(({ row }) => row),
    Array.from({ length: ROWS }, (_, index) => index + 1),
  )
  for (const row of table.requests) {
    const where = `row ${row.row}`
    assert.deepEqual(
      Object.keys(row).filter((name) => !FIELDS.includes(name)),
      [],
      where,
    )
    assert.ok(isAnswer(row.observed), where)
    if (row.instead === undefined) {
      assert.ok(
        !/\.\.\. \(\d+ bytes\)$/.test(row.observed.body ?? ''),
        `${where}: cut, not compared`,
      )
      continue
    }
    assert.ok(isAnswer(row.instead) && row.instead.decision.length > 10, where)
    const { decision: _, ...instead } = row.instead
    assert.notDeepEqual(instead, row.observed, `${where}: the decision changes nothing`)
  }
})

function isAnswer({ status, headers, body, bodyIncludes }: Expected): boolean {
  const length = headers['content-length']
  const hasBody = (body === undefined) !== (bodyIncludes === undefined)
  return status >= 200 && hasBody && (length === undefined || /^\d+$/.test(length))
}

for (const row of table.requests) {
  for (const http of row.http === undefined ? (['h1', 'h2'] as const) : [row.http]) {
    const { status } = row.instead ?? row.observed
    test(`row ${row.row}: ${row.method} ${row.path} by ${row.who} over ${http} is ${status}`, async (t) => {
      await reset(row.given ?? [])
      // What it counts was observed of one that nobody had asked for anything.
      const { port } = row.path === '/v1/metrics' ? await startServer(t) : server
      const answer = await ask(port, server[row.who], row.method, fill(row.path), {
        http,
        ...(row.body !== undefined && { body: fill(row.body) }),
        ...(row.noLength && { chunked: true }),
        ...(row.headers && { headers: row.headers }),
      })
      compare(answer, row.instead ?? row.observed)
    })
  }
}

for (const http of ['h1', 'h2'] as const) {
  test(`/v1/api is sorted by path over ${http}`, async () => {
    const { port, admin } = server
    const routes = JSON.parse((await ask(port, admin, 'GET', '/v1/api', { http })).body) as {
      path: string
    }[]
    const paths = routes.map(({ path }) => path)
    assert.deepEqual(paths, paths.toSorted())
  })
}

function fill(text: string): string {
  return expand(text, names)
}

function policies(): typeof table.policies {
  return JSON.parse(fill(JSON.stringify(table.policies))) as typeof table.policies
}

/** Whatever the rows before did: the server has the policies of the table and the keys of a row, and nothing else. */
async function reset(given: readonly string[]): Promise<void> {
  const keys = given.map(fill)
  const there = await list('/v1/key/list/')
  for (const name of there) if (!keys.includes(name)) await done('DELETE', `/v1/key/delete/${name}`)
  for (const name of keys) if (!there.includes(name)) await done('PUT', `/v1/key/create/${name}`)
  for (const name of await list('/v1/policy/list/'))
    if (!(name in table.policies)) await done('DELETE', `/v1/policy/delete/${name}`)
}

async function list(path: string): Promise<string[]> {
  return (JSON.parse(await done('GET', path)) as { readonly names: string[] }).names
}

async function done(method: string, path: string): Promise<string> {
  const { status, body } = await session.ask(method, path)
  assert.equal(status, 200, `${method} ${path}: ${body}`)
  return body
}

function compare(answer: Answer, expected: Expected): void {
  const { status, headers, body, bodyIncludes } = expected
  const length = headers['content-length']
  const hasFixedLength = length !== undefined && !/\{(?:time|int|word)\}/.test(body ?? '')
  const wanted: Record<string, string> = {
    ...headers,
    'content-length': hasFixedLength ? length : String(Buffer.byteLength(answer.body)),
  }
  const given: Record<string, unknown> = {}
  for (const name of new Set([...COMPARED, ...Object.keys(wanted)])) {
    if (answer.headers[name] !== undefined) given[name] = answer.headers[name]
  }
  const actual = shape(answer.body)
  // One comparison, so that a failure shows the whole answer.
  assert.deepEqual(
    { status: answer.status, headers: given, body: shorten(actual) },
    { status, headers: wanted, body: shorten(body === undefined ? actual : fill(body)) },
  )
  for (const part of bodyIncludes ?? []) assert.ok(answer.body.includes(part), part)
}

function shorten(text: string): string {
  return text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length} characters)` : text
}
