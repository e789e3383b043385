import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { test } from 'node:test'

import fc from 'fast-check'

import { ErrorLog, LEVELS, type LogFormat } from '#src/telemetry/log.js'
import { RUNS } from '../support/bytes.ts'
import { Lines } from '../support/sink.ts'

function logOf(format: LogFormat = 'text', threshold = LEVELS.INFO as number) {
  const lines = new Lines()
  return { lines, log: new ErrorLog(lines.sink, { threshold, format }) }
}

const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z'

test('a line of text is as Go’s slog writes it', () => {
  const { lines, log } = logOf()
  log.write('INFO', 'started', { address: '0.0.0.0:7373', keys: 3, none: undefined })
  assert.match(
    lines.text,
    new RegExp(`^time=${TIME} level=INFO msg=started address=0\\.0\\.0\\.0:7373 keys=3\\n$`),
  )
})

test('text with spaces, quotes or equals signs is quoted', () => {
  const { lines, log } = logOf()
  log.write('WARN', 'a b', { c: 'd=e', f: '"', g: '' })
  assert.match(lines.text, / msg="a b" c="d=e" f="\\"" g=""\n$/)
})

test('a line of JSON is an object with time, level, msg and the attributes', () => {
  const { lines, log } = logOf('json')
  log.write('ERROR', 'broken', { path: '/a b', status: 500, none: undefined })
  const { time, ...rest } = JSON.parse(lines.text) as Record<string, unknown>
  assert.match(String(time), new RegExp(`^${TIME}$`))
  assert.deepEqual(rest, { level: 'ERROR', msg: 'broken', path: '/a b', status: 500 })
})

const anything = fc.string({ unit: 'binary', maxLength: 40 })
const nasty = fc.constantFrom(
  '\n',
  '\r\n',
  '\u2028',
  '\u2029',
  '\u0085',
  '\v\f',
  '\u001b[2J',
  '\u009b2J',
)
const message = fc.tuple(anything, nasty, anything).map((parts) => parts.join(''))

for (const format of ['text', 'json'] as const) {
  test(`a line of ${format} stays one line, whatever is in it`, () => {
    fc.assert(
      fc.property(message, message, (text, attribute) => {
        const { lines, log } = logOf(format)
        log.write('INFO', text, { attribute })
        assert.match(lines.text, /^[^\n\r\u2028\u2029\v\f]*\n$/)
      }),
      RUNS,
    )
  })
}

test('a line of text has no control characters, which a terminal would obey', () => {
  fc.assert(
    fc.property(message, (text) => {
      const { lines, log } = logOf()
      log.write('INFO', text)
      assert.match(lines.text, /^[^\p{Cc}\p{Cf}\u2028\u2029]*\n$/u)
    }),
    RUNS,
  )
})

test('a message of any kind is read back from a line of JSON', () => {
  fc.assert(
    fc.property(message, (text) => {
      const { lines, log } = logOf('json')
      log.write('INFO', text)
      assert.equal((JSON.parse(lines.text) as { msg: string }).msg, text)
    }),
    RUNS,
  )
})

test('a value cannot pretend to be another attribute', () => {
  const { lines, log } = logOf()
  log.write('INFO', 'a', { path: 'x status=200', quoted: 'x" status="200' })
  assert.match(lines.text, / path="x status=200" quoted="x\\" status=\\"200"\n$/)
})

test('levels below the threshold are not written', () => {
  const { lines, log } = logOf('text', LEVELS.WARN)
  log.write('DEBUG', 'one')
  log.write('INFO', 'two')
  log.write('WARN', 'three')
  log.write('ERROR', 'four')
  assert.deepEqual(lines.text.match(/msg=\w+/g), ['msg=three', 'msg=four'])
})

test('a threshold may lie between two levels', () => {
  const { lines, log } = logOf('text', LEVELS.INFO + 1)
  log.write('INFO', 'one')
  log.write('WARN', 'two')
  assert.deepEqual(lines.text.match(/msg=\w+/g), ['msg=two'])
})

test('an infinite threshold writes nothing', () => {
  const { lines, log } = logOf('text', Number.POSITIVE_INFINITY)
  log.write('ERROR', 'one')
  assert.equal(lines.text, '')
})

test('levels have the numbers of Go’s slog', () => {
  assert.deepEqual(LEVELS, { DEBUG: -4, INFO: 0, WARN: 4, ERROR: 8 })
})

test('an event is counted and written', () => {
  const { lines, log } = logOf()
  log.event('WARN', 'not authorized', { 'req.path': '/v1/status' })
  assert.equal(log.events, 1)
  assert.match(lines.text, / level=WARN msg="not authorized" req\.path=\/v1\/status\n$/)
})

test('a line that is no event is not counted', () => {
  const { log } = logOf()
  log.write('ERROR', 'broken')
  assert.equal(log.events, 0)
})

test('a follower gets an event as one line of JSON with only a message', () => {
  const { log } = logOf('json', Number.POSITIVE_INFINITY)
  const got: string[] = []
  log.stream.follow({ write: (line) => got.push(line) > 0, end: () => {} })
  log.event('ERROR', 'failed\nto read key', { status: 502 })
  assert.match(got.join(''), /^[^\n]+\n$/)
  const event = JSON.parse(got.join('')) as Record<string, string>
  assert.deepEqual(Object.keys(event), ['message'])
  assert.match(event['message'] ?? '', / level=ERROR msg="failed\\nto read key" status=502$/)
})

test('a follower gets no lines that are no events', () => {
  const { log } = logOf()
  const got: string[] = []
  log.stream.follow({ write: (line) => got.push(line) > 0, end: () => {} })
  log.write('ERROR', 'broken')
  assert.deepEqual(got, [])
})

test('lines of one turn are written at once, in order', async () => {
  const { lines, log } = logOf()
  let writes = 0
  const write = lines._write.bind(lines)
  lines._write = (chunk: Buffer, encoding: string, done: () => void) => {
    writes++
    write(chunk, encoding, done)
  }
  for (const text of ['one', 'two', 'three']) log.write('INFO', text)
  assert.equal(writes, 0)
  await setImmediate()
  await setImmediate()
  assert.equal(writes, 1)
  assert.deepEqual(lines.text.match(/msg=\w+/g), ['msg=one', 'msg=two', 'msg=three'])
})
