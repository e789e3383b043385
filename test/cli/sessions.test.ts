/** Plays test/cli/*.txt, and looks whether every command has its sessions. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'

import { COMMANDS } from '#src/cli/table.js'
import { parseSession, play } from '../support/sessions.ts'

const FOLDER = 'test/cli'

const sessions = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.txt'))
  .map((file) => ({ file, session: parseSession(readFileSync(`${FOLDER}/${file}`, 'utf8'), file) }))

describe('sessions', { concurrency: 3 }, () => {
  for (const { file, session } of sessions) test(file, (t) => play(t, session))
})

/** `kes server` runs until it is stopped: test/e2e has it. */
for (const { name, options } of COMMANDS.filter(({ name }) => name !== 'server')) {
  const steps = sessions
    .flatMap(({ session }) => session.steps)
    .filter(({ command }) => new RegExp(`\\bkes ${name}\\b`).test(command))

  test(`kes ${name} has sessions where it works, and where it is used wrongly`, () => {
    assert.ok(steps.some(({ exit, command }) => exit === 0 && !command.includes('--help')))
    assert.ok(steps.some(({ exit }) => exit === 2))
  })

  if (options.some(({ flags }) => flags === '--json')) {
    test(`kes ${name} --json has a session of one JSON value per line`, () => {
      const json = steps.filter(({ command }) => / --json\b/.test(command))
      assert.ok(json.some(({ exit }) => exit === 0))
      const outputs = json.flatMap(({ stdout }) => stdout)
      for (const line of outputs) assert.match(line, /^[{["\d]/)
    })
  }

  if (options.some(({ flags }) => flags.includes('--api-key'))) {
    test(`kes ${name} has sessions without a server, without rights, and with a wrong certificate`, () => {
      const failed = steps.filter(({ exit }) => exit === 1).map(({ command }) => command)
      for (const what of ['DEAD_SERVER', 'NOBODY_API_KEY', 'OTHER_CA'])
        assert.ok(
          failed.some((command) => command.includes(what)),
          what,
        )
    })
  }
}
