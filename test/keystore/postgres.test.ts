import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import type { KeyStore } from '#src/keystore/keystore.js'
import { Connections } from '#src/keystore/postgres/connections.js'
import { STEPS, Table } from '#src/keystore/postgres/table.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { ChaosProxy } from '../support/chaos-proxy.ts'
import { PASSWORD, settingsOf, TestPostgres } from '../support/postgres.ts'
import { eventually } from '../support/process.ts'
import { openStore, type StoreConfig } from '../support/stores.ts'
import { without } from '../support/tools.ts'
import { keyStoreContract } from './contract.ts'

const skip = without('initdb')
const server = (skip === false ? await TestPostgres.start({ after }) : undefined) as TestPostgres

keyStoreContract('postgres', async (t) => openStore(t, server.config()), {
  skip,
  shared: async () => server.config(),
})

/** A keystore that reaches the server through a proxy. */
async function proxied(
  t: TestContext,
  { kind, settings }: StoreConfig = server.config(),
): Promise<{ proxy: ChaosProxy; store: KeyStore }> {
  const proxy = await ChaosProxy.start(t, { port: server.port })
  const port = String(proxy.port)
  return { proxy, store: await openStore(t, { kind, settings: { ...settings, port } }) }
}

async function eventuallyAsync(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(5)
}

function tableOf({ settings }: StoreConfig): string {
  return String(settings['table'])
}

const keysOf = async (config: StoreConfig) =>
  server.sql(`SELECT * FROM ${tableOf(config)} WHERE name >= '-' ORDER BY name`, 'kes')

test('a key is one row: its name and its value as they are', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  const [row, ...others] = await keysOf(config)
  assert.deepEqual(row?.['name'], bytes('my-key'))
  assert.deepEqual(row['value'], bytes('value'))
  assert.ok(row['created_at'] instanceof Date)
  assert.deepEqual(others, [])
})

test('a URL can say it all', { skip }, async (t) => {
  const { settings } = server.config()
  const user = `kes:${encodeURIComponent(PASSWORD)}`
  const url = `postgres://${user}@127.0.0.1:${server.port}/kes?sslmode=disable`
  const store = await openStore(t, {
    kind: 'postgres',
    settings: { url, table: settings['table'] },
  })
  await store.status(SIGNAL)
})

test('the directory of the server’s socket is a host', { skip }, async (t) => {
  const store = await openStore(t, server.config({ host: server.directory }))
  await store.status(SIGNAL)
})

test('a table in a schema of its own is made there', { skip }, async (t) => {
  await server.sql('CREATE SCHEMA vault AUTHORIZATION kes', 'kes')
  const store = await openStore(t, server.config({ table: 'vault.my_keys' }))
  await store.create('my-key', bytes('value'), SIGNAL)
  const rows = await server.sql("SELECT * FROM vault.my_keys WHERE name >= '-'", 'kes')
  assert.equal(rows.length, 1)
})

test('rows that others put into the table do not disturb a listing', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  await server.sql(
    `INSERT INTO ${tableOf(config)} VALUES ('\\x00ff', ''), ('a b', ''), ('\\xc3a4', '')`,
    'kes',
  )
  const { names } = await store.list({ prefix: '', from: '' }, 10, SIGNAL)
  assert.deepEqual(names, ['my-key'])
})

// What is wrong, and what to do about it.

async function refused(config: StoreConfig, failure: string, message: RegExp): Promise<void> {
  const ends: (() => unknown)[] = []
  const owner = { after: (end: () => unknown) => void ends.push(end) }
  await assert.rejects(openStore(owner, config), { name: 'KeyStoreError', failure, message })
}

test('a wrong password is denied', { skip }, async () => {
  const config = server.config({ password: 'wrong' })
  await refused(
    config,
    'denied',
    /password authentication failed for user "kes"; check keystore.postgres.password/,
  )
})

test('no password is denied, and pg’s environment is not looked at', { skip }, async (t) => {
  process.env['PGPASSWORD'] = PASSWORD
  t.after(() => delete process.env['PGPASSWORD'])
  const { password: _, ...settings } = server.config().settings
  await refused({ kind: 'postgres', settings }, 'denied', /set keystore.postgres.password/)
})

test('a database that does not exist is an error that says how to make it', { skip }, async () => {
  await refused(server.config({ database: 'nope' }), 'failed', /CREATE DATABASE "nope"/)
})

test('nobody at the port is unreachable', { skip }, async () => {
  const message = /^127\.0\.0\.1:1: no connection: .*ECONNREFUSED/
  await refused(server.config({ port: '1' }), 'unreachable', message)
})

test('a name that nobody has is unreachable', { skip }, async () => {
  const host = { host: 'nobody.invalid', tls: { mode: 'disable' } }
  await refused(server.config(host), 'unreachable', /^nobody\.invalid:\d+: no connection/)
})

test('a server without TLS is an error that says what to set', { skip }, async () => {
  const config = server.config({ tls: { mode: 'require' } })
  await refused(config, 'failed', /does not offer TLS: .* keystore\.postgres\.tls\.mode to disable/)
})

test('a user who may not make the table is told what to grant', { skip }, async (t) => {
  await server.sql(`CREATE ROLE poor LOGIN PASSWORD '${PASSWORD}'`)
  const config = server.config({ user: 'poor' })
  const advice = new RegExp(
    `the user "poor" may not make or change the table keys_\\d+: GRANT CREATE ON SCHEMA public TO "poor"; ` +
      `or let its owner run: (CREATE TABLE .*); (GRANT SELECT, INSERT, DELETE ON keys_\\d+ TO "poor")$`,
  )
  await refused(config, 'denied', advice)

  // The advice is good.
  const [, create = '', grant = ''] = advice.exec(await messageOf(openStore(t, config))) ?? []
  await server.sql(create, 'kes')
  await refused(config, 'denied', /GRANT SELECT ON keys_\d+ TO "poor"$/)
  await server.sql(grant, 'kes')
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  await store.delete('my-key', SIGNAL)
})

async function messageOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => assert.fail('it works'),
    (error: Error) => error.message,
  )
}

test('each right that is missing is named', { skip }, async (t) => {
  const config = server.config()
  await openStore(t, config)
  const name = `reader_${tableOf(config)}`
  await server.sql(`CREATE ROLE ${name} LOGIN PASSWORD '${PASSWORD}'`)
  await server.sql(`GRANT SELECT ON ${tableOf(config)} TO ${name}`, 'kes')
  const settings = { ...config.settings, user: name }
  const store = await openStore(t, { kind: 'postgres', settings })
  await store.status(SIGNAL)
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), {
    failure: 'denied',
    message: /GRANT INSERT ON keys_\d+ TO "reader_keys_\d+"$/,
  })
  await assert.rejects(store.delete('my-key', SIGNAL), {
    failure: 'denied',
    message: /GRANT DELETE ON/,
  })
  await server.sql(`REVOKE SELECT ON ${tableOf(config)} FROM ${name}`, 'kes')
  const denied = { failure: 'denied', message: /GRANT SELECT ON/ }
  await assert.rejects(store.get('my-key', SIGNAL), denied)
  await assert.rejects(store.list({ prefix: '', from: '' }, 10, SIGNAL), denied)
  await assert.rejects(store.status(SIGNAL), denied)
})

test('a table that is gone is damage, not a missing key', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await server.sql(`DROP TABLE ${tableOf(config)}`, 'kes')
  const gone = { name: 'KeyStoreError', failure: 'failed', message: /the table keys_\d+ is gone/ }
  await assert.rejects(store.get('my-key', SIGNAL), gone)
  await assert.rejects(store.status(SIGNAL), gone)
})

test('too many connections are unreachable', { skip }, async (t) => {
  const name = 'crowd'
  await server.sql(`CREATE ROLE ${name} LOGIN PASSWORD '${PASSWORD}' CONNECTION LIMIT 0`)
  t.after(() => server.sql(`DROP ROLE ${name}`))
  await refused(server.config({ user: name }), 'unreachable', /too many connections for role/)
})

test('a server that takes only reads is said to be a standby', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await server.sql("ALTER ROLE kes SET default_transaction_read_only = 'on'")
  t.after(() => server.sql('ALTER ROLE kes RESET default_transaction_read_only'))
  const reader = await openStore(t, config)
  await assert.rejects(reader.create('my-key', bytes('value'), SIGNAL), {
    failure: 'failed',
    message: /read-only transaction; is it a standby\?/,
  })
  await store.create('my-key', bytes('value'), SIGNAL)
})

test('after a failover the connections to the old primary are replaced', { skip }, async (t) => {
  await server.sql("ALTER ROLE kes SET default_transaction_read_only = 'on'")
  const config = server.config()
  await server.sql(STEPS[0]!(tableOf(config)), 'kes')
  await server.sql(`GRANT ALL ON ${tableOf(config)} TO kes`, 'kes')
  const store = await openStore(t, config)
  await server.sql('ALTER ROLE kes RESET default_transaction_read_only')
  await store.create('my-key', bytes('value'), SIGNAL)
})

// The table.

async function prepare(t: TestContext, config: StoreConfig, steps: typeof STEPS): Promise<void> {
  const connections = await Connections.load(settingsOf(config))
  t.after(() => connections.close())
  await new Table(tableOf(config)).prepare(connections, SIGNAL, steps)
}

const LATER_STEPS: typeof STEPS = [
  ...STEPS,
  (table) => `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS remark text`,
]

test('an older table is brought up to date, with its keys', { skip }, async (t) => {
  const config = server.config()
  const store = await openStore(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  await prepare(t, config, LATER_STEPS)
  await prepare(t, config, LATER_STEPS)
  const [row] = await keysOf(config)
  assert.deepEqual(Object.keys(row ?? {}), ['name', 'value', 'created_at', 'remark'])
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
})

test('servers that bring a table up to date side by side all succeed', { skip }, async (t) => {
  const config = server.config()
  await Promise.all(Array.from({ length: 6 }, () => prepare(t, config, LATER_STEPS)))
})

test('a table of a newer release is refused', { skip }, async (t) => {
  const config = server.config()
  await prepare(t, config, LATER_STEPS)
  await refused(config, 'failed', /made by a newer release \(version 2; this one knows 1\)/)
})

// Connections that are lost.

test('a request on connections that died is answered over a new one', { skip }, async (t) => {
  const { proxy, store } = await proxied(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  const reads = Array.from({ length: 10 }, () => store.get('my-key', SIGNAL))
  await Promise.all(reads)
  proxy.cut()
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
})

test('a create whose answer was lost is not taken for somebody else’s', { skip }, async (t) => {
  const config = server.config()
  const { proxy, store } = await proxied(t, config)
  // The answer waits in the proxy; the row is there; then the connection is cut.
  const created = answerLost(
    proxy,
    () => store.create('my-key', bytes('value'), SIGNAL),
    async () => (await keysOf(config)).length === 1,
  )
  await created
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  await assert.rejects(store.create('my-key', bytes('value'), SIGNAL), { code: 'KEY_EXISTS' })
})

test('a create that lost its answer and its race has lost', { skip }, async (t) => {
  const config = server.config()
  const { proxy, store } = await proxied(t, config)
  await store.create('my-key', bytes('first'), SIGNAL)
  await proxy.become('hang')
  const created = store.create('my-key', bytes('second'), SIGNAL)
  await eventually('the statement is on its way', () => proxy.held > 0)
  proxy.cut()
  await proxy.become('pass')
  await assert.rejects(created, { code: 'KEY_EXISTS' })
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'first')
})

test('a delete whose answer was lost has deleted', { skip }, async (t) => {
  const config = server.config()
  const { proxy, store } = await proxied(t, config)
  await store.create('my-key', bytes('value'), SIGNAL)
  await answerLost(
    proxy,
    () => store.delete('my-key', SIGNAL),
    async () => (await keysOf(config)).length === 0,
  )
  await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
})

/** Does `work` while answers do not come through, and loses the connection once it `isDone`. */
async function answerLost(
  proxy: ChaosProxy,
  work: () => Promise<void>,
  isDone: () => Promise<boolean>,
): Promise<void> {
  await proxy.become('mute')
  const outcome = work()
  await eventuallyAsync(isDone)
  proxy.cut()
  await proxy.become('pass')
  await outcome
}

test(
  'a statement that waits ends with its signal, and so does its connection',
  { skip },
  async (t) => {
    const config = server.config()
    const { proxy, store } = await proxied(t, config)
    const blocker = await server.connect('kes')
    t.after(() => blocker.end())
    await blocker.query(`BEGIN; LOCK TABLE ${tableOf(config)} IN ACCESS EXCLUSIVE MODE`)
    const aborter = new AbortController()
    const reading = store.get('my-key', aborter.signal)
    await eventuallyAsync(async () => {
      const waiting =
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
      return (await server.sql(`${waiting} '%${tableOf(config)}%'`)).length === 1
    })
    aborter.abort(new Error('enough'))
    await assert.rejects(reading, /enough/)
    await eventually('its connection is closed', () => proxy.connections === 0)
    await blocker.query('ROLLBACK')
    await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  },
)

test('the server ends a statement that nobody waits for any more', { skip }, async (t) => {
  const config = server.config()
  const connections = await Connections.load(settingsOf(config))
  t.after(() => connections.close())
  const statement = { text: 'SHOW statement_timeout', right: 'SELECT' } as const
  const { rows } = await connections.run(statement, [], SIGNAL)
  assert.equal(String(rows[0]?.[0]), '10s')
})

test('more calls than connections wait for each other', { skip }, async (t) => {
  const store = await openStore(t, server.config({ pool: { max: '2' } }))
  await store.create('my-key', bytes('value'), SIGNAL)
  const reads = Array.from({ length: 100 }, () => store.get('my-key', SIGNAL))
  assert.equal((await Promise.all(reads)).length, 100)
  const [{ count } = { count: undefined }] = await server.sql(
    "SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = 'openkes'",
  )
  assert.ok(Number(count) >= 1)
})

test('a closed keystore has no connection', { skip }, async (t) => {
  const proxy = await ChaosProxy.start(t, { port: server.port })
  const closedByTest = { after: () => {} }
  const store = await openStore(closedByTest, server.config({ port: String(proxy.port) }))
  await Promise.all(Array.from({ length: 5 }, () => store.status(SIGNAL)))
  assert.ok(proxy.connections > 1)
  await store.close()
  await eventually('all connections are closed', () => proxy.connections === 0)
})

test('neither the keystore nor its errors show the password', { skip }, async (t) => {
  const config = server.config()
  const settings = settingsOf(config)
  const connections = await Connections.load(settings)
  t.after(() => connections.close())
  await connections.run({ text: 'SELECT 1', right: 'SELECT' }, [], SIGNAL)
  const shown = inspect([connections, settings], { depth: 20, showHidden: true })
  assert.ok(!shown.includes(PASSWORD))
  const error: unknown = await openStore(t, server.config({ database: 'nope' })).catch(
    (thrown) => thrown,
  )
  assert.ok(!inspect(error, { depth: 20, showHidden: true }).includes(PASSWORD))
})
