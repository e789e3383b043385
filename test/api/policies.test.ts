/**
 * Who may call what: every route, by everybody, under policies as people write them for the Go server, against a plain
 * reading of its rules. No route of ours may be open to a policy that never meant it (kes-api.md, "New routes never
 * widen old rules").
 */

import assert from 'node:assert/strict'
import { connect, type ClientHttp2Session } from 'node:http2'
import { after, test } from 'node:test'

import { ROUTES } from '#src/api/index.js'
import { type Certificate, certificate } from '../support/certificates.ts'
import { eventually } from '../support/process.ts'
import { ask, startServer } from '../support/server.ts'

interface Rules {
  readonly allow?: readonly string[]
  readonly deny?: readonly string[]
}

const POLICIES: Readonly<Record<string, Rules>> = {
  minio: {
    allow: [
      '/v1/key/create/*',
      '/v1/key/generate/*',
      '/v1/key/decrypt/*',
      '/v1/key/bulk/decrypt/*',
      '/v1/key/list/*',
      '/v1/status',
      '/v1/metrics',
    ],
  },
  'all-keys': { allow: ['/v1/key/*'] },
  'no-decrypt-x': { allow: ['/v1/key/*'], deny: ['/v1/key/decrypt/x*'] },
  everything: { allow: ['*'] },
  'everything-v1': { allow: ['/v1/*'] },
  exact: { allow: ['/v1/key/create/a', '/v1/key/decrypt/xyz', '/v1/status', '/v1/key/list/'] },
  'no-encrypt-x': { allow: ['/v1/key/*'], deny: ['/v1/key/encrypt/x*'] },
  'key-admin': {
    allow: [
      '/v1/key/rotate/*',
      '/v1/key/rewrap/*',
      '/v1/key/disable/x*',
      '/v1/key/enable/xyz',
      '/v1/key/edit/*',
      '/v1/key/restore/*',
    ],
    deny: ['/v1/key/edit/x*', '/v1/key/restore/a'],
  },
  'deny-wins': { allow: ['/v1/key/create/a', '/v1/key/*'], deny: ['/v1/key/create/a'] },
  'deny-all': { allow: ['*', '/v1/status'], deny: ['*'] },
  'deny-only': { deny: ['/v1/key/delete/*'] },
  'middle-literal': { allow: ['/v1/key/*/a', '/v1/*/status', '/v1/key/cr*te/a*'] },
  'no-slash': { allow: ['/v1/key/create*', '/v1/policy/list', '/v1/identity/list*', '/v1/log*'] },
  spelt: {
    allow: [
      '/v1/policy/write/*',
      '/v1/policy/assign/*',
      '/v1/policy/delete/x*',
      '/v1/identity/assign/xyz',
      '/v1/identity/*',
      '/v1/enclave/create/*',
      '/v1/enclave/delete/*',
    ],
    deny: ['/v1/policy/assign/a', '/v1/identity/delete/x-1'],
  },
  'odd-rules': { allow: ['', 'v1/status', '/V1/status', '/v1/status/', '/v1/status?*', '**'] },
  empty: {},
}

/** A rule of the Go server, read as plainly as it can be said. */
function matches(rule: string, path: string): boolean {
  if (rule.charAt(rule.length - 1) !== '*') return rule === path
  const prefix = rule.substring(0, rule.length - 1)
  return path.substring(0, prefix.length) === prefix
}

/** Routes that are denied where their elder twin is. */
const TWINS: Readonly<Record<string, readonly string[]>> = {
  '/v1/key/bulk/decrypt/': ['/v1/key/decrypt/'],
  '/v1/key/rewrap/': ['/v1/key/decrypt/', '/v1/key/encrypt/'],
  '/v1/identity/assign/': ['/v1/policy/assign/'],
  '/v1/identity/forget/': ['/v1/identity/delete/'],
  '/v1/log/audit/trace': ['/v1/log/audit'],
  '/v1/log/error/trace': ['/v1/log/error'],
}
/** Routes that only a rule that spells them out can open. */
const ADMINISTRATIVE =
  /^\/v1\/(policy\/(write|assign|delete)|identity\/(assign|delete|forget)|enclave|key\/(rotate|enable|disable|edit|restore)|kms)\//
/** What no policy can open. */
const ADMINS = /^\/v1\/enclave\//
const ADMIN_ONLY = 'only the admin may do this'
/** What a certificate is enough for. */
const OPEN = new Set(['/version', '/v1/identity/self/describe'])

function denying({ deny = [] }: Rules, route: string, path: string): string | undefined {
  const paths = [path]
  for (const twin of TWINS[route] ?? []) paths.push(twin + path.substring(route.length))
  for (const asked of paths) for (const rule of deny) if (matches(rule, asked)) return rule
  return undefined
}

function allows(rules: Rules, route: string, path: string): boolean {
  if (OPEN.has(path)) return true
  if (ADMINS.test(path)) return false
  if (denying(rules, route, path) !== undefined) return false
  for (const rule of rules.allow ?? []) {
    const isMeant = !ADMINISTRATIVE.test(route) || rule.startsWith(route)
    if (isMeant && matches(rule, path)) return true
  }
  return false
}

/** The routes of the Go server. */
const GO_ROUTES = [
  '/version',
  '/v1/api',
  '/v1/identity/describe/',
  '/v1/identity/list/',
  '/v1/identity/self/describe',
  '/v1/key/create/',
  '/v1/key/decrypt/',
  '/v1/key/delete/',
  '/v1/key/describe/',
  '/v1/key/encrypt/',
  '/v1/key/generate/',
  '/v1/key/hmac/',
  '/v1/key/import/',
  '/v1/key/list/',
  '/v1/log/audit',
  '/v1/log/error',
  '/v1/metrics',
  '/v1/policy/describe/',
  '/v1/policy/list/',
  '/v1/policy/read/',
  '/v1/ready',
  '/v1/status',
]
const NAMES = ['a', 'xyz', 'x-1', 'other']
const MESSAGE = 'not authorized: insufficient permissions'
const NO_POLICY = 'no policy is assigned to this identity'

const members: Record<string, Certificate> = {}
for (const name of Object.keys(POLICIES)) members[name] = await certificate({ subject: name })
const policy = Object.fromEntries(
  Object.entries(POLICIES).map(([name, rules]) => [
    name,
    { ...rules, identities: [members[name]?.identity] },
  ]),
)
const server = await startServer(
  { after },
  { config: `policy: ${JSON.stringify(policy)}\nkeys: [{ name: there }]` },
)
const { port, admin, nobody } = server

function member(name: string): Certificate {
  const who = members[name]
  assert.ok(who)
  return who
}

interface Case {
  readonly route: string
  readonly method: string
  readonly path: string
}

/** Requests that reach every route, with several names where it takes one. */
const CASES: readonly Case[] = ROUTES.flatMap(({ method, path: route }) => {
  const paths = route.endsWith('/') ? NAMES.map((name) => route + name) : [route]
  if (route.endsWith('/list/')) paths.push(route, `${route}x*`)
  return paths.map((path) => ({ route, method, path }))
})

interface Outcome {
  readonly status: number
  /** Of refusals only. */
  readonly body: string
}

/** What each request comes to, one after the other on one connection. The answers of the logs never end. */
async function outcomes(who: Certificate, cases: readonly Case[]): Promise<Outcome[]> {
  const session = connect(`https://127.0.0.1:${port}`, { ...who, rejectUnauthorized: false })
  const results: Outcome[] = []
  for (const request of cases) results.push(await outcome(session, request))
  session.destroy()
  return results
}

function outcome(session: ClientHttp2Session, { method, path }: Case): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': method, ':path': path }, { endStream: false })
    let body = ''
    stream.on('error', reject)
    stream.on('response', (headers) => {
      const status = Number(headers[':status'])
      stream.on('data', (chunk) => (body += String(chunk)))
      if (status === 403) stream.on('end', () => resolve({ status, body }))
      else {
        stream.close()
        resolve({ status, body })
      }
    })
    // No JSON value: where a body is read, nothing is done.
    stream.end('[')
  })
}

test('the server has every route of the Go server', () => {
  const paths = new Set<string>(ROUTES.map(({ path }) => path))
  assert.deepEqual(
    GO_ROUTES.filter((path) => !paths.has(path)),
    [],
  )
})

test('the admin may call everything', async () => {
  const results = await outcomes(admin, CASES)
  assert.deepEqual(
    CASES.filter((_, index) => results[index]?.status === 403),
    [],
  )
})

test('who has no policy may call the version and describe himself, nothing else', async () => {
  const results = await outcomes(nobody, CASES)
  for (const [index, { path }] of CASES.entries()) {
    const { status, body } = results[index] ?? { status: 0, body: '' }
    if (OPEN.has(path)) assert.equal(status, 200, path)
    else {
      assert.deepEqual(JSON.parse(body), {
        message: MESSAGE,
        identity: nobody.identity,
        api: path,
        policy: null,
        hint: ADMINS.test(path) ? ADMIN_ONLY : NO_POLICY,
      })
    }
  }
})

for (const [name, rules] of Object.entries(POLICIES)) {
  test(`the policy '${name}' grants what its rules say, no more, and says why`, async () => {
    const who = member(name)
    const results = await outcomes(who, CASES)
    const wrong: string[] = []
    for (const [index, { route, path }] of CASES.entries()) {
      const { status, body } = results[index] ?? { status: 0, body: '' }
      const isAllowed = allows(rules, route, path)
      if (isAllowed === (status === 403)) wrong.push(`${path}: ${status}`)
      if (status !== 403) continue
      const { hint, ...rest } = JSON.parse(body)
      assert.deepEqual(rest, { message: MESSAGE, identity: who.identity, api: path, policy: name })
      if (ADMINS.test(path)) {
        assert.equal(hint, ADMIN_ONLY)
        continue
      }
      const rule = denying(rules, route, path)
      const missing = path.endsWith('/') ? `${path}*` : path
      assert.equal(
        hint,
        rule === undefined
          ? `policy '${name}' does not allow ${path}; add "${missing}"`
          : `denied by the rule "${rule}" of policy '${name}'`,
      )
    }
    assert.deepEqual(wrong, [])
  })
}

test('rules see the decoded path without its query', async () => {
  const who = member('no-decrypt-x')
  for (const path of [
    '/v1/key/decrypt/xyz?a=b',
    '/v1/key/decrypt/%78yz',
    '/v1/key/decrypt/%78%79%7a?/v1/key/create/a',
    '/v1/key/%64ecrypt/xyz',
  ]) {
    assert.equal((await ask(port, who, 'PUT', path, { body: '{}' })).status, 403, path)
  }
  assert.equal((await ask(port, who, 'PUT', '/v1/key/decrypt/y%78', { body: '{}' })).status, 404)
})

test('a path that is not clean is never judged: it is redirected', async () => {
  const who = member('no-decrypt-x')
  for (const path of [
    '/v1/key/create/../decrypt/xyz',
    '/v1/key//decrypt/xyz',
    '/v1/./key/decrypt/xyz',
  ]) {
    const { status, headers } = await ask(port, who, 'PUT', path, { body: '{}' })
    assert.equal(status, 307)
    assert.equal(headers['location'], '/v1/key/decrypt/xyz')
  }
})

test('a listing without its slash is judged as with it', async () => {
  assert.equal((await ask(port, member('exact'), 'GET', '/v1/key/list')).status, 200)
  const { status, body } = await ask(port, member('no-slash'), 'GET', '/v1/policy/list')
  assert.equal(status, 403)
  assert.match(JSON.parse(body).hint, /add "\/v1\/policy\/list\/\*"$/)
})

test('further pages of a listing are judged as the first', async (t) => {
  const rules = { allow: ['/v1/key/list/*'], deny: ['/v1/key/list/x*'] }
  const lister = await certificate({ subject: 'lister' })
  const config = { lister: { ...rules, identities: [lister.identity] } }
  const { port } = await startServer(t, { config: `policy: ${JSON.stringify(config)}` })
  for (const [path, status] of [
    ['a~ab', 200],
    ['x~xb', 403],
    ['x%7Exb', 403],
    ['~xb', 200],
    ['a~xb', 400],
  ] as const) {
    assert.equal((await ask(port, lister, 'GET', `/v1/key/list/${path}`)).status, status, path)
  }
})

test('a refusal quotes the first 256 characters of a path', async () => {
  const path = `/v1/key/create/${'a'.repeat(1000)}`
  const { status, body } = await ask(port, member('minio'), 'PUT', `${path}?${'b'.repeat(100)}`)
  assert.equal(status, 400, 'allowed, but no name')
  assert.ok(body.includes('is empty, too long'))
  for (const [who, hint] of [
    [nobody, NO_POLICY],
    [
      member('exact'),
      `policy 'exact' does not allow ${path.slice(0, 256)}; add "${path.slice(0, 256)}"`,
    ],
  ] as const) {
    const answer = JSON.parse((await ask(port, who, 'PUT', path)).body)
    assert.equal(answer.api, path.slice(0, 256))
    assert.equal(answer.hint, hint)
  }
})

test('a refusal is the same whether or not the key exists', async () => {
  const keyRoutes = ROUTES.filter(({ path }) => path.startsWith('/v1/key/') && path.endsWith('/'))
  for (const who of [nobody, member('exact'), member('deny-all'), member('empty')]) {
    for (const http of ['h1', 'h2'] as const) {
      for (const { method, path } of keyRoutes) {
        const [there, lacks] = await Promise.all(
          ['there', 'lacks'].map(async (name) => {
            const { status, headers, body } = await ask(port, who, method, path + name, { http })
            const { date: _, ...rest } = headers
            return { status, headers: { ...rest }, body: body.replaceAll(name, 'name') }
          }),
        )
        assert.equal(there?.status, 403)
        assert.deepEqual(there, lacks)
      }
    }
  }
})

test('the error log has what a refusal says', async () => {
  await ask(port, member('deny-wins'), 'PUT', '/v1/key/create/a')
  const { identity } = member('deny-wins')
  const line = await eventually('the line', () =>
    server
      .stderr()
      .split('\n')
      .findLast((line) => /req\.path=\/v1\/key\/create\/a /.test(line) && line.includes(identity)),
  )
  assert.ok(line.includes(MESSAGE) && line.includes('deny-wins'))
  assert.ok(line.includes(String.raw`denied by the rule \"/v1/key/create/a\"`), line)
})
