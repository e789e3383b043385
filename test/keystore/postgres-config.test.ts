import assert from 'node:assert/strict'
import { test } from 'node:test'

import { loadConfig } from '#src/config/load.js'
import type { PostgresSettings } from '#src/keystore/postgres.js'

const HEAD = `admin: { identity: disabled }\ntls: { key: k, cert: c }\n`

function load(section: string, env: Record<string, string> = {}) {
  return loadConfig(`${HEAD}keystore:\n  postgres:\n${section.replace(/^/gm, '    ')}`, 'kes.yml', {
    env,
  }).config.keystore
}

function settings(section: string, env: Record<string, string> = {}) {
  const { password, ...rest } = load(section, env).settings as PostgresSettings
  return { ...rest, password: password?.reveal() }
}

const DEFAULTS = {
  port: 5432,
  database: 'kes',
  user: 'kes',
  password: undefined,
  table: 'kes_keys',
  tls: { mode: 'verify-full', ca: '', cert: '', key: '' },
  pool: { max: 10 },
}

test('a host is enough', () => {
  assert.deepEqual(settings('host: db.example.com'), { ...DEFAULTS, host: 'db.example.com' })
})

test('every field is read', () => {
  const section = `
host: db.example.com
port: 6432
database: keys
user: me
password: \${DB_PASSWORD}
table: vault.kes
tls: { mode: verify-ca, ca: /ca.pem, cert: /c.pem, key: /k.pem }
pool: { max: 3 }`
  assert.deepEqual(settings(section, { DB_PASSWORD: 'p@ss' }), {
    host: 'db.example.com',
    port: 6432,
    database: 'keys',
    user: 'me',
    password: 'p@ss',
    table: 'vault.kes',
    tls: { mode: 'verify-ca', ca: '/ca.pem', cert: '/c.pem', key: '/k.pem' },
    pool: { max: 3 },
  })
})

test('a URL is read, and the fields beside it win', () => {
  const url = 'url: postgresql://me:p%40ss%2F@[2001:db8::1]:6432/the%20keys?sslmode=require'
  const parts = { host: '2001:db8::1', port: 6432, database: 'the keys', user: 'me' }
  const tls = { ...DEFAULTS.tls, mode: 'require' }
  assert.deepEqual(settings(url), { ...DEFAULTS, ...parts, password: 'p@ss/', tls })
  const more = settings(`${url}\nhost: other\npassword: x\nport: 1\ntls: { mode: verify-full }`)
  const { tls: verified } = DEFAULTS
  assert.deepEqual(more, {
    ...DEFAULTS,
    ...parts,
    host: 'other',
    port: 1,
    password: 'x',
    tls: verified,
  })
})

test('a URL has the same defaults', () => {
  assert.deepEqual(settings('url: postgres://db'), { ...DEFAULTS, host: 'db', password: undefined })
})

test('TLS may be left out only on the same machine, and where nothing is said of it', () => {
  const mode = (section: string) => settings(section).tls.mode
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', '/run/postgresql'])
    assert.equal(mode(`host: "${host}"`), 'disable', host)
  for (const host of ['localhost.example.com', '128.0.0.1', '::2', 'db'])
    assert.equal(mode(`host: "${host}"`), 'verify-full', host)
  assert.equal(mode('host: localhost\ntls: { ca: /ca.pem }'), 'verify-full')
  assert.equal(mode('url: postgres://localhost/kes?sslmode=require'), 'require')
})

test('what is wrong is said with its line, and without the password', () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['user: me', /^kes\.yml:4:3: keystore\.postgres: the field host, or url, is needed$/],
    ['host: db\nport: 0', /^kes\.yml:6:5: keystore\.postgres\.port: a whole number from 1 to/],
    ['host: db\nport: 5432x', /postgres\.port: a whole number/],
    ['host: db\ntable: Keys', /^kes\.yml:6:5: keystore\.postgres\.table: write table or schema/],
    ['host: db\ntable: "a;b"', /postgres\.table: write table/],
    ['host: db\ntls: { mode: prefer }', /postgres\.tls\.mode: write one of disable, require/],
    ['host: db\ntls: { cert: c }', /^kes\.yml:6:5: keystore\.postgres\.tls: key and cert belong/],
    ['host: db\npool: { max: many }', /postgres\.pool\.max: a whole number from 1 to 1000/],
    ['hots: db', /postgres\.hots: unknown field; did you mean keystore\.postgres\.host\?/],
    ['url: mysql://me:secret@db/kes', /url: not a URL like postgres:/],
    ['url: "postgres://me:secret@:x/kes"', /url: not a URL like postgres:/],
    ['url: postgres://me:secret%zz@db/kes', /url: not a URL like postgres:/],
    ['url: postgres://me:secret@db/kes?sslmode=prefer', /only sslmode is known/],
    ['url: postgres://me:secret@db/kes?sslrootcert=x', /only sslmode is known/],
  ]
  for (const [section, message] of wrong) {
    assert.throws(
      () => load(section),
      (error: Error) => {
        assert.match(error.message, message, section)
        assert.ok(!error.message.includes('secret'))
        return true
      },
    )
  }
})

test('the banner tells where the keys are, without the password', () => {
  const { kind, settings: read } = load('url: postgres://me:secret@db/keys')
  assert.equal(kind.describe(read), 'table kes_keys of database keys at db:5432')
})
