/** Commands that run until Ctrl-C, in a terminal: its size changes, the server goes and comes back. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { stripVTControlCharacters } from 'node:util'

import { adminEnvironment, eventually } from '../support/process.ts'
import { ask, startServer, type TestServer } from '../support/server.ts'
import { kesInTerminal, type Terminal } from '../support/terminal.ts'
import { without } from '../support/tools.ts'

const CTRL_C = '\u0003'
const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const ALLOW = 'allow: [ /v1/key/list/*, /v1/metrics ]'
const HOME = '\u001b[H'
const SMALL = { columns: 40, rows: 8 }

/** @param columns of the terminal when they were written */
function assertFit(lines: readonly string[], columns: number): void {
  for (const line of lines) {
    const text = stripVTControlCharacters(line)
    assert.ok(text.length <= columns, `${text.length} columns: ${text}`)
  }
}

/** The latest whole picture. */
function picture(terminal: Terminal): string[] {
  const frames = terminal.screen().split(HOME)
  return (frames.findLast((frame) => frame.includes('\u001b[J')) ?? '').split('\r\n')
}

/** Asks until the terminal shows what is wanted. */
async function askUntil(server: TestServer, path: string, seen: () => boolean): Promise<void> {
  let isDone = false
  const asking = (async () => {
    while (!isDone) await ask(server.port, server.admin, 'GET', path)
  })()
  try {
    await eventually(`the terminal shows ${path}`, seen)
  } finally {
    isDone = true
    await asking
  }
}

async function again(t: TestContext, server: TestServer): Promise<TestServer> {
  return startServer(t, { port: server.port })
}

describe('live views', { skip: without('script', 'stty') }, () => {
  test('kes log is a table that fits the terminal, now and when it is narrower', async (t) => {
    const server = await startServer(t)
    const terminal = kesInTerminal(t, ['log', '--color', 'always'], {
      env: adminEnvironment(server),
      size: { columns: 100, rows: 30 },
    })
    const long = `/v1/key/describe/${'a'.repeat(80)}`
    const rows = () => terminal.screen().split('\r\n').slice(0, -1)
    await askUntil(server, long, () => rows().length > 1)
    assert.match(rows()[0] ?? '', /Time +Code +IP +Identity +Path +Took/)
    assert.match(
      stripVTControlCharacters(rows()[1] ?? ''),
      /^\d\d:\d\d:\d\d  404   127\.0\.0\.1 {8}[0-9a-f]{11}…  \/v1\/key\/describe\/a+…  \S+s/,
    )
    assert.ok(rows()[1]?.includes('\u001b[33m404'), rows()[1])
    assertFit(rows(), 100)

    terminal.resize(SMALL)
    const narrow = () => rows().slice(rows().findLastIndex((row) => row.includes('Path')))
    await askUntil(server, long, () => narrow().length > 1 && !narrow().join().includes('IP'))
    assertFit(narrow(), SMALL.columns)
    terminal.type(CTRL_C)
    assert.equal(await terminal.exited, 130)
    assert.ok(!terminal.screen().includes('Error'), terminal.screen())
  })

  test('what others put into a path does not reach the terminal as it is', async (t) => {
    const server = await startServer(t)
    const terminal = kesInTerminal(t, ['log'], { env: adminEnvironment(server) })
    await askUntil(server, '/v1/%1B%5B31mred%0A', () => terminal.screen().includes('red'))
    assert.ok(terminal.screen().includes('\\u{1b}[31mred\\u{a}'), terminal.screen())
    terminal.type(CTRL_C)
    assert.equal(await terminal.exited, 130)
  })

  test('kes log says that the server is gone, and goes on when it is back', async (t) => {
    const server = await startServer(t)
    const terminal = kesInTerminal(t, ['log'], { env: adminEnvironment(server) })
    await askUntil(server, '/v1/key/list/', () => terminal.screen().includes('/v1/key/list/'))
    await server.close()
    await terminal.see('The log is interrupted: ')
    const back = await again(t, server)
    await askUntil(back, '/v1/policy/list/', () => terminal.screen().includes('/v1/policy/list/'))
    terminal.type(CTRL_C)
    assert.equal(await terminal.exited, 130)
  })

  test('kes metric follows the size of the terminal, and leaves it as it was', async (t) => {
    const server = await startServer(t)
    const terminal = kesInTerminal(t, ['metric', '--rate', '200ms'], {
      env: adminEnvironment(server),
      size: { columns: 90, rows: 30 },
    })
    await terminal.see(ENTER)
    await terminal.see('Keystore    ')
    await terminal.see('reachable')
    assertFit(picture(terminal), 90)

    terminal.resize(SMALL)
    await eventually('a small picture', () => {
      const lines = picture(terminal)
      return lines.length === SMALL.rows && lines.every((line) => fits(line, SMALL.columns))
    })
    terminal.resize({ columns: 120, rows: 40 })
    await eventually('a large picture', () => picture(terminal).length > SMALL.rows)

    terminal.type(CTRL_C)
    assert.equal(await terminal.exited, 130)
    // The terminal itself shows the ^C that was typed.
    assert.ok(terminal.screen().endsWith(LEAVE), JSON.stringify(terminal.screen().slice(-100)))
  })

  test('kes metric says that the server is gone, and counts again when it is back', async (t) => {
    const server = await startServer(t)
    const terminal = kesInTerminal(t, ['metric', '--rate', '200ms'], {
      env: adminEnvironment(server),
    })
    await terminal.see('p50')
    await server.close()
    await terminal.see('No answer: ')
    await again(t, server)
    await eventually('figures without trouble', () => {
      const text = picture(terminal).join('\n')
      return text.includes('p50') && !text.includes('No answer')
    })
    terminal.type(CTRL_C)
    assert.equal(await terminal.exited, 130)
  })

  test('what ends kes metric is said on the terminal as it was', async (t) => {
    const server = await startServer(t)
    const user = {
      key: join(server.directory, 'user.key'),
      cert: join(server.directory, 'user.cert'),
    }
    writeFileSync(user.key, server.user.key)
    writeFileSync(user.cert, server.user.cert)
    const policy = (rules: string) =>
      `policy: { user: { ${rules}, identities: [ ${server.user.identity} ] } }`
    await server.reload({ config: policy(ALLOW) })
    const own = { KES_CLIENT_KEY: user.key, KES_CLIENT_CERT: user.cert }
    const terminal = kesInTerminal(t, ['metric', '--rate', '200ms'], {
      env: { ...adminEnvironment(server), ...own },
    })
    await terminal.see('p50')
    await server.reload({ config: policy('allow: []') })
    assert.equal(await terminal.exited, 1)
    const [, after = ''] = terminal.screen().split(LEAVE)
    assert.match(after, /^Error: not authorized: insufficient permissions\r\n/)
  })
})

function fits(line: string, columns: number): boolean {
  return stripVTControlCharacters(line).length <= columns
}
