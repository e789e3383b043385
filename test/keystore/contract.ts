/** What every keystore promises (src/keystore/keystore.ts), as tests: one call in each keystore's test file. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { KesError } from '#src/errors.js'
import { KeyService } from '#src/keys/service.js'
import type { KeyStore } from '#src/keystore/keystore.js'
import { type Page, parseListing } from '#src/names.js'
import { bytes, PATIENT, SIGNAL } from '../support/bytes.ts'
import { openStore, race, RACE, type StoreConfig } from '../support/stores.ts'

export interface ContractOptions {
  /** Entries of the test with many of them; more than a page of the API. */
  readonly many?: number
  /** false: a store that cannot tell that there was nothing to delete. */
  readonly deleteTells?: boolean
  /** false: a store whose service has no atomic create. */
  readonly createIsAtomic?: boolean
  /** false for names that the service cannot hold, or not beside the others. */
  readonly holds?: (name: string) => boolean
  /** false: a store whose calls cannot be given up. */
  readonly givesUp?: boolean
  /** An empty store that several can open at a time, in this process and in others. */
  readonly shared?: (t: TestContext) => Promise<StoreConfig>
  /** For node:test: why the suite cannot run here. */
  readonly skip?: string | false
}

/** @param open gives an empty store of its own to each test, and tidies up with `t.after`. */
export function keyStoreContract(
  name: string,
  open: (t: TestContext) => Promise<KeyStore>,
  {
    many = 1100,
    deleteTells = true,
    createIsAtomic = true,
    holds = () => true,
    givesUp = true,
    shared,
    skip = false,
  }: ContractOptions = {},
): void {
  const contract = (fact: string, check: (store: KeyStore) => Promise<void>): void => {
    test(`${name}: ${fact}`, { skip }, async (t) => check(await open(t)))
  }
  const sharedContract = (
    fact: string,
    check: (t: TestContext, config: StoreConfig) => Promise<void>,
  ): void => {
    if (shared !== undefined)
      test(`${name}: ${fact}`, { skip }, async (t) => check(t, await shared(t)))
  }

  contract('a store that can be used says so', async (store) => {
    await store.status(SIGNAL)
  })

  contract('what was created is read back', async (store) => {
    await store.create('my-key', bytes('value'), SIGNAL)
    assert.deepEqual(Buffer.from(await store.get('my-key', SIGNAL)), bytes('value'))
  })

  contract('values of 1 byte to 8 KiB are read back byte for byte', async (store) => {
    for (const size of [1, 2, 3, 100, 300, 1000, 4096, 8192]) {
      const value = Buffer.from(Array.from({ length: size }, (_, index) => 33 + (index % 94)))
      await store.create(`size-${size}`, value, SIGNAL)
      const read = Buffer.from(await store.get(`size-${size}`, SIGNAL))
      assert.ok(read.equals(value), `${size} bytes`)
    }
  })

  contract('a value with the look of another format is read back as it is', async (store) => {
    for (const [index, text] of ['{"a":1}', 'AAAA', '123', 'null', ' x ', '%41', '"'].entries()) {
      await store.create(`look-${index}`, bytes(text), SIGNAL)
      assert.equal(Buffer.from(await store.get(`look-${index}`, SIGNAL)).toString(), text)
    }
  })

  contract('the bytes that are read belong to the caller', async (store) => {
    await store.create('my-key', bytes('value'), SIGNAL)
    ;(await store.get('my-key', SIGNAL)).fill(0)
    assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  })

  contract('the bytes that were written still belong to the caller', async (store) => {
    const value = bytes('value')
    await store.create('my-key', value, SIGNAL)
    assert.deepEqual(value, bytes('value'))
    value.fill(0)
    assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'value')
  })

  contract('a second create fails and changes nothing', async (store) => {
    await store.create('my-key', bytes('first'), SIGNAL)
    const second = store.create('my-key', bytes('second'), SIGNAL)
    await assert.rejects(second, { name: 'KesError', code: 'KEY_EXISTS' })
    assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'first')
  })

  contract('what is not there is not found', async (store) => {
    await assert.rejects(store.get('my-key', SIGNAL), { name: 'KesError', code: 'KEY_NOT_FOUND' })
  })

  contract('what was deleted is not found and not listed', async (store) => {
    await store.create('my-key', bytes('value'), SIGNAL)
    await store.delete('my-key', SIGNAL)
    await assert.rejects(store.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
    assert.deepEqual(await store.list({ prefix: '', from: '' }, 10, SIGNAL), { names: [] })
  })

  contract('a delete leaves the others alone', async (store) => {
    for (const key of ['a', 'ab', 'b']) await store.create(key, bytes(key), SIGNAL)
    await store.delete('a', SIGNAL)
    assert.deepEqual(await names(store), ['ab', 'b'])
  })

  contract('what was deleted can be made anew', async (store) => {
    await store.create('my-key', bytes('first'), SIGNAL)
    await store.delete('my-key', SIGNAL)
    await store.create('my-key', bytes('second'), SIGNAL)
    assert.equal(Buffer.from(await store.get('my-key', SIGNAL)).toString(), 'second')
  })

  if (deleteTells) {
    contract('a delete of what is not there says so', async (store) => {
      const outcome = store.delete('my-key', SIGNAL)
      await assert.rejects(outcome, { name: 'KesError', code: 'KEY_NOT_FOUND' })
    })
  }

  contract('an empty store has an empty listing', async (store) => {
    assert.deepEqual(await store.list({ prefix: '', from: '' }, 10, SIGNAL), { names: [] })
  })

  contract('names are listed in the order of their bytes', async (store) => {
    const all = ['b', 'a', 'B', '0', '_a', 'a-b', 'a_b', 'ab', 'Z9', 'a0'].filter(holds)
    for (const key of all) await store.create(key, bytes('value'), SIGNAL)
    const sorted = ['0', 'B', 'Z9', '_a', 'a', 'a-b', 'a0', 'a_b', 'ab', 'b'].filter(holds)
    assert.deepEqual(await names(store), sorted)
  })

  contract('only names with the prefix are listed', async (store) => {
    for (const key of ['my', 'my-key', 'my-key2', 'MY-key', 'no', 'mx', 'mz'].filter(holds))
      await store.create(key, bytes('value'), SIGNAL)
    assert.deepEqual(await names(store, 'my'), ['my', 'my-key', 'my-key2'])
    assert.deepEqual(await names(store, 'my-key2'), ['my-key2'])
    assert.deepEqual(await names(store, 'nobody'), [])
  })

  contract('a listing begins at the name that it is asked for', async (store) => {
    for (const key of ['a1', 'a2', 'a3', 'b1']) await store.create(key, bytes('value'), SIGNAL)
    const list = async (prefix: string, from: string): Promise<Page> =>
      store.list({ prefix, from }, 10, SIGNAL)
    assert.deepEqual(await list('', 'a2'), { names: ['a2', 'a3', 'b1'] })
    assert.deepEqual(await list('a', 'a2'), { names: ['a2', 'a3'] })
    assert.deepEqual(await list('a', 'a2x'), { names: ['a3'] })
    assert.deepEqual(await list('a', 'az'), { names: [] })
  })

  contract('a listing that is cut tells which name comes next', async (store) => {
    for (const key of ['a1', 'a2', 'a3', 'b1']) await store.create(key, bytes('value'), SIGNAL)
    const list = async (prefix: string, limit: number): Promise<Page> =>
      store.list({ prefix, from: prefix }, limit, SIGNAL)
    assert.deepEqual(await list('', 2), { names: ['a1', 'a2'], next: 'a3' })
    assert.deepEqual(await list('a', 2), { names: ['a1', 'a2'], next: 'a3' })
    assert.deepEqual(await list('a', 3), { names: ['a1', 'a2', 'a3'] })
    assert.deepEqual(await list('', 4), { names: ['a1', 'a2', 'a3', 'b1'] })
  })

  contract('names that begin with a hyphen are kept, read, listed and deleted', async (store) => {
    const record = '-1-0a1b2c3d-my-key'
    for (const key of [record, 'my-key', '0']) await store.create(key, bytes(key), SIGNAL)
    assert.equal(Buffer.from(await store.get(record, SIGNAL)).toString(), record)
    assert.deepEqual(await names(store), [record, '0', 'my-key'])
    assert.deepEqual(await names(store, '-1-'), [record])
    await assert.rejects(store.create(record, bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
    await store.delete(record, SIGNAL)
    assert.deepEqual(await names(store), ['0', 'my-key'])
  })

  contract('a key lives on it: versions, states, a deletion with a way back', async (store) => {
    const expiry = { any: 1, unused: 1, offline: 0, changes: 0 }
    const services = [new KeyService(store, expiry), new KeyService(store, expiry)] as const
    const [keys, other] = services
    const first = await keys.create('my-key', '', PATIENT, { description: 'text' })
    const sealed = first.encrypt(bytes('old'), bytes('context'))
    const rotated = await keys.rotate('my-key', '', PATIENT)
    const moved = rotated.rewrap(sealed, bytes('context'))
    await other.disable('my-key', '', {}, PATIENT)
    await keys.schedule('my-key', '', 7, PATIENT)
    await assert.rejects(other.rotate('my-key', '', PATIENT), { code: 'KEY_PENDING' })
    await other.restore('my-key', '', PATIENT)
    const key = await keys.peek('my-key', PATIENT)
    assert.deepEqual([key.state, key.version, key.description], ['disabled', 2, 'text'])
    for (const ciphertext of [sealed, moved])
      assert.equal(key.decrypt(ciphertext, bytes('context')).toString(), 'old')
    assert.deepEqual((await keys.list(parseListing(''), PATIENT)).names, ['my-key'])
    await keys.delete('my-key', PATIENT)
    assert.deepEqual(await names(store), [])
    for (const { cache, health } of services) {
      cache.close()
      health.close()
    }
  })

  contract('names of 80 and of 100 characters are kept apart', async (store) => {
    const long = 'x'.repeat(100)
    for (const key of [long, long.slice(0, 80), `${long.slice(0, 79)}y`])
      await store.create(key, bytes(key), SIGNAL)
    assert.equal(Buffer.from(await store.get(long, SIGNAL)).toString(), long)
    assert.equal((await names(store)).length, 3)
  })

  contract('more names than a page has are all listed, page by page', async (store) => {
    const all = Array.from({ length: many }, (_, index) => `key-${String(index).padStart(6, '0')}`)
    // Neighbours that have the prefix almost.
    const todo = [...all, ...['key', 'key_', 'keys', 'a', 'l'].filter(holds)]
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (let key = todo.pop(); key !== undefined; key = todo.pop())
          await store.create(key, bytes('value'), SIGNAL)
      }),
    )
    const first = await store.list({ prefix: 'key-', from: 'key-' }, 1024, SIGNAL)
    assert.deepEqual(first, { names: all.slice(0, 1024), next: all[1024] })
    const rest = await store.list({ prefix: 'key-', from: first.next ?? '' }, 1024, SIGNAL)
    assert.deepEqual(rest, { names: all.slice(1024) })
  })

  if (createIsAtomic) {
    contract('of 16 concurrent creates exactly one wins', async (store) => {
      for (let round = 0; round < 5; round++) {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 16 }, (_, index) =>
            store.create(`race-${round}`, bytes(`value ${index}`), SIGNAL),
          ),
        )
        const winners = outcomes.flatMap(({ status }, index) =>
          status === 'fulfilled' ? [index] : [],
        )
        assert.equal(winners.length, 1)
        for (const outcome of outcomes) {
          if (outcome.status === 'fulfilled') continue
          const reason: unknown = outcome.reason
          assert.ok(reason instanceof KesError && reason.code === 'KEY_EXISTS', String(reason))
        }
        const value = Buffer.from(await store.get(`race-${round}`, SIGNAL)).toString()
        assert.equal(value, `value ${winners[0]}`)
      }
    })

    sharedContract('of 16 creates by two processes exactly one wins', async (t, config) => {
      const outcomes = await race(t, config)
      assert.equal(outcomes.size, RACE.names)
      const lost = Array.from({ length: 2 * RACE.creates - 1 }, () => 'KEY_EXISTS')
      for (const [key, results] of outcomes) assert.deepEqual(results.sort(), [...lost, 'won'], key)
    })
  }

  sharedContract('two stores on one see each other’s keys', async (t, config) => {
    const [one, two] = [await openStore(t, config), await openStore(t, config)]
    await one.create('my-key', bytes('value'), SIGNAL)
    assert.equal(Buffer.from(await two.get('my-key', SIGNAL)).toString(), 'value')
    await assert.rejects(two.create('my-key', bytes('x'), SIGNAL), { code: 'KEY_EXISTS' })
    assert.deepEqual(await names(two), ['my-key'])
    await two.delete('my-key', SIGNAL)
    await assert.rejects(one.get('my-key', SIGNAL), { code: 'KEY_NOT_FOUND' })
  })

  sharedContract(
    'stores that are opened for the first time side by side all work',
    async (t, config) => {
      const stores = await Promise.all(Array.from({ length: 8 }, () => openStore(t, config)))
      await Promise.all(stores.map((store, index) => store.create(`${index}`, bytes('v'), SIGNAL)))
      for (const store of stores) assert.equal((await names(store)).length, stores.length)
    },
  )

  if (givesUp) {
    contract(
      'a call whose signal is aborted ends with the reason, and does nothing',
      async (store) => {
        const reason = new Error('enough')
        const signal = AbortSignal.abort(reason)
        await assert.rejects(store.create('my-key', bytes('value'), signal), reason)
        await assert.rejects(store.get('my-key', signal), reason)
        await assert.rejects(store.delete('my-key', signal), reason)
        await assert.rejects(store.list({ prefix: '', from: '' }, 10, signal), reason)
        await assert.rejects(store.status(signal), reason)
        assert.deepEqual(await names(store), [])
      },
    )
  }
}

async function names(store: KeyStore, prefix = ''): Promise<readonly string[]> {
  const page = await store.list({ prefix, from: prefix }, 1000, SIGNAL)
  assert.equal(page.next, undefined)
  return page.names
}
