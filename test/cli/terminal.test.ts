/** Commands that ask: in a terminal. */

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { loadConfigFile } from '#src/config/load.js'
import { adminEnvironment } from '../support/process.ts'
import { startServer, tempDir } from '../support/server.ts'
import { kesInTerminal } from '../support/terminal.ts'
import { without } from '../support/tools.ts'

const ENCRYPT = ['identity', 'new', '--key', 'a.key', '--cert', 'a.cert', '--encrypt']
const env = { KES_CLIENT_KEY_PASSWORD: '' }

/** For the admin of a server with the key `a`; the password of the private key is `correct horse`. */
async function client(t: TestContext): Promise<{ env: Record<string, string>; cwd: string }> {
  const server = await startServer(t, { config: 'keys: [ { name: a } ]' })
  const cwd = tempDir(t)
  const cipher = { cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const
  const pem = server.admin.privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher })
  writeFileSync(join(cwd, 'encrypted.key'), pem)
  const own = { KES_CLIENT_KEY: 'encrypted.key', KES_CLIENT_KEY_PASSWORD: '' }
  return { env: { ...adminEnvironment(server), ...own }, cwd }
}

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

  test('kes key dek shows fields to a person, and JSON with --json', async (t) => {
    const { env: asking, cwd } = await client(t)
    const env = { ...asking, KES_CLIENT_KEY_PASSWORD: 'correct horse' }
    const plain = kesInTerminal(t, ['key', 'dek', 'a', '--color', 'never'], { env, cwd })
    assert.equal(await plain.exited, 0, plain.screen())
    assert.match(plain.screen(), /^plaintext +\S{44}\r\nciphertext +\S+\r\n$/)
    const json = kesInTerminal(t, ['key', 'dek', 'a', '--json'], { env, cwd })
    assert.equal(await json.exited, 0)
    assert.deepEqual(Object.keys(JSON.parse(json.screen())), ['plaintext', 'ciphertext'])
  })

  test('an encrypted client key asks for its password, and does not show it', async (t) => {
    const { env, cwd } = await client(t)
    const terminal = kesInTerminal(t, ['key', 'ls'], { env, cwd })
    await terminal.see('Password for encrypted.key: ')
    terminal.type('correct horse\r')
    await terminal.see('a\r\n')
    assert.equal(await terminal.exited, 0)
    assert.ok(!terminal.screen().includes('horse'))

    const wrong = kesInTerminal(t, ['key', 'ls'], { env, cwd })
    await wrong.see('Password for encrypted.key: ')
    wrong.type('battery staple\r')
    await wrong.see("KES_CLIENT_KEY 'encrypted.key' needs another password")
    assert.equal(await wrong.exited, 1)
  })
})
