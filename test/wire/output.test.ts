import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { Output, type Socket } from '#src/wire/output.js'

/** Turns for which all is gathered once one had more than one answer; some more than that. */
const MANY = 120

/** A connection, and what was written to its socket, write by write. */
function connection(): { writes: string[]; answer: (text: string) => void } {
  const writes: string[] = []
  const socket = {
    writableLength: 0,
    destroyed: false,
    write: (bytes: Buffer) => writes.push(bytes.toString()) > 0,
  } as unknown as Socket
  const output = new Output(socket)
  const answer = (text: string): void => {
    const at = output.reserve(text.length)
    output.length = at + output.buffer.write(text, at)
    output.hurry()
  }
  return { writes, answer }
}

/** As many turns, with one answer each, as it takes until answers may leave early. */
async function settle(): Promise<void> {
  const { answer } = connection()
  for (let i = 0; i < MANY; i++) {
    answer('-')
    await nextTurn()
  }
}

test('the only answer of a turn leaves at once', async () => {
  await settle()
  const { writes, answer } = connection()
  for (const text of ['a', 'b', 'c']) {
    answer(text)
    assert.equal(writes.at(-1), text)
    await nextTurn()
  }
  assert.deepEqual(writes, ['a', 'b', 'c'])
})

test('once a turn had several answers, those of the next turns leave together at their ends', async () => {
  await settle()
  const { writes, answer } = connection()
  for (const text of ['a', 'b', 'c']) answer(text)
  await nextTurn()
  for (const text of ['d', 'e', 'f']) answer(text)
  assert.deepEqual(writes, ['a', 'bc'])
  await nextTurn()
  assert.deepEqual(writes, ['a', 'bc', 'def'])
})

test('several answers of a turn are so on whatever connections they are', async () => {
  await settle()
  const [one, other] = [connection(), connection()]
  one.answer('a')
  other.answer('b')
  assert.deepEqual([one.writes, other.writes], [['a'], []])
  await nextTurn()
  one.answer('c')
  assert.deepEqual([one.writes, other.writes], [['a'], ['b']])
  await nextTurn()
  assert.deepEqual(one.writes, ['a', 'c'])
})

test('when answers come one by one again they leave at once again', async () => {
  const { writes, answer } = connection()
  answer('a')
  answer('b')
  await nextTurn()
  await settle()
  answer('c')
  assert.equal(writes.at(-1), 'c')
})
