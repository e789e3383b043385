import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { type AuditEvent, AuditLog } from '#src/telemetry/audit.js'
import { RUNS } from '../support/bytes.ts'
import { Lines } from '../support/sink.ts'

const EVENT: AuditEvent = {
  time: Date.UTC(2024, 2, 9, 10, 11, 12, 131),
  path: '/v1/key/create/my-key',
  ip: '127.0.0.1',
  identity: 'a'.repeat(64),
  enclave: '',
  status: 200,
  took: 1.5,
}

function written(event: Partial<AuditEvent>): string {
  const lines = new Lines()
  new AuditLog(lines.sink).write({ ...EVENT, ...event })
  return lines.text
}

test('an event is one line of JSON in the shape that the Go SDK decodes', () => {
  assert.equal(
    written({}),
    `{"time":"2024-03-09T10:11:12.131Z","request":{"ip":"127.0.0.1","path":"/v1/key/create/my-key",` +
      `"identity":"${'a'.repeat(64)}"},"response":{"code":200,"time":1500000}}\n`,
  )
})

test('an event of a caller without an identity has none', () => {
  const { request } = JSON.parse(written({ identity: '' })) as { request: object }
  assert.deepEqual(request, { ip: '127.0.0.1', path: EVENT.path })
})

test('an event of a call through a TLS proxy names both, the caller and the proxy', () => {
  const { request } = JSON.parse(written({ proxy: 'b'.repeat(64) })) as { request: object }
  assert.deepEqual(request, {
    ip: '127.0.0.1',
    path: EVENT.path,
    identity: EVENT.identity,
    proxy: 'b'.repeat(64),
  })
})

test('an event without an address has none', () => {
  const { request } = JSON.parse(written({ ip: '' })) as { request: object }
  assert.ok(!('ip' in request))
})

test('a duration is in whole nanoseconds', () => {
  const { response } = JSON.parse(written({ took: 0.123_456_7 })) as { response: { time: number } }
  assert.equal(response.time, 123_457)
})

test('an event stays one line of JSON, whatever the path is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (path) => {
      const line = written({ path })
      assert.match(line, /^[^\n\r\u2028\u2029]+\n$/)
      const event = JSON.parse(line) as { request: { path: string } }
      assert.equal(event.request.path, path)
    }),
    RUNS,
  )
})

test('without a sink and without followers nobody would see an event', () => {
  assert.equal(new AuditLog().isOn(), false)
})

test('a sink or a follower sees events', () => {
  const follower = { write: () => true, end: () => {} }
  assert.equal(new AuditLog(new Lines().sink).isOn(), true)
  const log = new AuditLog()
  log.stream.follow(follower)
  assert.equal(log.isOn(), true)
  log.stream.unfollow(follower)
  assert.equal(log.isOn(), false)
})

test('a follower gets the same line as the sink', () => {
  const lines = new Lines()
  const log = new AuditLog(lines.sink)
  const got: string[] = []
  log.stream.follow({ write: (line) => got.push(line) > 0, end: () => {} })
  log.write(EVENT)
  assert.deepEqual(got, [lines.text])
})

test('events are counted', () => {
  const log = new AuditLog(new Lines().sink)
  log.write(EVENT)
  log.write(EVENT)
  assert.equal(log.events, 2)
})

test('the time of an event is as Date writes it', () => {
  const times = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) })
  const near = fc.integer({ min: 0, max: 3000 })
  fc.assert(
    fc.property(times, fc.array(near), (start, offsets) => {
      for (const time of [start, ...offsets.map((offset) => start + offset)]) {
        const { time: text } = JSON.parse(written({ time })) as { time: string }
        assert.equal(text, new Date(time).toISOString())
      }
    }),
    RUNS,
  )
})
