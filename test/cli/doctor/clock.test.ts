import assert from 'node:assert/strict'
import { test } from 'node:test'

import { askClock, clockAhead, judgeClock } from '#src/cli/doctor/clock.js'
import { SIGNAL } from '../../support/bytes.ts'
import { deadPort, http1Peer, tcpPeer } from '../../support/peers.ts'

test('clocks that are half a minute apart are a warning, five minutes a failure, both ways', () => {
  assert.equal(judgeClock('the server', 29_999).level, 'ok')
  assert.equal(judgeClock('the server', -29_999).level, 'ok')
  const ahead = judgeClock('the server', 95_000)
  assert.deepEqual(
    [ahead.level, ahead.what],
    ['warn', 'the server is 1m 35s ahead of this machine'],
  )
  const behind = judgeClock('the server', -300_000)
  assert.deepEqual([behind.level, behind.what], ['fail', 'the server is 5m behind this machine'])
})

test('the time of an answer lies between the question and the answer', () => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const then = Date.parse(date)
  assert.equal(clockAhead(date, then, then + 1000), 0)
  assert.equal(clockAhead(date, then - 60_000, then - 59_000), 60_000)
  assert.equal(clockAhead(undefined, then, then), undefined)
  assert.equal(clockAhead('yesterday', then, then), undefined)
})

test('a server tells its time with whatever it answers, and whoever signed its certificate', async (t) => {
  const peer = await http1Peer(t, (response) => {
    response.writeHead(403, { date: new Date(Date.now() + 3_600_000).toUTCString() }).end()
  })
  const ahead = await askClock(new URL(peer.url), SIGNAL)
  assert.ok(ahead !== undefined && Math.abs(ahead - 3_600_000) < 60_000, String(ahead))
})

test('nobody, and somebody who speaks no HTTP, tell no time', async (t) => {
  const mute = await tcpPeer(t, (socket) => socket.end('hello'))
  for (const port of [mute.port, await deadPort(t)]) {
    assert.equal(await askClock(new URL(`https://127.0.0.1:${port}`), SIGNAL), undefined)
    assert.equal(await askClock(new URL(`http://127.0.0.1:${port}`), SIGNAL), undefined)
  }
})
