/**
 * Every request whose answer by the Go server is on record (requests.json, one row each), asked of this server
 * over the protocols that it was observed on. An answer is the observed one, or the one that the row's
 * decision (kes-api.md) puts in its place.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'

import { COMMIT, VERSION } from '#src/version.js'
import { type Answer, ask, people, startServer } from '../support/server.ts'

interface Expected {
  readonly status: number
  /** Of the headers in COMPARED exactly these; without content-length: whatever the body has. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** Instead of `body`: what it contains, in any order. */
  readonly bodyIncludes?: readonly string[]
}

interface Row {
  readonly row: number
  readonly who: 'admin' | 'user' | 'nobody'
  /** Absent: over both. */
  readonly http?: 'h1' | 'h2'
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The client does not announce the body's length. */
  readonly noLength?: true
  /** Keys that exist before. */
  readonly given?: readonly string[]
  readonly observed: Expected
  readonly instead?: Expected & { readonly decision: string }
}

interface Table {
  readonly about: string
  readonly policies: Readonly<
    Record<string, { allow?: string[]; deny?: string[]; identities?: string[] }>
  >
  readonly requests: readonly Row[]
}

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

const table = JSON.parse(
  readFileSync(new URL('../../../test/api/requests.json', import.meta.url), 'utf8'),
) as Table

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

/** Fresh values of the placeholders of paths and bodies, of the lengths that they had when observed. */
async function placeholders(): Promise<Record<string, string>> {
  const run = randomBytes(5).toString('hex')
  const { admin, user, nobody } = await people()
  const name = (end: string): string => `cf${run}-${end}`
  const n80 = run.padStart(80, 'c')
  const numbered = Object.fromEntries(
    ['new1', 'new2', 'new3', 'new4', 'new5', 'new6', 'new7', 'new8', 'gone', 'del1', 'del2'].map(
      (end) => [end, name(end)],
    ),
  )
  const identities = Object.values(table.policies).flatMap(({ identities = [] }) => identities)
  return {
    ...numbered,
    run,
    key: name('probe'),
    n80,
    n81: `${n80}c`,
    und: `_cf${run}`,
    key32: randomBytes(32).toString('base64'),
    b1000: randomBytes(1000).toString('base64'),
    // `{"plaintext":""}` around it makes a body of 1,048,576 bytes, and of 4 more.
    plainmax: 'A'.repeat(1_048_560),
    plainbig: 'A'.repeat(1_048_564),
    admin: admin.identity,
    user: user.identity,
    nobody: nobody.identity,
    identities: JSON.stringify(
      [
        admin.identity,
        ...identities.map((text) => (text === '{user}' ? user.identity : text)),
      ].sort(),
    ),
    version: VERSION,
    commit: COMMIT,
  }
}

function expand(text: string, names: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => names[name] ?? whole)
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

/** A body with {bytes<length>}, {time}, {int} and {word} for what is different every time. */
function shape(body: string): string {
  return body
    .replace(/"(plaintext|ciphertext|hmac)":"([A-Za-z0-9+/]*={0,2})"/g, (whole, name, text) => {
      const bytes = Buffer.from(text as string, 'base64')
      return bytes.toString('base64') === text ? `"${name}":"{bytes${bytes.length}}"` : whole
    })
    .replace(
      /"created_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"/g,
      '"created_at":"{time}"',
    )
    .replace(/"(os|arch)":"\w+"/g, '"$1":"{word}"')
    .replace(/":\d+(?=[,}])/g, '":{int}')
}

function shorten(text: string): string {
  return text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length} characters)` : text
}
