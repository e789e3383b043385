import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { ROUTES } from '#src/api/index.js'
import { checkMethod, cleanPath, redirect, Router } from '#src/api/router.js'

const router = new Router(ROUTES.map((route) => ({ route, skipAuth: false, timeout: 0 })))

function matched(method: string, path: string): [operation: string, param: string] {
  const match = router.find(path)
  assert.ok(match, `${path} has no route`)
  checkMethod(match.served.route, method, 'current')
  return [match.served.route.operation, match.param]
}

for (const { method, path, operation } of ROUTES) {
  test(`${method} ${path} is ${operation}`, () => {
    if (path.endsWith('/')) assert.deepEqual(matched(method, `${path}x`), [operation, 'x'])
    else assert.deepEqual(matched(method, path), [operation, ''])
  })
}

test('POST is taken wherever PUT is', () => {
  assert.deepEqual(matched('POST', '/v1/key/create/a'), ['key:create', 'a'])
})

test('a parameter may be empty', () => {
  assert.deepEqual(matched('PUT', '/v1/key/create/'), ['key:create', ''])
})

test('a parameter is all that follows, slashes too', () => {
  assert.deepEqual(matched('PUT', '/v1/key/create/a/b/'), ['key:create', 'a/b/'])
})

test('a listing may lack its final slash', () => {
  for (const noun of ['key', 'policy', 'identity'])
    assert.deepEqual(matched('GET', `/v1/${noun}/list`), [`${noun}:list`, ''])
})

test('a path of no route is not found', () => {
  const paths = [
    '/',
    '/v1',
    '/v1/nothing',
    '/version/',
    '/v1/key/',
    '/v1/key/x/a',
    '/V1/status',
    '',
  ]
  for (const path of [...paths, '/v1/status/', '/v1/identity/self/describe/', '/v1/key/create'])
    assert.equal(router.find(path), undefined)
})

test('a wrong method is told which one is right, in Accept and in Allow', () => {
  assert.throws(() => matched('POST', '/v1/status'), {
    status: 405,
    message: "received method 'POST' expected 'GET'",
    headers: { accept: 'GET', allow: 'GET' },
  })
  assert.throws(() => matched('GET', '/v1/key/create/a'), {
    status: 405,
    message: "received method 'GET' expected 'PUT'",
    headers: { accept: 'PUT', allow: 'PUT, POST' },
  })
})

test('HEAD is no GET', () => {
  assert.throws(() => matched('HEAD', '/v1/ready'), { code: 'BAD_METHOD' })
})

test('a route without its final slash lacks it', () => {
  assert.equal(router.lacksSlash('/v1/key/create'), true)
  assert.equal(router.lacksSlash('/v1/key/create/'), false)
  assert.equal(router.lacksSlash('/v1/status'), false)
  assert.equal(router.lacksSlash('/v1/nothing'), false)
})

const CLEANED: readonly [path: string, clean: string][] = [
  ['/v1//status', '/v1/status'],
  ['//v1/status', '/v1/status'],
  ['/v1/key/create/../x', '/v1/key/x'],
  ['/v1/./status', '/v1/status'],
  ['/..', '/'],
  ['/../../v1', '/v1'],
  ['/v1/.', '/v1'],
  ['/v1/key/..', '/v1'],
  ['/v1/key//', '/v1/key/'],
  ['//', '/'],
]

for (const [path, clean] of CLEANED) {
  test(`${path} is ${clean}`, () => {
    assert.equal(cleanPath(path), clean)
  })
}

for (const path of [
  '/',
  '/v1/status',
  '/v1/key/create/',
  '/v1/.a',
  '/v1/a..',
  '/v1/...',
  '/%2e%2e/',
]) {
  test(`${path} is clean`, () => {
    assert.equal(cleanPath(path), path)
  })
}

const segments = fc.array(fc.constantFrom('', '.', '..', '...', 'a', 'b.', '.c', '%2e'), {
  maxLength: 8,
})

test('a clean path stays as it is', () => {
  fc.assert(
    fc.property(segments, (parts) => {
      const clean = cleanPath(`/${parts.join('/')}`)
      assert.equal(cleanPath(clean), clean)
    }),
    { numRuns: 500 },
  )
})

test('a clean path begins with one slash and has no segment to resolve', () => {
  fc.assert(
    fc.property(segments, (parts) => {
      const clean = cleanPath(`/${parts.join('/')}`)
      assert.match(clean, /^\/(?!\/)/)
      const inner = clean.slice(1).replace(/\/$/, '')
      for (const part of inner === '' ? [] : inner.split('/'))
        assert.ok(!['', '.', '..'].includes(part), clean)
    }),
    { numRuns: 500 },
  )
})

test('a GET is redirected with a page', () => {
  assert.deepEqual(redirect('GET', '/v1/status'), {
    status: 307,
    headers: { location: '/v1/status' },
    type: 'text/html; charset=utf-8',
    body: '<a href="/v1/status">Temporary Redirect</a>.\n\n',
  })
})

test('a PUT is redirected without a page', () => {
  const reply = redirect('PUT', '/v1/key/create/')
  assert.deepEqual(reply, { status: 307, headers: { location: '/v1/key/create/' } })
})

test('a redirect’s page cannot be broken out of', () => {
  const { body } = redirect('GET', '/"><script>&\'')
  assert.equal(body, '<a href="/&#34;&#62;&#60;script&#62;&#38;&#39;">Temporary Redirect</a>.\n\n')
})
