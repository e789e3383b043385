import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import type { KeyStore } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { certificate } from '../support/certificates.ts'
import { failure } from '../support/failure.ts'
import { entry } from '../support/keys.ts'
import { tempDir } from '../support/server.ts'
import { openStore } from '../support/stores.ts'
import { type FakeVaultOptions, FakeVault, SECRET_ID } from './fakes/vault.ts'
import { keyStoreTokens } from './tokens.ts'

keyStoreTokens('vault', (t) => FakeVault.start(t))

async function opened(
  t: TestContext,
  options: FakeVaultOptions = {},
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ vault: FakeVault; store: KeyStore }> {
  const vault = await FakeVault.start(t, options)
  return { vault, store: await openStore(t, vault.config(settings)) }
}

const LIST = { prefix: '', from: '' }

async function text(store: KeyStore, name: string): Promise<string> {
  return Buffer.from(await store.get(name, SIGNAL)).toString()
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1)
}

test('wrong credentials are a denial that says where to look', async (t) => {
  const approle = await FakeVault.start(t)
  approle.secretId = 'another'
  await assert.rejects(
    openStore(t, approle.config()),
    failure('denied', /cannot log in at auth\/approle; check approle\.id and approle\.secret/),
  )
  const kubernetes = await FakeVault.start(t, { login: 'kubernetes' })
  const config = kubernetes.config()
  kubernetes.jwt = 'another'
  await assert.rejects(
    openStore(t, config),
    failure('denied', /check kubernetes\.role and kubernetes\.jwt/),
  )
})

test('no error, and nothing that can be inspected, has the secret ID or the token', async (t) => {
  const { vault, store } = await opened(t)
  const seen: unknown[] = [store]
  vault.policy = {}
  await store.get('my-key', SIGNAL).catch((error: unknown) => seen.push(error))
  vault.secretId = 'another'
  vault.revoke()
  await store.get('my-key', SIGNAL).catch((error: unknown) => seen.push(error))
  assert.equal(seen.length, 3)
  const shown = inspect(seen, { depth: 20, showHidden: true })
  assert.doesNotMatch(shown, new RegExp(SECRET_ID))
  assert.doesNotMatch(shown, /hvs\./)
})

test('the file with the service account’s token is read at every login, as it is', async (t) => {
  const file = join(tempDir(t), 'token')
  const vault = await FakeVault.start(t, { login: 'kubernetes' })
  vault.jwt = 'first\n'
  writeFileSync(file, vault.jwt)
  const store = await openStore(t, vault.config({ kubernetes: { role: 'kes', jwt: file } }))
  vault.jwt = 'second\n'
  writeFileSync(file, vault.jwt)
  vault.revoke()
  await store.status(SIGNAL)
  assert.equal(vault.logins, 2)
  await assert.rejects(
    openStore(t, vault.config({ kubernetes: { role: 'kes', jwt: '/does/not/exist' } })),
    failure('failed', /kubernetes\.jwt: cannot be read/),
  )
})

test('the login has the namespace of the store, another one, or none', async (t) => {
  const cases = [
    { namespace: 'a', given: '', loginNamespace: 'a' },
    { namespace: 'a', given: 'b', loginNamespace: 'b' },
    { namespace: 'a', given: '/', loginNamespace: '' },
    { namespace: '', given: 'b', loginNamespace: 'b' },
    { namespace: '', given: '/', loginNamespace: '' },
  ]
  for (const { namespace, given, loginNamespace } of cases) {
    const vault = await FakeVault.start(t, { namespace, loginNamespace })
    const { settings } = vault.config()
    const approle = { ...(settings['approle'] as object), namespace: given }
    const store = await openStore(t, vault.config({ approle }))
    await store.create('my-key', bytes('value'), SIGNAL)
    await store.status(SIGNAL)
  }
})

test('a client certificate is shown where it is configured', async (t) => {
  const me = await certificate({ subject: 'me' })
  const vault = await FakeVault.start(t, { clients: me })
  const directory = tempDir(t)
  const [cert, key] = [join(directory, 'cert'), join(directory, 'key')]
  writeFileSync(cert, me.cert)
  writeFileSync(key, me.key)
  const store = await openStore(t, vault.config({ tls: { ca: vault.service.ca, cert, key } }))
  await store.create('my-key', entry(), SIGNAL)
  await assert.rejects(openStore(t, vault.config()), failure('denied', /tls\.cert/))
})

test('a standby sends us to the active node', async (t) => {
  const { vault: active, store: there } = await opened(t)
  const standby = await FakeVault.start(t)
  standby.active = active
  const both = join(tempDir(t), 'both.pem')
  writeFileSync(both, [active, standby].map(({ service }) => readFileSync(service.ca)).join('\n'))
  const store = await openStore(t, standby.config({ tls: { ca: both } }))
  await store.create('my-key', bytes('value'), SIGNAL)
  await store.status(SIGNAL)
  assert.equal(await text(there, 'my-key'), 'value')
})

test('a Vault that is sealed, or not initialized, is unreachable', async (t) => {
  const { vault, store } = await opened(t)
  vault.isSealed = true
  const sealed = failure('unreachable', /Vault is sealed/)
  await assert.rejects(store.status(SIGNAL), sealed)
  await assert.rejects(store.get('my-key', SIGNAL), sealed)
  await assert.rejects(store.create('my-key', bytes('v'), SIGNAL), sealed)
  await assert.rejects(store.delete('my-key', SIGNAL), sealed)
  await assert.rejects(store.list(LIST, 9, SIGNAL), sealed)
  await assert.rejects(openStore(t, vault.config()), sealed)
  vault.isSealed = false
  vault.isInitialized = false
  await assert.rejects(store.status(SIGNAL), failure('unreachable', /not initialized/))
  vault.isInitialized = true
  await store.status(SIGNAL)
  await store.create('my-key', bytes('v'), SIGNAL)
})

test('sealed and unsealed under load: requests fail at once, and work again at once', async (t) => {
  const { vault, store } = await opened(t)
  await store.create('my-key', bytes('value'), SIGNAL)
  let isOver = false
  const load = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      const outcome = await store.get('my-key', SIGNAL).catch((error: unknown) => error)
      if (outcome instanceof Error) failure('unreachable', /sealed/)(outcome)
    }
  })
  for (let round = 0; round < 5; round++) {
    vault.isSealed = true
    await assert.rejects(store.get('my-key', SIGNAL), failure('unreachable', /sealed/))
    vault.isSealed = false
    assert.equal(await text(store, 'my-key'), 'value')
  }
  isOver = true
  await Promise.all(load)
})

test('a cluster without an active node is unreachable', async (t) => {
  const { vault, store } = await opened(t)
  vault.hasActiveNode = false
  await assert.rejects(store.status(SIGNAL), failure('unreachable', /no active node/))
  vault.hasActiveNode = true
  await store.status(SIGNAL)
})

test('where tokens may not look at themselves, a missing right costs one login, and not one each time', async (t) => {
  const { vault, store } = await opened(t)
  vault.hasDefaultPolicy = false
  vault.policy = {}
  for (let count = 0; count < 5; count++)
    await assert.rejects(store.get('my-key', SIGNAL), failure('denied', /'read'/))
  assert.equal(vault.logins, 2)
})

test('credentials that were withdrawn are a denial, and work again once they are back', async (t) => {
  const { vault, store } = await opened(t)
  vault.revoke()
  vault.secretId = 'another'
  await assert.rejects(store.status(SIGNAL), failure('denied', /check approle\.id/))
  vault.secretId = SECRET_ID
  await store.status(SIGNAL)
})

test('tokens that end after a second are replaced before that', async (t) => {
  const vault = await FakeVault.start(t)
  vault.ttl = 1
  const store = await openStore(t, vault.config())
  await until(() => vault.logins >= 4)
  await store.status(SIGNAL)
  assert.ok(vault.service.requests.every(({ path }) => !path.endsWith('lookup-self')))
})

test('tokens that do not end, or only after longer than a timer can take, are left alone', async (t) => {
  for (const ttl of [0, 768 * 3600]) {
    const vault = await FakeVault.start(t)
    vault.ttl = ttl
    await openStore(t, vault.config())
    await sleep(700)
    assert.deepEqual([vault.logins, vault.renewals], [1, 0])
  }
})

/** A store whose tokens live for a minute, by a clock that the test sets. */
async function timed(
  t: TestContext,
  { isRenewable = true } = {},
): Promise<{
  vault: FakeVault
  store: KeyStore
  pass: Clock['pass']
  passUntil: Clock['passUntil']
}> {
  const vault = await FakeVault.start(t)
  vault.ttl = 60
  vault.isRenewable = isRenewable
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const store = await openStore(t, vault.config())
  const pass = async (millis: number): Promise<void> => {
    t.mock.timers.tick(millis)
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
  }
  const passUntil = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await pass(1000)
  }
  return { vault, store, pass, passUntil }
}

interface Clock {
  /** Lets the clock go on, and what that sets off go through, as a rule. */
  pass(millis: number): Promise<void>
  passUntil(condition: () => boolean): Promise<void>
}

test('a token is renewed when four fifths of its time have passed, again and again', async (t) => {
  const { vault, pass, passUntil } = await timed(t)
  await pass(47_000)
  assert.equal(vault.renewals, 0)
  for (let round = 1; round <= 3; round++) await passUntil(() => vault.renewals === round)
  assert.equal(vault.logins, 1)
})

test('a token that cannot be renewed is replaced, and the new one is used once all nodes know it', async (t) => {
  const { vault, store, pass, passUntil } = await timed(t, { isRenewable: false })
  const first = await tokenOf(vault, store)
  await pass(47_000)
  await passUntil(() => vault.logins === 2)
  assert.equal(await tokenOf(vault, store), first)
  let last = first
  while (last === first) {
    await pass(5000)
    last = await tokenOf(vault, store)
  }
  assert.deepEqual([vault.logins, vault.renewals], [2, 0])
})

/** That of a request made now. */
async function tokenOf(vault: FakeVault, store: KeyStore): Promise<unknown> {
  await store.list(LIST, 9, SIGNAL)
  return vault.service.requests.at(-1)?.headers['x-vault-token']
}

test('a token that is renewed for a short time only is replaced', async (t) => {
  const { vault, passUntil } = await timed(t)
  vault.ttl = 10
  await passUntil(() => vault.logins === 2)
  assert.equal(vault.renewals, 1)
})

test('a renewal that fails is tried again until it works', async (t) => {
  const { vault, store, passUntil } = await timed(t)
  vault.isSealed = true
  const tries = (): number =>
    vault.service.requests.filter(({ path }) => path.endsWith('/renew-self')).length
  await passUntil(() => tries() >= 3)
  vault.isSealed = false
  assert.deepEqual([vault.logins, vault.renewals], [1, 0])
  await passUntil(() => vault.renewals === 1)
  await store.status(SIGNAL)
})
