import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { Config } from '#src/config/config.js'
import { memory } from '#src/keystore/memory.js'
import { type KeyStore, KeyStoreError } from '#src/keystore/keystore.js'
import { openKeyStore } from '#src/server/keystore.js'
import { ErrorLog } from '#src/telemetry/log.js'
import { SIGNAL } from '../support/bytes.ts'
import { eventually } from '../support/process.ts'
import { Lines } from '../support/sink.ts'
import { FakeStore, gate } from '../support/store.ts'

const DOWN = new KeyStoreError('unreachable', 'nobody there')

interface Attempt {
  readonly opened: Promise<KeyStore>
  readonly lines: Lines
}

function attempt(
  open: () => Promise<KeyStore>,
  { tries = 1, limit = 60_000, signal = SIGNAL } = {},
): Attempt {
  const lines = new Lines()
  const log = new ErrorLog(lines.sink, { threshold: 0, format: 'text' })
  const config = { keystore: { kind: { ...memory, open }, settings: {} } } as unknown as Config
  return { opened: openKeyStore(config, { tries, limit, log, signal }), lines }
}

/** Deadlines alone do not keep a test alive. */
function awake(t: TestContext): void {
  const timer = setInterval(() => {}, 1000)
  t.after(() => clearInterval(timer))
}

test('a keystore that cannot be reached at first is tried again, and the log says so', async () => {
  const store = new FakeStore()
  let tries = 0
  const open = async (): Promise<KeyStore> => {
    if (++tries < 3) throw DOWN
    return store
  }
  const { opened, lines } = attempt(open, { tries: 3 })
  assert.equal(await opened, store)
  assert.match(lines.text, /level=WARN msg=".*try 1 of 3: nobody there"\n.*try 2 of 3/)
})

test('a keystore that cannot be reached after all tries is an error that names it', async () => {
  const { opened } = attempt(() => Promise.reject(DOWN), { tries: 2 })
  await assert.rejects(opened, {
    name: 'KeyStoreError',
    message: /^keystore memory \(in memory.*\): nobody there$/,
  })
})

test('a keystore that denies is not tried again', async () => {
  let tries = 0
  const open = async (): Promise<KeyStore> => {
    tries++
    throw new KeyStoreError('denied', 'go away')
  }
  await assert.rejects(attempt(open, { tries: 5 }).opened, /go away/)
  assert.equal(tries, 1)
})

test('a keystore that opens and does not answer is closed again', async () => {
  const stores: FakeStore[] = []
  const open = async (): Promise<KeyStore> => {
    const store = new FakeStore()
    store.failure = DOWN
    stores.push(store)
    return store
  }
  await assert.rejects(attempt(open, { tries: 2 }).opened, /nobody there/)
  assert.deepEqual(
    stores.map(({ isClosed }) => isClosed),
    [true, true],
  )
})

test('a keystore that takes longer than allowed is given up, and closed when it opens after all', async (t) => {
  awake(t)
  const store = new FakeStore()
  const { passed, open } = gate()
  const late = passed.then(() => store)
  await assert.rejects(attempt(() => late, { limit: 100 }).opened, /no answer within 0\.1 s/)
  assert.equal(store.isClosed, false)
  open()
  await eventually('it is closed', () => store.isClosed)
})

test('whoever has no more use for a keystore need not wait for it', async () => {
  const aborter = new AbortController()
  const store = new FakeStore()
  store.gate = new Promise(() => {})
  const { opened } = attempt(async () => store, { signal: aborter.signal })
  const refused = assert.rejects(opened, /enough/)
  await eventually('it is asked', () => store.calls.status === 1)
  aborter.abort(new Error('enough'))
  await refused
  assert.equal(store.isClosed, true)
})
