import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect, isDeepStrictEqual } from 'node:util'

import fc from 'fast-check'
import * as v from 'valibot'

import {
  address,
  duration,
  endpoint,
  isLoopback,
  onOff,
  optional,
  parseAddress,
  parseDuration,
  Secret,
  secret,
} from '#src/fields.js'
import { RUNS } from './support/bytes.ts'

const DURATIONS: readonly [text: string, millis: number][] = [
  ['0', 0],
  ['0s', 0],
  ['300ms', 300],
  ['1s', 1000],
  ['1.5s', 1500],
  ['.5s', 500],
  ['1.s', 1000],
  ['5m0s', 300_000],
  ['1h2m3.5s', 3_723_500],
  ['1500us', 1.5],
  ['1500µs', 1.5],
  ['1500μs', 1.5],
  ['2000000ns', 2],
  ['1s1s', 2000],
]

for (const [text, millis] of DURATIONS) {
  test(`${text} is ${millis} ms`, () => {
    assert.equal(parseDuration(text), millis)
  })
}

const NO_DURATIONS = [
  '',
  '1',
  '-1s',
  '1 s',
  ' 1s',
  '1s ',
  's',
  '1d',
  '7d',
  '1S',
  '.s',
  '1..5s',
  '1s\n',
]

for (const text of [...NO_DURATIONS, '1h-2m', '1e3s', 'NaNs', '∞s', '1,5s']) {
  test(`${JSON.stringify(text)} is no duration`, () => {
    assert.equal(parseDuration(text), undefined)
  })
}

test('a duration is the sum of its parts', () => {
  const part = fc.nat(1000)
  fc.assert(
    fc.property(part, part, part, part, (h, m, s, ms) => {
      const millis = ((h * 60 + m) * 60 + s) * 1000 + ms
      assert.equal(parseDuration(`${h}h${m}m${s}s${ms}ms`), millis)
    }),
    RUNS,
  )
})

const ADDRESSES: readonly [text: string, host: string, port: number][] = [
  ['0.0.0.0:7373', '0.0.0.0', 7373],
  [':7373', '', 7373],
  ['[::]:7373', '::', 7373],
  ['[::1]:0', '::1', 0],
  ['[fe80::1%eth0]:80', 'fe80::1%eth0', 80],
  ['host:65535', 'host', 65_535],
]

for (const [text, host, port] of ADDRESSES) {
  test(`${text} is port ${port} of '${host}'`, () => {
    assert.deepEqual(parseAddress(text), { host, port })
  })
}

for (const text of [
  '',
  'host',
  'host:',
  ':',
  '::1:80',
  '[::1]',
  'host:65536',
  'host:-1',
  'a:b:1',
]) {
  test(`${JSON.stringify(text)} is no address`, () => {
    assert.equal(parseAddress(text), undefined)
  })
}

test('on, yes and true are on, off, no and false are off, in any case', () => {
  for (const word of ['on', 'On', 'ON', 'yes', 'true', 'TRUE'])
    assert.equal(v.parse(onOff(false), word), true)
  for (const word of ['off', 'OFF', 'no', 'No', 'false'])
    assert.equal(v.parse(onOff(true), word), false)
})

test('an empty switch has its default', () => {
  assert.equal(v.parse(onOff(true), ''), true)
  assert.equal(v.parse(onOff(false), ''), false)
})

for (const word of ['1', 'enabled', 'o', 'constructor', 'toString', '__proto__']) {
  test(`${word} is neither on nor off`, () => {
    assert.equal(v.safeParse(onOff(false), word).success, false)
  })
}

test('an optional field has its default when it is left out or left empty', () => {
  const schema = optional(duration, '5s')
  assert.equal(v.parse(schema, undefined), 5000)
  assert.equal(v.parse(schema, null), 5000)
})

test('no finding about a field repeats its value', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z]{12,20}$/), (secret) => {
      for (const schema of [duration, address, onOff(false)]) {
        const { issues = [] } = v.safeParse(schema, secret)
        for (const { message } of issues) assert.ok(!message.includes(secret))
      }
    }),
    RUNS,
  )
})

test('a URL of a service has a scheme and no password', () => {
  const read = (given: string): string | undefined => {
    const result = v.safeParse(endpoint, given)
    return result.success ? result.output : undefined
  }
  assert.equal(read(' https://keys.example.com:8200/ '), 'https://keys.example.com:8200')
  assert.equal(read('http://[::1]:80/base//'), 'http://[::1]/base')
  const wrong = ['', 'localhost:8200', 'ftp://a', 'https://', 'https://u@a', 'https://u:p@a']
  for (const given of [...wrong, 'https://a/?b', 'https://a/#b'])
    assert.equal(read(given), undefined, given)
})

test('a secret shows only when it is asked to', () => {
  const hidden = v.parse(secret('a password is needed', 'Password.'), 'top secret')
  assert.equal(hidden.reveal(), 'top secret')
  for (const shown of [inspect(hidden, { showHidden: true }), JSON.stringify({ hidden })])
    assert.doesNotMatch(shown, /top secret/)
  assert.equal(
    v.safeParse(secret('a password is needed', 'Password.'), '').issues?.[0].message,
    'a password is needed',
  )
})

test('a comparison of settings sees that a secret is another one, and nothing shows it', () => {
  const [a, b] = [new Secret('s3cr3t-a'), new Secret('s3cr3t-b')]
  assert.equal(isDeepStrictEqual({ a }, { a: new Secret('s3cr3t-a') }), true)
  assert.equal(isDeepStrictEqual({ a }, { a: b }), false)
  assert.doesNotMatch(inspect(a, { showHidden: true }) + JSON.stringify(a), /s3cr3t/)
})

test('only digits name this machine', () => {
  const loopback = (host: string): boolean => isLoopback({ host, port: 0 })
  for (const host of ['127.0.0.1', '127.1.2.3', '::1']) assert.equal(loopback(host), true, host)
  for (const host of [
    'localhost',
    '',
    '0.0.0.0',
    '::',
    '127.0.0.1.example.com',
    '::ffff:127.0.0.1',
    '1127.0.0.1',
    '192.168.0.1',
  ])
    assert.equal(loopback(host), false, host)
})
