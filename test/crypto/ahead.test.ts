import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { Secret } from '#src/crypto/aead.js'
import { Ahead } from '#src/crypto/ahead.js'
import { bytes } from '../support/bytes.ts'
import { apart } from '../support/seals.ts'

/** More in a row than it takes until some are made ahead. */
const MANY = 100
const MAX_AGE = 1000

/** With a clock and turns of its own; what is made are numbers, each once. */
class Stock {
  now = 0
  count = 0
  #due: (() => void)[] = []
  readonly ahead = new Ahead<number>(
    () => this.now,
    (act) => this.#due.push(act),
  )

  /** @returns whether it was there already */
  take(owner: object): boolean {
    return this.ahead.take(owner, () => this.count++) !== undefined
  }

  endTurn(): void {
    const due = this.#due
    this.#due = []
    for (const act of due) act()
  }

  /** @returns how many of `times` were there already, one in each turn */
  takeInTurns(owner: object, times: number): number {
    let ready = 0
    for (let i = 0; i < times; i++) {
      if (this.take(owner)) ready++
      this.endTurn()
    }
    return ready
  }
}

test('who needs many in a row finds them made', () => {
  const stock = new Stock()
  const owner = {}
  assert.equal(stock.takeInTurns(owner, 10), 0)
  stock.takeInTurns(owner, MANY)
  assert.equal(stock.takeInTurns(owner, MANY), MANY)
})

test('what was made is had once', () => {
  const stock = new Stock()
  const owner = {}
  const taken: number[] = []
  for (let i = 0; i < 3 * MANY; i++) {
    const one = stock.ahead.take(owner, () => stock.count++)
    if (one !== undefined) taken.push(one)
    stock.endTurn()
  }
  assert.ok(taken.length > MANY)
  assert.equal(new Set(taken).size, taken.length)
})

test('within a turn no more are there than were made before it', () => {
  const stock = new Stock()
  const owner = {}
  stock.takeInTurns(owner, MANY)
  const { size } = stock.ahead
  assert.ok(size > 0)
  for (let i = 0; i < size; i++) assert.ok(stock.take(owner))
  for (let i = 0; i < MANY; i++) assert.ok(!stock.take(owner))
})

test('nobody gets what was made for somebody else, and those who take turns get nothing', () => {
  const stock = new Stock()
  const [one, other] = [{}, {}]
  stock.takeInTurns(one, MANY)
  assert.ok(!stock.take(other))
  const before = stock.count
  for (let i = 0; i < MANY; i++) {
    assert.equal(stock.takeInTurns(one, 1), 0)
    assert.equal(stock.takeInTurns(other, 1), 0)
  }
  assert.equal(stock.count, before)
})

test('nothing is made for who is not the last one to need it at the end of the turn', () => {
  const stock = new Stock()
  const [one, other] = [{}, {}]
  for (let i = 0; i < MANY; i++) stock.take(one)
  stock.take(other)
  stock.endTurn()
  assert.equal(stock.count, 0)
})

test('what is older than a second is not had', () => {
  const stock = new Stock()
  const owner = {}
  stock.takeInTurns(owner, MANY)
  stock.now += MAX_AGE + 1
  assert.equal(stock.takeInTurns(owner, 10), 0)
})

test('what nobody has had is gone after a second', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const stock = new Stock()
    stock.takeInTurns({}, MANY)
    assert.ok(stock.ahead.size > 0)
    mock.timers.tick(MAX_AGE)
    assert.equal(stock.ahead.size, 0)
  } finally {
    mock.timers.reset()
  }
})

for (const cipher of ['AES256', 'ChaCha20'] as const) {
  test(`messages of ${cipher} open, and share no iv and no nonce, whether their ciphers were made ahead or not`, async () => {
    const secret = new Secret(cipher, Buffer.alloc(32, 7))
    const seen = new Set<string>()
    for (let i = 0; i < 5 * MANY; i++) {
      const [plaintext, context] = [bytes(`plaintext ${i}`), bytes(i % 3 === 0 ? '' : `${i}`)]
      const sealed = secret.seal(plaintext, context)
      const parts = apart(sealed)
      assert.deepEqual(secret.open(parts, context), plaintext)
      assert.equal(secret.open(parts, bytes('another')), undefined)
      seen.add(sealed.toString('hex', sealed.length - 28, sealed.length - 12))
      seen.add(sealed.toString('hex', sealed.length - 12))
      if (i % 5 !== 0) await nextTurn()
    }
    assert.equal(seen.size, 10 * MANY)
  })
}

test('secrets that seal in turns each open their own messages', async () => {
  const secrets = [1, 2].map((byte) => new Secret('AES256', Buffer.alloc(32, byte)))
  for (let i = 0; i < 6 * MANY; i++) {
    // Long enough in a row for some to be made ahead, and not all of them used.
    const mine = Math.floor(i / 91) % 2
    const sealed = secrets[mine]?.seal(bytes('p'), bytes('c')) ?? Buffer.alloc(0)
    const parts = apart(sealed)
    assert.deepEqual(secrets[mine]?.open(parts, bytes('c')), bytes('p'))
    assert.equal(secrets[1 - mine]?.open(parts, bytes('c')), undefined)
    await nextTurn()
  }
})
