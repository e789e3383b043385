/** Commands that ask: in a terminal. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'

import { loadConfigFile } from '#src/config/load.js'
import { tempDir } from '../support/server.ts'
import { kesInTerminal } from '../support/terminal.ts'
import { without } from '../support/tools.ts'

const ENCRYPT = ['identity', 'new', '--key', 'a.key', '--cert', 'a.cert', '--encrypt']
const env = { KES_CLIENT_KEY_PASSWORD: '' }

describe('in a terminal', { skip: without('script') }, () => {
  test('kes identity new --encrypt asks for a password twice and never shows it', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ENCRYPT, { cwd, env })
    await terminal.see('Password for the private key: ')
    terminal.type('correct horse\r')
    await terminal.see('Once more: ')
    terminal.type('correct horse\r')
    assert.equal(await terminal.exited, 0, terminal.screen())
    assert.ok(!terminal.screen().includes('horse'), terminal.screen())
    const key = readFileSync(join(cwd, 'a.key'), 'utf8')
    assert.equal(createPrivateKey({ key, passphrase: 'correct horse' }).type, 'private')
  })

  test('two different passwords write nothing', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ENCRYPT, { cwd, env })
    await terminal.see('Password for the private key: ')
    terminal.type('correct horse\r')
    await terminal.see('Once more: ')
    terminal.type('battery staple\r')
    assert.equal(await terminal.exited, 1)
    await terminal.see('the passwords are empty or differ')
    assert.deepEqual(readdirSync(cwd), [])
  })

  test('the end of the input is no password', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ENCRYPT, { cwd, env })
    await terminal.see('Password for the private key: ')
    terminal.type('\u0004')
    assert.equal(await terminal.exited, 1)
    await terminal.see('no answer')
    assert.deepEqual(readdirSync(cwd), [])
  })

  test('kes init asks, takes answers and defaults, and asks again where an answer is none', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ['init', 'new'], { cwd })
    await terminal.see('Address to listen on [0.0.0.0:7373]: ')
    terminal.type('7373\r')
    await terminal.see("'7373' is no address")
    await terminal.see('Address to listen on')
    terminal.type('127.0.0.1:7374\r')
    await terminal.see('Host names of the server')
    terminal.type('\r')
    await terminal.see('IP addresses of the server')
    terminal.type('127.0.0.1, 10.1.2.3\r')
    await terminal.see('Directory of the keys')
    terminal.type('elsewhere\r')
    assert.equal(await terminal.exited, 0, terminal.screen())
    const { config } = loadConfigFile(join(cwd, 'new', 'config.yml'))
    assert.deepEqual(config.address, { host: '127.0.0.1', port: 7374 })
    assert.deepEqual(config.keystore.settings, { path: join(cwd, 'elsewhere') })
    await terminal.see('127.0.0.1, 10.1.2.3, until')
  })

  test('kes init --yes asks nothing', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ['init', '--yes'], { cwd })
    assert.equal(await terminal.exited, 0, terminal.screen())
    assert.ok(existsSync(join(cwd, 'config.yml')))
  })

  test('Ctrl-C at a question ends kes init with 130, and nothing is written', async (t) => {
    const cwd = tempDir(t)
    const terminal = kesInTerminal(t, ['init', 'new'], { cwd })
    await terminal.see('Address to listen on')
    terminal.type('\u0003')
    assert.equal(await terminal.exited, 130)
    assert.deepEqual(readdirSync(cwd), [])
  })
})
