/** Nothing that a server writes anywhere contains a secret, whatever it was asked. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { certificateOf } from '#src/crypto/certificate.js'
import { ApiKey } from '#src/crypto/identity.js'
import { eventually, kes, serverFiles, startServerProcess } from '../support/process.ts'
import { ask } from '../support/server.ts'
import { follow, openSession } from '../support/session.ts'

/** Every form in which a secret might show up; base64 also in the middle of a longer text. */
function forms(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].map((by) =>
    Buffer.concat([Buffer.alloc(by), secret])
      .toString('base64')
      .slice(by === 0 ? 0 : 4, Math.floor((by + secret.length) / 3) * 4),
  )
  const base64url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))
  const hex = secret.toString('hex')
  const texts = [...base64, ...base64url, hex, hex.toUpperCase(), secret.join(',')]
  return [secret, ...texts.map((text) => Buffer.from(text))]
}

test('the forms that are searched for are found in what contains them', () => {
  const secret = randomBytes(32)
  for (const prefix of ['', 'a', 'ab', 'abc']) {
    const text = Buffer.concat([Buffer.from(prefix), secret, Buffer.from('xyz')]).toString('base64')
    assert.ok(forms(secret).some((form) => text.includes(form.toString('latin1'))))
  }
})

test('no output of a server at its most talkative has a secret in it', async (t) => {
  const apiKey = ApiKey.generate()
  const { privateKey: key, certificate: cert } = await certificateOf(apiKey)
  const user = { key, cert }
  const allow = JSON.stringify(['/v1/key/*'])
  const files = await serverFiles(t, {
    config: `log: { error: debug, audit: on }
policy: { user: { allow: ${allow}, deny: [ "/v1/key/decrypt/denied" ], identities: [ ${apiKey.identity} ] } }`,
  })
  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  const { port } = process
  const streams = await Promise.all(
    (['h1', 'h2'] as const).flatMap((http) =>
      ['audit', 'error'].map((log) => follow(t, port, files.admin, `/v1/log/${log}`, http)),
    ),
  )
  const secrets = new Map<string, Buffer>()
  const secret = (what: string, size = 32): string => {
    const bytes = randomBytes(size)
    secrets.set(what, bytes)
    return bytes.toString('base64')
  }
  secrets.set('the API key', Buffer.from(apiKey.reveal().slice('kes:v1:'.length), 'base64'))
  secrets.set('the seed of the API key', [...secrets.values()][0]?.subarray(1) ?? Buffer.alloc(0))

  const session = await openSession(t, port, user)
  let calls = 0
  const call = async (
    status: number,
    operation: string,
    name: string,
    body?: object | string,
  ): Promise<Record<string, string>> => {
    calls++
    const text = typeof body === 'object' ? JSON.stringify(body) : body
    const answer = await session.ask('PUT', `/v1/key/${operation}/${name}`, text)
    assert.equal(answer.status, status, `${operation} ${name} ${text}: ${answer.body}`)
    return answer.body === '' || status !== 200 ? {} : JSON.parse(answer.body)
  }

  const imported = secret('an imported key')
  await call(200, 'create', 'made')
  await call(200, 'import', 'imported', { bytes: imported, hmac_key: secret('an HMAC key') })
  await call(400, 'import', 'imported', { bytes: imported })
  await call(406, 'import', 'x', { key: imported, cipher: imported })
  await call(406, 'import', 'x', { key: secret('too long a key', 33), cipher: 'AES256' })
  await call(406, 'import', 'x', { bytes: imported, hmac_key: secret('too short an HMAC key', 31) })
  await call(400, 'import', 'x', `{"bytes":"${imported}`)
  await call(400, 'import', 'x', `{"bytes":["${imported}"]}`)
  await call(400, 'import', 'a.b', { bytes: imported })

  const context = secret('a context')
  const message = secret('a message', 48)
  const sealed = await call(200, 'encrypt', 'imported', { plaintext: message, context })
  await call(200, 'decrypt', 'imported', { ciphertext: sealed['ciphertext'], context })
  await call(400, 'decrypt', 'imported', { ciphertext: sealed['ciphertext'] })
  await call(400, 'decrypt', 'made', { ciphertext: sealed['ciphertext'], context })
  await call(403, 'decrypt', 'denied', { ciphertext: sealed['ciphertext'], context })
  await call(404, 'encrypt', 'gone', { plaintext: message })
  await call(400, 'encrypt', 'made', { plaintext: { text: message } })
  await call(400, 'encrypt', 'made', `{"plaintext":"${message}","${message}`)
  await call(400, 'encrypt', 'made', message)
  const huge = Buffer.concat([Buffer.from(message, 'base64'), randomBytes(1_000_000)])
  await call(413, 'encrypt', 'made', { plaintext: huge.toString('base64') })

  const made = await call(200, 'generate', 'made', { context })
  secrets.set('a data key', Buffer.from(made['plaintext'] ?? '', 'base64'))
  await call(200, 'decrypt', 'made', { ciphertext: made['ciphertext'], context })
  const { hmac } = await call(200, 'hmac', 'made', { message })
  secrets.set('an HMAC', Buffer.from(hmac ?? '', 'base64'))
  await call(400, 'hmac', 'made', { message: 7 })
  await call(400, 'hmac', 'made', `"${message}"`)

  // A damaged entry, and one that is no longer readable as a key but still is one.
  const entry = readFileSync(join(files.keys, 'imported'))
  writeFileSync(join(files.keys, 'damaged'), entry.subarray(0, -1))
  writeFileSync(join(files.keys, 'old'), `{"bytes":"${imported}","algorithm":"${imported}"}`)
  writeFileSync(join(files.keys, 'text'), imported)
  for (const name of ['damaged', 'old', 'text']) await call(502, 'generate', name, { context })

  const asked = { body: JSON.stringify({ plaintext: message }), http: 'h1' } as const
  const headers = { authorization: `Bearer ${apiKey.reveal()}` }
  await ask(port, user, 'GET', `/v1/status?key=${imported}`, { http: 'h1', headers })
  await ask(port, user, 'POST', '/v1/nothing', { ...asked, headers })
  for (const [index, stream] of streams.entries())
    await stream.until(index % 2 === 0 ? calls + 2 : 20)
  await eventually('the lines on standard output', () => {
    return process.stdout().toString().split('\n').length > calls + 2
  })
  assert.equal((await process.stop()).code, 0)

  const outputs: Record<string, Buffer> = {
    'standard output': process.stdout(),
    'standard error': process.stderr(),
    'the audit stream': Buffer.from(streams.map(({ lines }) => lines.join('\n')).join('\n')),
  }
  for (const [where, output] of Object.entries(outputs)) {
    assert.ok(output.length > 1000, where)
    for (const [what, bytes] of secrets) {
      for (const form of forms(bytes))
        assert.equal(output.indexOf(form), -1, `${what} is in ${where}`)
    }
  }
})

test('a config with secrets in the wrong places is refused without repeating them', async (t) => {
  const apiKey = ApiKey.generate().reveal()
  const files = await serverFiles(t)
  const text = readFileSync(files.config, 'utf8')
  const configs = [
    text.replace(/identity: \w+/, `identity: "${apiKey}"`),
    `${text}\npolicy: { a: { identities: [ "${apiKey}" ] } }`,
    `${text}\nlog: { error: "${apiKey}" }`,
    `${text}\ncache: { expiry: { any: "${apiKey}" } }`,
    `${text}\nkeys: [ { name: "${apiKey}" } ]`,
    text.replace(/^address: .*$/m, `address: "${apiKey}"`),
    text.replace('tls: {', `tls: { password: "${apiKey}", auth: "${apiKey}",`),
  ]
  for (const config of configs) {
    writeFileSync(files.config, config)
    const { code, stdout, stderr } = await kes(t, ['server', '--config', 'config.yml'], {
      cwd: files.directory,
    })
    assert.equal(code, 1, config)
    assert.match(stderr, /^Error: /)
    const secret = apiKey.slice('kes:v1:'.length)
    for (const output of [stdout, stderr]) assert.ok(!output.includes(secret), output)
  }
})
