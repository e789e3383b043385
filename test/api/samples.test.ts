/**
 * The sample requests of the two older documents (samples.json), each asked of a server of its generation: they work
 * as printed, with this server's own keys, and are answered in the shape that is printed.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test, type TestContext } from 'node:test'

import { eventually } from '../support/process.ts'
import { ask, type Owner, startServer, type TestServer } from '../support/server.ts'
import { follow, openSession } from '../support/session.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

type Generation = 'v0.7' | 'v0.18'

interface Sample {
  readonly generation: Generation
  readonly section: string
  readonly method: string
  readonly path: string
  readonly body?: string
  /** Keys that exist before. */
  readonly keys?: readonly string[]
  /** What the admin asked before. */
  readonly given?: readonly { method: string; path: string; body?: string }[]
  /** It is a stream; while it goes on, the admin lists policies and asks for a key that is not there. */
  readonly follow?: true
  readonly status: number
  readonly answer?: Json
  readonly lines?: readonly Json[]
  /** Parts of an answer that is no JSON. */
  readonly includes?: readonly string[]
}

const FIELDS = 'generation section method path body keys given follow status answer lines includes'
const PLAINTEXT = 'SGVsbG8gV29ybGQhCg=='

const { samples } = JSON.parse(
  readFileSync(new URL('../../../test/api/samples.json', import.meta.url), 'utf8'),
) as { readonly samples: readonly Sample[] }

// One server for all samples of a generation: to start one takes longer than to ask it.
const shared = {
  'v0.7': await serverOf('v0.7', { after }),
  'v0.18': await serverOf('v0.18', { after }),
}

test('a sample has no field that this test does not look at', () => {
  for (const sample of samples)
    assert.deepEqual(
      Object.keys(sample).filter((name) => !FIELDS.split(' ').includes(name)),
      [],
    )
})

for (const sample of samples) {
  for (const http of ['h1', 'h2'] as const) {
    const { generation, section, method, path } = sample
    test(`${generation}, ${section}: ${method} ${path} works as printed over ${http}`, async (t) => {
      // The printed counters are those of a server that was asked for nothing yet.
      const server = section === 'Metrics' ? await serverOf(generation, t) : shared[generation]
      const { port, admin } = server
      if (section !== 'Metrics') await reset(t, server, sample.keys ?? [])
      for (const { method, path, body } of sample.given ?? []) {
        const { status } = await ask(port, admin, method, path, { ...(body && { body }) })
        assert.equal(status, 200, `${method} ${path}`)
      }
      if (sample.follow) return followSample(t, server, sample, http)
      const body = sample.body && (await fill(server, sample.body))
      const answer = await ask(port, admin, method, path, { http, ...(body && { body }) })
      assert.equal(answer.status, sample.status, answer.body)
      check(sample, answer.body, server)
      const type = String(answer.headers['content-type'] ?? '')
      if (sample.lines !== undefined) assert.equal(type, 'application/x-ndjson')
      else if (sample.answer !== undefined) assert.equal(type, 'application/json')
      else if (sample.includes === undefined) assert.equal(answer.body, '')
    })
  }
}

function serverOf(generation: Generation, owner: Owner): Promise<TestServer> {
  return startServer(owner, { config: `dialect: ${generation}\npolicy: {}` })
}

/** Whatever the samples before did: a server has these keys, and nothing else. */
async function reset(t: TestContext, server: TestServer, keys: readonly string[]): Promise<void> {
  const session = await openSession(t, server.port, server.admin)
  const ok = async (method: string, path: string): Promise<string> => {
    const { status, body } = await session.ask(method, path)
    assert.equal(status, 200, `${method} ${path}: ${body}`)
    return body
  }
  for (const [, name] of (await ok('GET', '/v1/key/list/*')).matchAll(/"name":"([^"]+)"/g))
    await ok('DELETE', `/v1/key/delete/${name}`)
  // One generation answers with an array of names, the other with lines.
  for (const [, name] of (await ok('GET', '/v1/policy/list/*')).matchAll(/"(my-[^"]+)"/g))
    await ok('DELETE', `/v1/policy/delete/${name}`)
  for (const name of keys) await ok('POST', `/v1/key/create/${name}`)
}

async function followSample(
  t: TestContext,
  server: TestServer,
  sample: Sample,
  http: 'h1' | 'h2',
): Promise<void> {
  const log = await follow(t, server.port, server.admin, sample.path, http)
  assert.equal(log.status, sample.status)
  await ask(server.port, server.admin, 'GET', '/v1/policy/list/*')
  await ask(server.port, server.admin, 'GET', '/v1/key/describe/nothing')
  const [expected] = sample.lines ?? []
  await eventually('the event arrives', () =>
    log.lines.some((line) => fits(JSON.parse(line) as Json, expected ?? null, server)),
  )
}

/** Puts ciphertexts of the server's own keys where the document has its author's. */
async function fill({ port, admin }: TestServer, body: string): Promise<string> {
  let filled = body
  for (const [place, key] of body.matchAll(/\{sealed ([\w-]+)\}/g)) {
    const plaintext = JSON.stringify({ plaintext: PLAINTEXT })
    const answer = await ask(port, admin, 'POST', `/v1/key/encrypt/${key}`, { body: plaintext })
    filled = filled.replace(place, (JSON.parse(answer.body) as { ciphertext: string }).ciphertext)
  }
  return filled
}

function check({ answer, lines, includes }: Sample, body: string, server: TestServer): void {
  const expected = lines ?? (answer === undefined ? [] : [answer])
  const given = lines === undefined ? [body] : body.trimEnd().split('\n')
  if (expected.length > 0) assert.equal(given.length, expected.length, body)
  for (const [index, each] of expected.entries()) {
    assert.ok(fits(JSON.parse(given[index] ?? '') as Json, each, server), given[index])
  }
  for (const part of includes ?? []) assert.ok(body.includes(part), `${part} in ${body}`)
}

/** Whether a value has the printed shape: all of its fields, perhaps more. */
function fits(value: Json | undefined, shape: Json, server: TestServer): boolean {
  if (typeof shape === 'string') return fitsText(value, shape, server)
  if (typeof shape !== 'object' || shape === null) return value === shape
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(shape) && (!Array.isArray(value) || value.length !== shape.length)) return false
  return Object.entries(shape).every(([name, each]) =>
    fits((value as { readonly [name: string]: Json })[name], each as Json, server),
  )
}

function fitsText(value: Json | undefined, shape: string, { admin }: TestServer): boolean {
  if (shape === '{number}') return typeof value === 'number'
  if (typeof value !== 'string') return false
  if (shape === '{text}') return value !== ''
  if (shape === '{admin}') return value === admin.identity
  if (shape === '{time}') return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value)
  const bytes = /^\{bytes(?: (\d+))?\}$/.exec(shape)
  if (bytes === null) return value === shape
  const decoded = Buffer.from(value, 'base64')
  return (
    decoded.toString('base64') === value && decoded.length === Number(bytes[1] ?? decoded.length)
  )
}
