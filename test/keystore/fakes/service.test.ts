import assert from 'node:assert/strict'
import { test } from 'node:test'

import { HttpClient } from '#src/keystore/http.js'
import { SIGNAL } from '../../support/bytes.ts'
import { FakeService } from './service.ts'

test('a request that a fake does not expect fails the test that made it', async () => {
  const ends: (() => unknown)[] = []
  const owner = { after: (end: () => unknown) => void ends.push(end) }
  const fake = await FakeService.start(owner, ({ path }) => {
    assert.equal(path, '/expected')
    return { status: 200, json: {} }
  })
  const http = new HttpClient({ endpoints: [fake.url], tls: { ca: fake.ca } })
  const ask = (path: string) => http.request({ method: 'GET', path, signal: SIGNAL })
  assert.equal((await ask('/expected')).status, 200)
  assert.equal((await ask('/other')).status, 418)
  http.close()
  assert.throws(() => {
    for (const end of ends) end()
  }, /GET \/other .*'\/other'/s)
})
