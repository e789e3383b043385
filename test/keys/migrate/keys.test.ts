/** Keys with change records, from one keystore to another. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { isCode } from '#src/errors.js'
import { DamagedKeyError } from '#src/keys/codec.js'
import { KeyEntries } from '#src/keys/entries.js'
import { migrate, type MigrationOptions, type MigrationSummary } from '#src/keys/migrate.js'
import { hashOf } from '#src/keys/record.js'
import { recordName } from '#src/keys/record-name.js'
import { disable, edit, schedule } from '#src/keys/snapshot.js'
import { KeyStoreError } from '#src/keystore/keystore.js'
import { now } from '#src/time.js'
import { bytes, SIGNAL } from '../../support/bytes.ts'
import { entry, makeChanged, PARTS, recordsOf, ROTATE } from '../../support/keys.ts'
import { FakeStore } from '../../support/store.ts'

const DEFAULTS: MigrationOptions = {
  onConflict: 'fail',
  isDryRun: false,
  isVerified: true,
  stop: SIGNAL,
  patience: { limit: 5000, pause: 1 },
}
const OTHER = { ...PARTS, secret: Buffer.alloc(32, 9) }
const OTHER_OWNER = hashOf(entry(OTHER))

function run(
  source: FakeStore,
  target: FakeStore,
  options: Partial<MigrationOptions> = {},
): Promise<MigrationSummary> {
  return migrate(source, target, { ...DEFAULTS, ...options })
}

function copyOf(store: FakeStore): FakeStore {
  const copy = new FakeStore()
  for (const [name, value] of store.entries) copy.entries.set(name, Uint8Array.from(value))
  return copy
}

/** A store with the key `a` at version `versions`. */
async function rotated(versions: number): Promise<FakeStore> {
  const store = new FakeStore()
  await makeChanged(
    store,
    'a',
    Array.from({ length: versions - 1 }, () => ROTATE),
  )
  return store
}

/** Two stores that have the key with the same `common` changes, and then changes of their own. */
async function diverged(
  common: number,
  ours: number,
  theirs: number,
): Promise<[FakeStore, FakeStore]> {
  const source = await rotated(common + 1)
  const target = copyOf(source)
  await makeChanged(
    source,
    'a',
    Array.from({ length: ours }, () => ROTATE),
  )
  await makeChanged(
    target,
    'a',
    Array.from({ length: theirs }, () => ROTATE),
  )
  return [source, target]
}

async function snapshotOf(store: FakeStore): Promise<string> {
  try {
    const { records, head } = await new KeyEntries(store, true).read('a', SIGNAL)
    return `${records} ${head?.toString('hex') ?? ''}`
  } catch (error) {
    if (isCode(error, 'KEY_NOT_FOUND')) return 'absent'
    if (error instanceof DamagedKeyError) return `damaged: ${error.message}`
    throw error
  }
}

test('a key brings all of its changes, and every version is proven', async () => {
  const source = await rotated(20)
  await makeChanged(source, 'a', [
    disable(true),
    edit({ description: 'of the shop', tags: new Map([['team', 'shop']]) }),
    schedule(7, now()),
  ])
  const target = new FakeStore()
  const { verified, failures } = await run(source, target)
  assert.deepEqual([verified, failures], [23, []])
  assert.deepEqual(target.entries, copyOf(source).entries)
})

test('cut off at any point, the target has the whole key or none, and the next run completes it', async () => {
  const source = await rotated(4)
  const whole = await snapshotOf(source)
  for (let writes = 0; writes <= 4; writes++) {
    let left = writes
    const target = new (class extends FakeStore {
      override async create(name: string, value: Uint8Array): Promise<void> {
        if (left-- <= 0) throw new KeyStoreError('unreachable', 'cut off')
        return super.create(name, value)
      }
    })()
    const { failures } = await run(source, target)
    assert.equal(failures.length, writes === 4 ? 0 : 1)
    assert.equal(await snapshotOf(target), writes === 4 ? whole : 'absent')
    left = Number.POSITIVE_INFINITY
    assert.deepEqual((await run(source, target)).failures, [])
    assert.equal(await snapshotOf(target), whole)
  }
})

test('what was changed since the last run is copied, and a target that has gone on is left alone', async () => {
  const [source, target] = [await rotated(3), new FakeStore()]
  await run(source, target)
  await makeChanged(source, 'a', [ROTATE])
  const { actions } = await run(source, target)
  assert.deepEqual(Object.fromEntries(actions), {
    a: 'skipped',
    ...Object.fromEntries(recordsOf('a', 1, 2).map((name) => [name, 'skipped'])),
    ...Object.fromEntries(recordsOf('a', 3).map((name) => [name, 'copied'])),
  })
  await makeChanged(target, 'a', [ROTATE, disable(true)])
  const ahead = await snapshotOf(target)
  for (const onConflict of ['fail', 'keep', 'overwrite'] as const) {
    const { failures, verified } = await run(source, target, { onConflict })
    assert.deepEqual([failures, verified], [[], 4])
    assert.equal(await snapshotOf(target), ahead)
  }
})

describe('a key that both have changed on their own', () => {
  test('fails, and says which change differs', async () => {
    const [source, target] = await diverged(1, 2, 1)
    const before = copyOf(target).entries
    const { failures } = await run(source, target)
    assert.deepEqual(failures, [
      { name: 'a', reason: 'the target has change record 2 of it with another value' },
    ])
    assert.deepEqual(target.entries, before)
  })

  test('stays as it is if so asked, which the verification finds out', async () => {
    const [source, target] = await diverged(1, 1, 1)
    const before = copyOf(target).entries
    const { actions } = await run(source, target, { onConflict: 'keep', isVerified: false })
    assert.deepEqual([...new Set(actions.values())], ['skipped'])
    assert.deepEqual(target.entries, before)
    const { failures } = await run(source, target, { onConflict: 'keep' })
    assert.match(failures[0]?.reason ?? '', /^not verified: version 3: .* does not open/)
  })

  for (const [ours, theirs] of [
    [1, 1],
    [3, 1],
    [1, 3],
  ] as const) {
    test(`is overwritten if so asked: ${ours} changes instead of ${theirs}, and nobody sees a mixture`, async () => {
      const [source, old] = await diverged(2, ours, theirs)
      const [wanted, before] = [await snapshotOf(source), await snapshotOf(old)]
      const seen = new Set<string>()
      class Watched extends FakeStore {
        override async create(name: string, value: Uint8Array): Promise<void> {
          await super.create(name, value)
          seen.add(await snapshotOf(copyOf(this)))
        }

        override async delete(name: string): Promise<void> {
          await super.delete(name)
          seen.add(await snapshotOf(copyOf(this)))
        }
      }
      const target = new Watched()
      for (const [name, value] of old.entries) target.entries.set(name, value)
      const { failures, actions } = await run(source, target, { onConflict: 'overwrite' })
      assert.deepEqual(failures, [])
      assert.equal(actions.get('a'), 'overwritten')
      assert.deepEqual(target.entries, copyOf(source).entries)
      assert.deepEqual([...seen], ['absent', wanted])
      assert.notEqual(before, wanted)
    })
  }

  test('is lost to the target when that fails midway, says so, and comes with the next run', async () => {
    const [source, old] = await diverged(1, 2, 1)
    let left = 1
    const target = new (class extends FakeStore {
      override async create(name: string, value: Uint8Array): Promise<void> {
        if (left-- <= 0) throw new KeyStoreError('denied', 'no right to create')
        return super.create(name, value)
      }
    })()
    for (const [name, value] of old.entries) target.entries.set(name, value)
    const { failures, trouble } = await run(source, target, { onConflict: 'overwrite' })
    assert.match(failures[0]?.reason ?? '', /may have lost it; the source has it: run this again$/)
    assert.equal(trouble, 'the target: no right to create')
    assert.equal(await snapshotOf(target), 'absent')
    left = Number.POSITIVE_INFINITY
    await run(source, target)
    assert.deepEqual(target.entries, copyOf(source).entries)
  })
})

describe('another key of the name in the target', () => {
  async function stores(): Promise<[FakeStore, FakeStore]> {
    const [source, target] = [await rotated(3), new FakeStore()]
    await makeChanged(target, 'a', [ROTATE, ROTATE], OTHER)
    return [source, target]
  }

  for (const onConflict of ['fail', 'keep'] as const) {
    test(`keeps its changes, and gets none of ours (${onConflict})`, async () => {
      const [source, target] = await stores()
      const before = copyOf(target).entries
      const { failures } = await run(source, target, { onConflict, isVerified: false })
      assert.equal(failures.length, onConflict === 'fail' ? 1 : 0)
      assert.deepEqual(target.entries, before)
    })
  }

  test('goes with its changes when it is overwritten', async () => {
    const [source, target] = await stores()
    const { failures, actions } = await run(source, target, { onConflict: 'overwrite' })
    assert.deepEqual(failures, [])
    assert.deepEqual(Object.fromEntries(actions), {
      a: 'overwritten',
      ...Object.fromEntries(recordsOf('a', 1, 2).map((name) => [name, 'copied'])),
    })
    assert.deepEqual(target.entries, copyOf(source).entries)
  })

  test('goes on with its changes when it cannot be overwritten', async () => {
    const [source, full] = await stores()
    const target = new (class extends FakeStore {
      refuses = true
      override async create(name: string, value: Uint8Array): Promise<void> {
        if (name === 'a' && this.refuses) {
          this.refuses = false
          throw new KeyStoreError('denied', 'not now')
        }
        return super.create(name, value)
      }
    })()
    for (const [name, value] of full.entries) target.entries.set(name, value)
    const before = await snapshotOf(full)
    const { failures } = await run(source, target, { onConflict: 'overwrite' })
    assert.match(failures[0]?.reason ?? '', /its old value was put back/)
    assert.equal(await snapshotOf(target), before)
  })
})

test('a key whose chain is broken in the source is named and not copied, and the others are', async () => {
  const damages: [RegExp, (store: FakeStore) => unknown][] = [
    [/change record 1 is missing/, ({ entries }) => entries.delete(recordsOf('a', 1)[0] ?? '')],
    [/change record 2 is missing/, ({ entries }) => entries.delete(recordsOf('a', 2)[0] ?? '')],
    [/not base64/, ({ entries }) => entries.set(recordsOf('a', 2)[0] ?? '', bytes('rubbish'))],
    [
      /change record 3 does not belong there/,
      ({ entries }) => {
        const [two = '', three = ''] = recordsOf('a', 2, 3)
        entries.set(three, entries.get(two) ?? bytes(''))
      },
    ],
  ]
  for (const [reason, damage] of damages) {
    const source = await rotated(4)
    await makeChanged(source, 'b', [ROTATE], OTHER)
    damage(source)
    const target = new FakeStore()
    const { failures, untried } = await run(source, target)
    assert.deepEqual(
      failures.map(({ name }) => name),
      ['a'],
    )
    assert.match(failures[0]?.reason ?? '', reason)
    assert.match(failures[0]?.reason ?? '', /^damaged: /)
    assert.equal(untried, 0)
    assert.deepEqual([...target.entries.keys()], [recordName(1, OTHER_OWNER, 'b'), 'b'])
  }
})

test('changes without a key are named and left out', async () => {
  const source = await rotated(2)
  const strays = ['-1-0123abcd-a', '-1-0123abcd-gone', '-2-0123abcd-gone']
  for (const name of strays) source.entries.set(name, bytes('record'))
  const target = new FakeStore()
  const { orphans, failures, untried } = await run(source, target)
  assert.deepEqual([orphans, failures, untried], [strays, [], 0])
  assert.deepEqual([...target.entries.keys()], [...recordsOf('a', 1), 'a'])
})

describe('a change of a key that the target does not have', () => {
  test('that is in the way is an error, unless it may be overwritten', async () => {
    const source = await rotated(3)
    for (const onConflict of ['fail', 'keep', 'overwrite'] as const) {
      const target = new FakeStore()
      target.entries.set(recordsOf('a', 2)[0] ?? '', bytes('left behind'))
      const { failures } = await run(source, target, { onConflict })
      if (onConflict === 'overwrite') {
        assert.deepEqual(failures, [])
        assert.equal(await snapshotOf(target), await snapshotOf(source))
      } else {
        assert.match(failures[0]?.reason ?? '', /^the target has change record 2 of it/)
        assert.equal(target.entries.size, 1)
      }
    }
  })

  test('that does not follow ours is not taken for one of ours', async () => {
    const source = await rotated(3)
    const [later = ''] = recordsOf('a', 3)
    const target = new FakeStore()
    target.entries.set(later, bytes('left behind'))
    const { failures } = await run(source, target)
    assert.equal(
      failures[0]?.reason,
      `the target has changes of it that do not follow the source’s: ${later}`,
    )
    assert.deepEqual((await run(source, target, { onConflict: 'overwrite' })).failures, [])
    assert.equal(await snapshotOf(target), await snapshotOf(source))
  })
})

test('a dry run tells of every change, and makes none', async () => {
  const [source, target] = await diverged(1, 2, 1)
  const before = copyOf(target).entries
  const { create } = target.calls
  const { actions } = await run(source, target, { isDryRun: true, onConflict: 'overwrite' })
  const [one = '', two = '', three = ''] = recordsOf('a', 1, 2, 3)
  assert.deepEqual(Object.fromEntries(actions), {
    a: 'overwritten',
    [one]: 'skipped',
    [two]: 'overwritten',
    [three]: 'copied',
  })
  assert.deepEqual(target.entries, before)
  assert.deepEqual([target.calls.create, target.calls.delete], [create, 0])
})

test('a target that loses a change, or bends one, is found out', async () => {
  const source = await rotated(3)
  const [last = ''] = recordsOf('a', 2)
  for (const [kept, reason] of [
    [undefined, /damaged: change record 2 is missing$/],
    [bytes('bent!'), /damaged: a change record is not base64$/],
  ] as const) {
    const target = new (class extends FakeStore {
      override async create(name: string, given: Uint8Array): Promise<void> {
        if (name !== last) return super.create(name, given)
        if (kept !== undefined) await super.create(name, kept)
      }
    })()
    const { failures, verified } = await run(source, target)
    assert.equal(verified, 0)
    assert.match(failures[0]?.reason ?? '', /^not verified: the target’s key is /)
    assert.match(failures[0]?.reason ?? '', reason)
  }
})
