/** Change records: what is written is read, and nothing else is (docs/formats.md, "Change records"). */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesField, varintField } from '#src/crypto/protobuf.js'
import { DamagedKeyError } from '#src/keys/codec.js'
import { type ChangeRecord, decodeRecord, encodeRecord, hashOf, lastOf } from '#src/keys/record.js'
import { parseRecordName, recordName } from '#src/keys/record-name.js'
import { UNCHANGED } from '#src/keys/snapshot.js'
import { ZERO_TIME } from '#src/time.js'
import { bytes, flipBit, fromBase64, RUNS } from '../support/bytes.ts'
import { CHANGE, LATER } from '../support/keys.ts'

function damaged(entry: Uint8Array, why?: RegExp): void {
  assert.throws(
    () => decodeRecord(entry),
    (error) => {
      assert.ok(error instanceof DamagedKeyError, String(error))
      if (why !== undefined) assert.match(error.message, why)
      return true
    },
  )
}

const time = fc.record(
  {
    seconds: fc.integer({ min: ZERO_TIME.seconds, max: 253_402_300_799 }),
    nanos: fc.nat(999_999_999),
  },
  { noNullPrototype: true },
)
const secret = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((part) => Buffer.from(part))
const identity = fc.constantFrom('', 'a'.repeat(64), 'rustfs:ops')
const version = fc.record(
  {
    cipher: fc.constantFrom('AES256' as const, 'ChaCha20' as const),
    secret,
    hmacKey: secret,
    createdAt: time,
    createdBy: identity,
  },
  { noNullPrototype: true },
)
const state = fc.oneof(
  fc.constant({ isDisabled: false, deniesDecrypt: false }),
  fc.record({ isDisabled: fc.constant(true), deniesDecrypt: fc.boolean() }),
)
const fate = fc.oneof(
  fc.constant({ deletionDate: undefined, isDestroying: false }),
  fc.record({ deletionDate: time, isDestroying: fc.boolean() }),
)
const text = fc.string({ unit: 'binary', maxLength: 100 })
const tags = fc
  .dictionary(
    text.filter((name) => name !== '' && name.length <= 128),
    text,
    { maxKeys: 50 },
  )
  .map((object) => new Map(Object.entries(object)))
  // By the bytes of their names, as they are stored.
  .map((map) => new Map([...map].sort(([a], [b]) => Buffer.compare(bytes(a), bytes(b)))))

const change: fc.Arbitrary<ChangeRecord> = fc
  .record({
    number: fc.integer({ min: 1, max: 200 }),
    owner: secret,
    before: secret,
    changedAt: time,
    changedBy: identity,
    state,
    fate,
    description: text,
    tags,
    later: fc.array(version, { maxLength: 5 }),
  })
  .map(({ number, owner, before, changedAt, changedBy, later, ...rest }) => ({
    number,
    owner,
    predecessor: number === 1 ? undefined : before,
    changedAt,
    changedBy,
    snapshot: {
      ...rest.state,
      ...rest.fate,
      description: rest.description,
      tags: rest.tags,
      later: later.slice(0, number),
    },
  }))

test('a record is read as it was written', () => {
  fc.assert(
    fc.property(change, (record) => assert.deepEqual(decodeRecord(encodeRecord(record)), record)),
    RUNS,
  )
})

test('a record is base64 in one line', () => {
  assert.match(encodeRecord(CHANGE).toString(), /^[A-Za-z0-9+/]+={0,2}$/)
})

test('a record with any bit turned over is damaged', () => {
  const message = fromBase64(encodeRecord(CHANGE).toString())
  for (let bit = 0; bit < message.length * 8; bit++)
    damaged(bytes(flipBit(message, bit).toString('base64')))
})

test('a record that is cut, or goes on, is damaged', () => {
  const message = fromBase64(encodeRecord(CHANGE).toString())
  for (let size = 0; size < message.length; size++)
    damaged(bytes(message.subarray(0, size).toString('base64')))
  damaged(bytes(Buffer.concat([message, Buffer.alloc(1)]).toString('base64')))
  damaged(bytes(Buffer.concat([message, message]).toString('base64')))
})

test('what is random is damaged, and nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.boolean(), (random, isText) => {
      damaged(isText ? bytes(Buffer.from(random).toString('base64')) : random)
    }),
    { numRuns: 1000 },
  )
})

/** A message with the checksum that it should have. */
function summed(...fields: readonly Buffer[]): Buffer {
  const message = Buffer.concat(fields)
  const checksum = bytesField(14, hashOf(message))
  return bytes(Buffer.concat([message, checksum]).toString('base64'))
}

/** Without its checksum. */
const MESSAGE = fromBase64(encodeRecord(CHANGE).toString()).subarray(0, -34)

test('what is nearly a record is read only if it is exactly what would be written', () => {
  const number = fc.integer({ min: 1, max: 16 })
  const field = fc.oneof(
    fc.tuple(number, fc.nat(300)).map(([n, value]) => varintField(n, value)),
    fc.tuple(number, fc.uint8Array({ maxLength: 40 })).map(([n, value]) => bytesField(n, value)),
  )
  assert.deepEqual(summed(MESSAGE), encodeRecord(CHANGE))
  fc.assert(
    fc.property(field, fc.boolean(), (extra, isFirst) => {
      const entry = isFirst ? summed(extra, MESSAGE) : summed(MESSAGE, extra)
      try {
        assert.deepEqual(encodeRecord(decodeRecord(entry)), entry)
      } catch (error) {
        assert.ok(error instanceof DamagedKeyError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

test('what a later release may add is noticed', () => {
  damaged(summed(MESSAGE, bytesField(15, bytes('new'))), /does not know/)
  damaged(summed(MESSAGE, varintField(16, 1)), /does not know/)
})

test('line breaks, and another spelling of the base64, are damage', () => {
  const text = encodeRecord(CHANGE).toString()
  damaged(bytes(`${text}\n`), /not base64/)
  damaged(bytes(`${text.slice(0, 8)}\r\n${text.slice(8)}`), /not base64/)
  damaged(bytes(` ${text}`), /not base64/)
  damaged(bytes('AB=='), /not base64/)
  damaged(bytes(''), /format/)
})

function record(parts: Partial<ChangeRecord>): Buffer {
  return encodeRecord({ ...CHANGE, ...parts })
}

function saying(parts: Partial<ChangeRecord['snapshot']>): Buffer {
  return record({ snapshot: { ...UNCHANGED, ...parts } })
}

test('no record has a place that there is not', () => {
  damaged(record({ number: 0 }), /impossible place/)
  damaged(record({ number: 201 }), /impossible place/)
  damaged(record({ number: 1 }), /impossible place/)
  damaged(record({ number: 2, predecessor: undefined }), /impossible place/)
  damaged(record({ number: 2, predecessor: Buffer.alloc(31) }), /impossible place/)
  damaged(record({ owner: Buffer.alloc(31) }), /no owner/)
})

test('no record has a state that there is not', () => {
  damaged(saying({ deniesDecrypt: true }), /impossible state/)
  damaged(saying({ isDestroying: true }), /impossible state/)
})

test('no record has more than may be said of a key', () => {
  damaged(saying({ description: 'x'.repeat(8193) }), /description is too long/)
  const tags = new Map(Array.from({ length: 51 }, (_, index) => [`t${index}`, '']))
  damaged(saying({ tags }), /too many tags/)
  damaged(saying({ tags: new Map([['', 'x']]) }), /no name/)
})

test('no record has more versions than there were changes, nor one without an HMAC key', () => {
  const later = Array.from({ length: 3 }, () => LATER)
  damaged(record({ snapshot: { ...UNCHANGED, later } }), /too many versions/)
  const { hmacKey: _, ...rest } = LATER
  damaged(saying({ later: [rest as typeof LATER] }), /no HMAC key/)
})

test('a record of a format of the future is damaged', () => {
  const message = fromBase64(encodeRecord(CHANGE).toString())
  message[1] = 2
  damaged(bytes(message.toString('base64')), /unknown format/)
})

/** Three records, one behind the other. */
function chain(owner = CHANGE.owner): Buffer[] {
  const entries: Buffer[] = []
  for (let number = 1; number <= 3; number++) {
    const last = entries.at(-1)
    entries.push(encodeRecord({ ...CHANGE, number, owner, predecessor: last && hashOf(last) }))
  }
  return entries
}

test('the last record of a whole chain is what counts', () => {
  assert.equal(lastOf(chain(), CHANGE.owner).number, 3)
  assert.equal(lastOf(chain().slice(0, 1), CHANGE.owner).number, 1)
})

test('a chain with a record that is another’s, twice there, missing, changed or moved is damaged', () => {
  const [one, two, three] = chain() as [Buffer, Buffer, Buffer]
  const other = chain(Buffer.alloc(32, 9))
  const changed = encodeRecord({ ...CHANGE, number: 2, predecessor: hashOf(one), changedBy: 'x' })
  const lost = (index: number): Buffer[] => chain().filter((_, at) => at !== index)
  for (const [what, entries] of Object.entries({
    another: [one, other[1] ?? one, three],
    'all of another': other,
    twice: [one, one, two],
    'first missing': lost(0),
    'middle missing': lost(1),
    changed: [one, changed, three],
    moved: [one, three, two],
    'damaged in the middle': [one, bytes('x'), three],
  }))
    assert.throws(() => lastOf(entries, CHANGE.owner), DamagedKeyError, what)
})

test('the name of a record says of which key it is, and where it stands', () => {
  const owner = Buffer.from('0a1b2c3d'.padEnd(64, '0'), 'hex')
  assert.equal(recordName(12, owner, 'my-key'), '-12-0a1b2c3d-my-key')
  const parsed = { prefix: '', number: 12, owner: '0a1b2c3d', key: 'my-key' }
  assert.deepEqual(parseRecordName('-12-0a1b2c3d-my-key'), parsed)
  const prefix = '-0123456789abcdef-'
  assert.deepEqual(parseRecordName(`${prefix}-12-0a1b2c3d-my-key`), { ...parsed, prefix })
  for (const name of [
    'my-key',
    '-enclave-x',
    '-01-0a1b2c3d-a',
    '-0-0a1b2c3d-a',
    '-1-0A1b2c3d-a',
    '-1-0a1b2c3d-',
  ])
    assert.equal(parseRecordName(name), undefined, name)
})
