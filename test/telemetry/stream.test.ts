import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EventStream, type Follower } from '#src/telemetry/stream.js'

interface Reader extends Follower {
  readonly got: string[]
  ends: number
}

/** @param patience how many lines it takes before it cannot keep up */
function reader(patience = Number.POSITIVE_INFINITY): Reader {
  const got: string[] = []
  return {
    got,
    ends: 0,
    write(line) {
      got.push(line)
      return got.length <= patience
    },
    end() {
      this.ends++
    },
  }
}

test('every follower gets every line', () => {
  const stream = new EventStream()
  const readers = [reader(), reader(), reader()]
  for (const each of readers) stream.follow(each)
  stream.publish('a\n')
  stream.publish('b\n')
  for (const { got } of readers) assert.deepEqual(got, ['a\n', 'b\n'])
})

test('a follower gets nothing from before', () => {
  const stream = new EventStream()
  const late = reader()
  stream.publish('a\n')
  stream.follow(late)
  assert.deepEqual(late.got, [])
})

test('a slow follower is dropped and told so once', () => {
  const stream = new EventStream()
  const slow = reader(1)
  stream.follow(slow)
  for (const line of ['a\n', 'b\n', 'c\n', 'd\n']) stream.publish(line)
  stream.close()
  assert.deepEqual([slow.got.length, slow.ends], [2, 1])
})

test('a slow follower does no harm to the others', () => {
  const stream = new EventStream()
  const [before, slow, after] = [reader(), reader(0), reader()]
  for (const each of [before, slow, after]) stream.follow(each)
  stream.publish('a\n')
  stream.publish('b\n')
  assert.deepEqual([before.got.length, after.got.length], [2, 2])
})

test('who has stopped to follow gets nothing and is not told of the end', () => {
  const stream = new EventStream()
  const gone = reader()
  stream.follow(gone)
  stream.unfollow(gone)
  stream.publish('a\n')
  stream.close()
  assert.deepEqual([gone.got.length, gone.ends], [0, 0])
})

test('followers are told once that the server stops', () => {
  const stream = new EventStream()
  const each = reader()
  stream.follow(each)
  stream.close()
  stream.close()
  assert.equal(each.ends, 1)
  assert.equal(stream.hasFollowers, false)
})
