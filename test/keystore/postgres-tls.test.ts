import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'

import { bytes, SIGNAL } from '../support/bytes.ts'
import { certificate } from '../support/certificates.ts'
import { TestPostgres } from '../support/postgres.ts'
import { tempDir } from '../support/server.ts'
import { openStore } from '../support/stores.ts'
import { without } from '../support/tools.ts'

const skip = without('initdb')

const ca = await certificate({ subject: 'ca', ca: true, usages: [] })
const cast = {
  ca,
  otherCa: await certificate({ subject: 'other ca', ca: true, usages: [] }),
  server: await certificate({ subject: 'db', issuer: ca, ip: ['127.0.0.1'], dns: ['db.test'] }),
  client: await certificate({ subject: 'certified', issuer: ca }),
  stranger: await certificate({ subject: 'certified' }),
}
const directory = tempDir({ after })
const path = (name: string): string => join(directory, name)
for (const [name, { cert, key }] of Object.entries(cast)) {
  writeFileSync(path(`${name}.crt`), cert)
  writeFileSync(path(`${name}.key`), key)
}
const server = (
  skip === false ? await TestPostgres.start({ after }, { tls: cast }) : undefined
) as TestPostgres

async function works(
  t: TestContext,
  tls: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const store = await openStore(t, server.config({ tls, ...more }))
  await store.create('my-key', bytes('value'), SIGNAL)
  assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
}

async function fails(
  t: TestContext,
  tls: Readonly<Record<string, string>>,
  expected: { failure: string; message: RegExp },
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  await assert.rejects(openStore(t, server.config({ tls, ...more })), expected)
}

test('with its CA the server is trusted', { skip }, (t) =>
  works(t, { mode: 'verify-full', ca: path('ca.crt') }),
)

test('a connection is encrypted', { skip }, async (t) => {
  const store = await openStore(
    t,
    server.config({ tls: { mode: 'verify-full', ca: path('ca.crt') } }),
  )
  await store.status(SIGNAL)
  const rows = await server.sql(
    "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'openkes'",
  )
  assert.match(String(rows[0]?.['version']), /^TLSv1\.[23]$/)
})

test('without its CA the server is not trusted, which is an error that says so', { skip }, (t) =>
  fails(t, { mode: 'verify-full' }, { failure: 'failed', message: /not trusted: .*tls\.ca/ }),
)

test('with another CA the server is not trusted', { skip }, (t) =>
  fails(
    t,
    { mode: 'verify-ca', ca: path('otherCa.crt') },
    { failure: 'failed', message: /its certificate is not trusted/ },
  ),
)

test('a certificate for other names is not trusted', { skip }, (t) =>
  fails(
    t,
    { mode: 'verify-full', ca: path('ca.crt') },
    { failure: 'failed', message: /not trusted: .*does not match certificate's altnames/ },
    { host: 'localhost' },
  ),
)

test('verify-ca does not look at the name', { skip }, (t) =>
  works(t, { mode: 'verify-ca', ca: path('ca.crt') }, { host: 'localhost' }),
)

test('require trusts anybody', { skip }, (t) => works(t, { mode: 'require' }))

test('a CA file that is not there is named', { skip }, (t) =>
  fails(
    t,
    { mode: 'verify-full', ca: path('nope.crt') },
    { failure: 'failed', message: /tls\.ca: cannot read '.*nope\.crt'/ },
  ),
)

test('a server that wants TLS denies a connection without', { skip }, (t) =>
  fails(
    t,
    { mode: 'disable' },
    { failure: 'denied', message: /no encryption; .*keystore\.postgres\.tls\.mode/ },
  ),
)

const pair = (name: string) => ({ cert: path(`${name}.crt`), key: path(`${name}.key`) })

test('a client certificate stands for a user', { skip }, async (t) => {
  await server.sql('CREATE ROLE certified LOGIN')
  await server.sql('GRANT CREATE ON SCHEMA public TO certified', 'kes')
  const tls = { mode: 'verify-full', ca: path('ca.crt') }
  const more = { user: 'certified', password: '' }
  await works(t, { ...tls, ...pair('client') }, more)
  const wanted = {
    failure: 'denied',
    message: /valid client certificate; see keystore\.postgres\.tls\.cert/,
  }
  await fails(t, tls, wanted, more)
})

test('a client certificate of another CA is denied', { skip }, (t) =>
  fails(
    t,
    { mode: 'verify-full', ca: path('ca.crt'), ...pair('stranger') },
    { failure: 'denied', message: /does it want another client certificate/ },
  ),
)

test('a key without its certificate is an error in the config', { skip }, (t) =>
  assert.rejects(
    openStore(t, server.config({ tls: { key: path('client.key') } })),
    /key and cert belong together/,
  ),
)
