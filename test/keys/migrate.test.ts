import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'

import { KesError } from '#src/errors.js'
import { enclavePrefix, EnclaveStore } from '#src/keys/enclave-store.js'
import { migrate, type MigrationOptions, type MigrationSummary } from '#src/keys/migrate.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { bytes, SIGNAL } from '../support/bytes.ts'
import { entry, makeChanged, recordsOf, ROTATE } from '../support/keys.ts'
import { FakeStore, gate, WatchedStore } from '../support/store.ts'
import { tcpStore } from '../support/tcp-store.ts'

const OTHER = { secret: Buffer.alloc(32, 9) }
const DOWN = new KeyStoreError('unreachable', 'nobody there')
const DENIED = new KeyStoreError('denied', 'the right to create is missing')

const DEFAULTS: MigrationOptions = {
  onConflict: 'fail',
  isDryRun: false,
  isVerified: false,
  stop: SIGNAL,
  patience: { limit: 5000, pause: 1 },
}

/** A store with these entries; a name alone has a key of its own. */
function storeWith(...given: readonly (string | readonly [string, Uint8Array])[]): FakeStore {
  const store = new FakeStore()
  for (const item of given) {
    const [name, value] =
      typeof item === 'string' ? [item, entry({ secret: randomBytes(32) })] : item
    store.entries.set(name, Buffer.from(value))
  }
  return store
}

function run(
  source: FakeStore,
  target: FakeStore,
  options: Partial<MigrationOptions> = {},
): Promise<MigrationSummary> {
  return migrate(source, target, { ...DEFAULTS, ...options })
}

/** Names, by what was done with them. */
function doneTo({ actions }: MigrationSummary): Record<string, string[]> {
  const names: Record<string, string[]> = {}
  for (const [name, action] of actions) {
    const others = names[action] ?? []
    names[action] = [...others, name].sort()
  }
  return names
}

function assertSame(
  source: FakeStore,
  target: FakeStore,
  names = [...source.entries.keys()],
): void {
  for (const name of names)
    assert.deepEqual(
      target.entries.get(name),
      Uint8Array.from(source.entries.get(name) ?? []),
      name,
    )
}

const ENCLAVE = '-enclave-tenant'
const TENANT = bytes(
  JSON.stringify({ name: 'tenant', admin: 'a'.repeat(64), created_at: '2024-01-01T00:00:00Z' }),
)
const ENCLAVE_KEY = `${enclavePrefix('tenant')}a`

test('everything that is the server’s is copied byte for byte', async () => {
  const source = storeWith('b', ENCLAVE_KEY, [ENCLAVE, TENANT], ['-openkes-state', bytes('state')])
  await makeChanged(source, 'a', [ROTATE])
  const target = storeWith('z')
  const names = [...source.entries.keys()].sort()
  const summary = await run(source, target)
  assert.deepEqual([summary.failures, summary.orphans], [[], []])
  assert.deepEqual(doneTo(summary), { copied: names })
  assertSame(source, target)
  assert.equal(target.entries.size, 7)
})

test('more keys than a page are copied, and progress is told', async () => {
  const names = Array.from({ length: 3000 }, (_, index) => `key-${index}`)
  const value = entry()
  const source = storeWith(...names.map((name) => [name, value] as const))
  const told: number[] = []
  const onProgress = (done: number, total: number): void => {
    assert.equal(total, 3000)
    told.push(done)
  }
  const target = storeWith()
  await run(source, target, { onProgress })
  assertSame(source, target)
  assert.deepEqual(
    told,
    told.toSorted((a, b) => a - b),
  )
  assert.deepEqual([told.length, told[0], told.at(-1)], [3001, 0, 3000])
})

test('a second run skips what is there', async () => {
  const [source, target] = [storeWith('a', 'b'), storeWith()]
  await run(source, target)
  source.entries.set('c', entry())
  assert.deepEqual(doneTo(await run(source, target)), { copied: ['c'], skipped: ['a', 'b'] })
  assert.equal(target.calls.create, 3)
})

test('a key is there behind its changes, and an enclave behind its keys', async () => {
  const [source, target] = [storeWith([ENCLAVE, TENANT]), storeWith()]
  await makeChanged(new EnclaveStore(source, enclavePrefix('tenant')), 'a', [ROTATE, ROTATE])
  await run(source, target)
  assert.deepEqual(
    [...target.entries.keys()].map((name) => name.replace(enclavePrefix('tenant'), '')),
    [...recordsOf('a', 1, 2), 'a', ENCLAVE],
  )
})

test('a pattern selects keys with their changes, and nothing else of the server', async () => {
  const source = storeWith('my-b', ENCLAVE_KEY, ['-openkes-state', bytes('state')])
  for (const name of ['my-a', 'other']) await makeChanged(source, name, [ROTATE])
  const mine = [...recordsOf('my-a', 1), 'my-a', 'my-b']
  for (const pattern of ['my-', 'my-*'])
    assert.deepEqual(doneTo(await run(source, storeWith(), { pattern })), { copied: mine })
  const all = await run(source, storeWith(), { pattern: '*' })
  assert.deepEqual(
    doneTo(all)['copied'],
    [...recordsOf('my-a', 1), ...recordsOf('other', 1), 'my-a', 'my-b', 'other'].sort(),
  )
})

test('a pattern that is none is refused', async () => {
  await assert.rejects(run(storeWith(), storeWith(), { pattern: 'a*b' }), { code: 'BAD_NAME' })
})

describe('a key that the target has with another value', () => {
  const stores = (): [FakeStore, FakeStore] => [
    storeWith(['a', entry()], ['b', entry()]),
    storeWith(['a', entry(OTHER)]),
  ]

  test('fails by name, and the others are copied', async () => {
    const [source, target] = stores()
    const summary = await run(source, target)
    assert.deepEqual(summary.failures, [
      { name: 'a', reason: 'the target has it with another value' },
    ])
    assert.deepEqual(doneTo(summary), { copied: ['b'] })
    assert.deepEqual(target.entries.get('a'), Buffer.from(entry(OTHER)))
  })

  test('stays as it is if so asked', async () => {
    const [source, target] = stores()
    const summary = await run(source, target, { onConflict: 'keep' })
    assert.deepEqual([summary.failures, doneTo(summary)], [[], { copied: ['b'], skipped: ['a'] }])
    assert.deepEqual(target.entries.get('a'), Buffer.from(entry(OTHER)))
  })

  test('that stays is found out by the verification', async () => {
    const [source, target] = stores()
    const { failures, verified } = await run(source, target, {
      onConflict: 'keep',
      isVerified: true,
    })
    assert.equal(verified, 1)
    assert.match(failures[0]?.reason ?? '', /not verified: .*does not open/)
  })

  test('is overwritten if so asked', async () => {
    const [source, target] = stores()
    const summary = await run(source, target, { onConflict: 'overwrite', isVerified: true })
    assert.deepEqual(doneTo(summary), { copied: ['b'], overwritten: ['a'] })
    assert.equal(summary.verified, 2)
    assertSame(source, target)
  })
})

describe('overwriting', () => {
  const names = Array.from({ length: 40 }, (_, index) => `k${index}`)
  const source = (): FakeStore => storeWith(...names)

  /** Refuses creates after deletes, for as long as it is told to. */
  class NoCreate extends FakeStore {
    refusals = Number.POSITIVE_INFINITY
    reason = DENIED
    override async create(name: string, value: Uint8Array): Promise<void> {
      if (this.refusals-- > 0) throw this.reason
      return super.create(name, value)
    }
  }

  function full(target: NoCreate): NoCreate {
    for (const name of names) target.entries.set(name, entry(OTHER))
    return target
  }

  test('a target that deletes but does not create loses one value at most, and the rest is left', async () => {
    const target = full(new NoCreate())
    const summary = await run(source(), target, { onConflict: 'overwrite' })
    assert.equal(target.entries.size, names.length - 1)
    assert.match(summary.trouble ?? '', /the target: the right to create is missing/)
    assert.ok(summary.untried > 0)
    assert.ok(
      summary.failures.some(({ reason }) => /may have lost it; the source has it/.test(reason)),
    )
  })

  test('the old value is put back when the new one cannot be made', async () => {
    const target = full(new NoCreate())
    target.refusals = 1
    const { failures } = await run(source(), target, { onConflict: 'overwrite' })
    assert.equal(target.entries.size, names.length)
    for (const value of target.entries.values()) assert.deepEqual(Buffer.from(value), entry(OTHER))
    assert.match(failures[0]?.reason ?? '', /its old value was put back/)
  })

  test('a create that got no answer is made again', async () => {
    const target = full(new NoCreate())
    Object.assign(target, { refusals: 3, reason: DOWN })
    const from = source()
    const { failures } = await run(from, target, { onConflict: 'overwrite' })
    assert.deepEqual(failures, [])
    assertSame(from, target)
  })

  test('an entry that a crash has left deleted is copied by the next run', async () => {
    const [from, target] = [storeWith('a'), storeWith(['a', entry(OTHER)])]
    await target.delete('a')
    assert.deepEqual(doneTo(await run(from, target)), { copied: ['a'] })
  })

  test('somebody who makes the key anew in between is not overwritten again', async () => {
    class Racing extends FakeStore {
      override async delete(name: string): Promise<void> {
        await super.delete(name)
        this.entries.set(name, bytes('theirs'))
      }
    }
    const target = new Racing()
    target.entries.set('a', entry(OTHER))
    const { failures, trouble } = await run(storeWith('a'), target, { onConflict: 'overwrite' })
    assert.match(failures[0]?.reason ?? '', /somebody else made it anew/)
    assert.equal(trouble, undefined)
    assert.deepEqual(target.entries.get('a'), bytes('theirs'))
  })
})

describe('a dry run', () => {
  const source = storeWith('new', ['same', entry()], ['other', entry()])
  const target = storeWith(['same', entry()], ['other', entry(OTHER)])

  test('says what would be done, and changes nothing', async () => {
    const before = [...target.entries]
    const summary = await run(source, target, { isDryRun: true, onConflict: 'overwrite' })
    assert.deepEqual(doneTo(summary), {
      copied: ['new'],
      overwritten: ['other'],
      skipped: ['same'],
    })
    assert.deepEqual([...target.entries], before)
    assert.equal(target.calls.create + target.calls.delete, 0)
  })

  test('reports what would fail', async () => {
    const { failures } = await run(source, target, { isDryRun: true })
    assert.deepEqual(
      failures.map(({ name }) => name),
      ['other'],
    )
  })

  test('verifies what is there already', async () => {
    const { verified } = await run(source, target, {
      isDryRun: true,
      isVerified: true,
      onConflict: 'overwrite',
    })
    assert.equal(verified, 1)
  })
})

describe('verification', () => {
  /** Stores something else than it was given. */
  class Tampering extends FakeStore {
    override async create(name: string): Promise<void> {
      await super.create(name, name.startsWith('-') ? bytes('[]') : entry(OTHER))
    }
  }

  test('every key and entry is proven', async () => {
    const source = storeWith('a', 'b', [ENCLAVE, TENANT])
    const { verified, failures } = await run(source, storeWith(), { isVerified: true })
    assert.deepEqual([verified, failures], [3, []])
  })

  test('a target that does not keep what it was given is found out', async () => {
    const source = storeWith('a', [ENCLAVE, TENANT])
    const { verified, failures } = await run(source, new Tampering(), { isVerified: true })
    assert.equal(verified, 0)
    assert.deepEqual(failures, [
      { name: ENCLAVE, reason: 'not verified: the values differ' },
      {
        name: 'a',
        reason: 'not verified: the target’s key does not open what the source’s has sealed',
      },
    ])
  })

  test('a key that lost its HMAC key on the way is found out', async () => {
    const source = storeWith(['a', entry()])
    const target = storeWith(['a', entry({ hmacKey: undefined })])
    const { failures } = await run(source, target, { isVerified: true, onConflict: 'keep' })
    assert.match(failures[0]?.reason ?? '', /has no HMAC key/)
  })
})

test('a damaged entry is reported by name and not copied, and the others are', async () => {
  const source = storeWith(
    'a',
    ['b', bytes('rubbish!')],
    ['c', bytes('')],
    ['ends-', entry()],
    [ENCLAVE, bytes('{}')],
  )
  const target = storeWith()
  const { failures } = await run(source, target)
  assert.deepEqual([...target.entries.keys()], ['a'])
  assert.deepEqual(
    failures.map(({ name }) => name),
    [ENCLAVE, 'b', 'c', 'ends-'],
  )
  assert.match(failures[0]?.reason ?? '', /^damaged: not the entry of an enclave$/)
  assert.match(failures[1]?.reason ?? '', /^damaged: not a stored key: not base64$/)
  assert.match(failures[3]?.reason ?? '', /no name of a key/)
})

test('a key that is deleted in the source meanwhile is skipped', async () => {
  class Vanishing extends FakeStore {
    override async get(): Promise<Uint8Array> {
      throw new KesError('KEY_NOT_FOUND')
    }
  }
  const source = new Vanishing()
  source.entries.set('a', entry())
  const target = storeWith()
  assert.deepEqual(doneTo(await run(source, target)), { skipped: ['a'] })
  assert.equal(target.entries.size, 0)
})

test('a server that makes keys in the target meanwhile loses none', async () => {
  const names = Array.from({ length: 200 }, (_, index) => `k${index}`)
  const [source, target] = [storeWith(...names), storeWith()]
  const theirs = entry(OTHER)
  const racing = (async () => {
    for (const name of names.toReversed()) {
      await target.create(name, theirs).catch((error: KesError) => {
        assert.equal(error.code, 'KEY_EXISTS')
      })
    }
  })()
  const [summary] = await Promise.all([run(source, target), racing])
  const lost = new Set(summary.failures.map(({ name }) => name))
  assert.equal(lost.size + (doneTo(summary)['copied']?.length ?? 0), names.length)
  assert.ok(lost.size > 0 && lost.size < names.length, `${lost.size} were theirs`)
  for (const name of names) {
    const expected = lost.has(name) ? theirs : source.entries.get(name)
    assert.deepEqual(target.entries.get(name), Uint8Array.from(expected ?? []), name)
  }
})

test('a target that refuses is named with the missing right, for every entry', async () => {
  class ReadOnly extends FakeStore {
    override async create(): Promise<void> {
      throw DENIED
    }
  }
  const summary = await run(storeWith('a', 'b'), new ReadOnly())
  const reason = 'the target: the right to create is missing'
  assert.deepEqual(summary.failures, [
    { name: 'a', reason },
    { name: 'b', reason },
  ])
})

test('keystores that cannot be listed are an error that says which', async () => {
  const down = storeWith('a')
  down.failure = DOWN
  const message = (side: string): object => ({
    name: 'KeyStoreError',
    message: `the ${side}: nobody there`,
  })
  await assert.rejects(run(down, storeWith()), message('source'))
  await assert.rejects(run(storeWith('a'), down), message('target'))
  assert.equal(down.calls.list, 8)
})

test('a target that goes away ends the run, and the next one goes on', async () => {
  const names = Array.from({ length: 100 }, (_, index) => `k${index}`)
  const [source, target] = [storeWith(...names), storeWith()]
  const onProgress = (done: number): void => {
    if (done >= 30) target.failure = DOWN
  }
  const summary = await run(source, target, { onProgress })
  assert.equal(summary.trouble, 'the target: nobody there')
  assert.ok(summary.untried > 0 && target.entries.size < 100)
  target.failure = undefined
  const { failures, untried } = await run(source, target)
  assert.deepEqual([failures, untried], [[], 0])
  assertSame(source, target)
})

test('a call that gets no answer is given up at its limit, and made again', async (t) => {
  const { backend, proxy, store } = await tcpStore(t)
  await proxy.become('hang')
  const source = storeWith('a', 'b')
  const options = { ...DEFAULTS, patience: { limit: 100, pause: 1 } }
  await assert.rejects(migrate(source, store, options), {
    message: 'the target: no answer within 0.1 s',
  })
  await proxy.become('pass')
  const { failures } = await migrate(source, store, options)
  assert.deepEqual(failures, [])
  assertSame(source, backend)
})

test('a create that is given up and finishes late has made the whole value', async () => {
  const { passed, open } = gate()
  const creates: Promise<void>[] = []
  class Late extends FakeStore {
    override create(name: string, value: Uint8Array): Promise<void> {
      // The first looks at the value when everybody else has finished.
      const ready = creates.length === 0 ? passed : Promise.resolve()
      const made = ready.then(() => super.create(name, value))
      creates.push(made)
      return made
    }
  }
  const [source, target] = [storeWith('a'), new Late()]
  const { failures } = await run(source, target, { patience: { limit: 50, pause: 1 } })
  assert.deepEqual([failures, creates.length], [[], 2])
  target.entries.delete('a')
  open()
  await Promise.all(creates)
  assertSame(source, target)
})

test('when it is told to stop it finishes what it has begun', async () => {
  const names = Array.from({ length: 100 }, (_, index) => `k${index}`)
  const [source, target] = [storeWith(...names), storeWith()]
  const stop = new AbortController()
  const onProgress = (done: number): void => {
    if (done >= 10) stop.abort()
  }
  const { actions, untried, failures } = await run(source, target, {
    onProgress,
    stop: stop.signal,
  })
  assert.deepEqual([actions.size + untried, failures], [100, []])
  assert.ok(untried > 0)
  assert.deepEqual([...target.entries.keys()].sort(), [...actions.keys()].sort())
})

test('no value is left in memory that the stores gave out', async () => {
  const [source, target] = [new WatchedStore(), new WatchedStore()]
  for (const name of ['a', 'b', 'c']) source.entries.set(name, entry())
  target.entries.set('b', entry(OTHER))
  target.entries.set('c', entry())
  await run(source, target, { onConflict: 'overwrite', isVerified: true })
  const given = [...source.given, ...target.given]
  assert.equal(given.length, 8)
  for (const value of given) assert.ok(value.every((byte) => byte === 0))
})
