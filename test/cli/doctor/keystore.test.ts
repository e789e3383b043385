import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

import { examineKeyStore, type KeyStoreExam } from '#src/cli/doctor/keystore.js'
import type { Finding } from '#src/cli/doctor/finding.js'
import { enclavePrefix, EnclaveStore } from '#src/keys/enclave-store.js'
import { recordName } from '#src/keys/record-name.js'
import { rotate } from '#src/keys/snapshot.js'
import { KEY_STORES } from '#src/keystore/index.js'
import { type KeyStore, KeyStoreError } from '#src/keystore/keystore.js'
import { now } from '#src/time.js'
import { bytes, SIGNAL } from '../../support/bytes.ts'
import { collect } from '../../support/client.ts'
import { FakeHttp } from '../../support/fake-http.ts'
import { entry, makeChanged } from '../../support/keys.ts'
import { FakeStore } from '../../support/store.ts'

const EXAM: KeyStoreExam = { probe: false, removeOrphans: false, settle: 1, stop: SIGNAL }

function examine(
  store: KeyStore,
  exam: Partial<KeyStoreExam> = {},
  settings: unknown = {},
): Promise<Finding[]> {
  const [any] = KEY_STORES
  if (any === undefined) assert.fail('there is no kind of keystore')
  const kind = { ...any, name: 'fake', describe: () => 'somewhere', open: async () => store }
  return collect(examineKeyStore({ kind, settings }, { ...EXAM, ...exam }))
}

function lines(findings: readonly Finding[]): string[] {
  return findings.map(
    ({ level, what }) => `${level}: ${what.replace(/\d+(?:\.\d+)?[µm]?s$/, 'TIME')}`,
  )
}

const FINE = ['ok: fake (somewhere) answers in TIME', 'ok: entries can be read and listed']

/** A store that refuses some calls. */
class Denying extends FakeStore {
  readonly #denies: (call: string, name: string) => boolean

  constructor(denies: (call: string, name: string) => boolean) {
    super()
    this.#denies = denies
  }

  #check(call: string, name: string): void {
    if (this.#denies(call, name)) throw new KeyStoreError('denied', `no right to ${call}`)
  }

  override async create(name: string, value: Uint8Array): Promise<void> {
    this.#check('create', name)
    return super.create(name, value)
  }

  override async get(name: string): Promise<Uint8Array> {
    this.#check('read', name)
    return super.get(name)
  }

  override async delete(name: string): Promise<void> {
    this.#check('delete', name)
    return super.delete(name)
  }

  override async list(...args: Parameters<FakeStore['list']>): ReturnType<FakeStore['list']> {
    this.#check('list', '')
    return super.list(...args)
  }
}

test('a keystore in order has no trouble, and nothing is written to it', async () => {
  const store = new FakeStore()
  store.entries.set('a', entry())
  assert.deepEqual(lines(await examine(store)), FINE)
  assert.deepEqual([store.calls.create, store.calls.delete], [0, 0])
  assert.ok(store.isClosed)
})

test('one that cannot be opened is a failure with its reason', async () => {
  const store = new FakeStore()
  store.failure = new KeyStoreError('unreachable', 'nobody there')
  assert.deepEqual(lines(await examine(store)), ['fail: keystore fake (somewhere): nobody there'])
})

test('keys that cannot be read or listed are failures; names with a - before them a warning', async () => {
  const found = async (denies: (call: string, name: string) => boolean): Promise<string[]> =>
    lines(await examine(new Denying(denies))).slice(1)
  assert.match(
    (await found((call, name) => call === 'read' && !name.startsWith('-'))).join(),
    /^fail: keys cannot be read: the keystore: no right to read$/,
  )
  assert.match(
    (await found((call, name) => call === 'read' && name.startsWith('-'))).join(),
    /^warn: entries whose names begin with - cannot be read/,
  )
  const list = await found((call) => call === 'list')
  assert.match(list[0] ?? '', /^fail: keys cannot be listed/)
  assert.match(list[1] ?? '', /^fail: the keystore: no right to list$/)
})

test('a probe makes, reads and deletes one entry, when it is asked for', async () => {
  const store = new FakeStore()
  assert.deepEqual(lines(await examine(store, { probe: true })), [
    ...FINE,
    'ok: entries can be made, read and deleted',
  ])
  assert.deepEqual([store.calls.create, store.calls.delete, store.entries.size], [2, 1, 0])
})

test('a probe says which right is missing, and names what is left behind', async () => {
  const found = async (right: string): Promise<string> => {
    const store = new Denying((call) => call === right)
    return lines(await examine(store, { probe: true })).at(-1) ?? ''
  }
  assert.match(
    await found('create'),
    /^fail: entries cannot be made: the keystore: no right to create$/,
  )
  assert.match(
    await found('delete'),
    /^fail: entries cannot be deleted, and '-openkes-probe-[0-9a-f]{8}' was left behind: .* no right to delete$/,
  )
})

test('a keystore that overwrites, or forgets, is found out by the probe, and left clean', async () => {
  const overwriting = new (class extends FakeStore {
    override async create(name: string, value: Uint8Array): Promise<void> {
      this.entries.set(name, Uint8Array.from(value))
    }
  })()
  assert.match(
    lines(await examine(overwriting, { probe: true })).at(-1) ?? '',
    /could be made once more$/,
  )
  assert.equal(overwriting.entries.size, 0)
  const forgetful = new (class extends FakeStore {
    override async create(): Promise<void> {}
  })()
  assert.match(
    lines(await examine(forgetful, { probe: true })).at(-1) ?? '',
    /^fail: .*: it is not there$/,
  )
})

const OWNER = createHash('sha256').update(entry()).digest()

/** A changed key, one of an enclave, and orphans: of an older key of the name, of no key, of an enclave's. */
async function withOrphans(): Promise<FakeStore> {
  const store = new FakeStore()
  const tenant = new EnclaveStore(store, enclavePrefix('tenant'))
  for (const each of [store, tenant]) {
    await makeChanged(each, 'a', [rotate('', now()), rotate('', now())])
    await each.create(recordName(1, OWNER, 'gone'), bytes('record'), SIGNAL)
  }
  for (const name of ['-1-0123abcd-a', '-10-0123abcd-gone', '-2-0123abcd-gone'])
    await store.create(name, bytes('record'))
  await store.create('-enclave-tenant', bytes('enclave'))
  return store
}

test('records that no key owns are named, also those of enclaves, and stay', async () => {
  const store = await withOrphans()
  const before = store.entries.size
  const [, , records] = await examine(store)
  assert.equal(records?.level, 'warn')
  const owner = OWNER.toString('hex').slice(0, 8)
  assert.match(
    records.what,
    new RegExp(
      `^5 change records have no key any more: -[0-9a-f]{16}--1-${owner}-gone, -1-0123abcd-a, -10-0123abcd-gone, -2-0123abcd-gone, -1-${owner}-gone$`,
    ),
  )
  assert.equal(store.entries.size, before)
})

test('they are removed when it is asked for, the highest first, and those of keys stay', async () => {
  const store = await withOrphans()
  const removed = await examine(store, { removeOrphans: true })
  assert.deepEqual(
    removed.slice(2).map(({ level, about }) => `${level} ${about}`),
    Array.from({ length: 5 }, () => 'ok records'),
  )
  assert.match(removed.at(-1)?.what ?? '', /^removed -1-[0-9a-f]{8}-gone: a restore/)
  const [, , records] = await examine(store)
  assert.equal(records?.what, 'the changes of 2 keys are whole')
  assert.ok(store.entries.has('-enclave-tenant'))
})

test('a key of which a change is missing, or damaged, is a failure that names it', async () => {
  for (const [damage, reason] of [
    [
      (store: FakeStore) => store.entries.delete(recordName(1, OWNER, 'a')),
      'change record 1 is missing',
    ],
    [
      (store: FakeStore) => store.entries.set(recordName(1, OWNER, 'a'), bytes('rubbish')),
      'a change record is not base64',
    ],
  ] as const) {
    const store = await withOrphans()
    damage(store)
    const findings = await examine(store)
    const broken = findings.find(({ about }) => about === 'records.a')
    assert.equal(broken?.level, 'fail')
    assert.ok(broken.what.startsWith(`the key cannot be used: ${reason}`), broken.what)
  }
})

test('a record whose key comes while it is looked twice is no orphan', async () => {
  const store = new FakeStore()
  await store.create(recordName(1, OWNER, 'a'), bytes('record'))
  // As a server does it: the first record, then the key.
  const list = store.list.bind(store)
  let looks = 0
  store.list = async (...args) => {
    // Rights are looked at first.
    if (++looks === 3) await store.create('a', entry())
    return list(...args)
  }
  const findings = await examine(store, { removeOrphans: true })
  assert.equal(findings.at(-1)?.what, '1 have a key by now, and stay')
  assert.ok(store.entries.has(recordName(1, OWNER, 'a')))
})

test('a keystore behind HTTP is asked for its time', async (t) => {
  const date = new Date(Date.now() - 900_000).toUTCString()
  const service = await FakeHttp.start(t, () => ({ status: 403, headers: { date } }))
  for (const settings of [{ endpoint: service.url }, { endpoints: [service.url] }]) {
    const findings = await examine(new FakeStore(), {}, settings)
    const clock = findings.find(({ about }) => about === 'clock')
    assert.equal(clock?.level, 'fail')
    assert.match(clock.what, /^the keystore is 1[45]m(?: \d+s)? behind this machine$/)
  }
})
