/**
 * Every request whose answer by the Go server is on record (requests.json, one row each), asked of this server
 * over the protocols that it was observed on. An answer is the observed one, or the one that the row's
 * decision (kes-api.md) puts in its place.
 */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { type Answer, ask, startServer, WORKERS } from '../support/server.ts'
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

/** Servers of several processes take a second each to start: over one protocol each row is asked there. */
const PROTOCOLS = WORKERS > 1 ? (['h2'] as const) : (['h1', 'h2'] as const)

for (const row of table.requests) {
  for (const http of row.http === undefined ? PROTOCOLS : [row.http]) {
    const { status } = row.instead ?? row.observed
    test(`row ${row.row}: ${row.method} ${row.path} by ${row.who} over ${http} is ${status}`, async (t) => {
      const names = await placeholders()
      const fill = (text: string): string => expand(text, names)
      const { port, [row.who]: who } = await serverOf(t, row.given ?? [], fill)
      const answer = await ask(port, who, row.method, fill(row.path), {
        http,
        ...(row.body !== undefined && { body: fill(row.body) }),
        ...(row.noLength && { chunked: true }),
        ...(row.headers && { headers: row.headers }),
      })
      compare(answer, row.instead ?? row.observed, fill)
    })
  }
}

for (const http of ['h1', 'h2'] as const) {
  test(`/v1/api is sorted by path over ${http}`, async (t) => {
    const { port, admin } = await startServer(t)
    const routes = JSON.parse((await ask(port, admin, 'GET', '/v1/api', { http })).body) as {
      path: string
    }[]
    const paths = routes.map(({ path }) => path)
    assert.deepEqual(paths, paths.toSorted())
  })
}

async function serverOf(
  t: TestContext,
  given: readonly string[],
  fill: (text: string) => string,
): ReturnType<typeof startServer> {
  // JSON is YAML, too.
  const keys = JSON.stringify(given.map((name) => ({ name: fill(name) })))
  return startServer(t, {
    config: `policy: ${fill(JSON.stringify(table.policies))}\nkeys: ${keys}`,
  })
}

function compare(answer: Answer, expected: Expected, fill: (text: string) => string): void {
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
