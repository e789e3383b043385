/** `kes init` and `kes server --dev`: what they print and write is what somebody needs to go on. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect } from 'node:tls'

import { certificateOf } from '#src/crypto/certificate.js'
import { ApiKey } from '#src/crypto/identity.js'
import { eventually, kes, startServerProcess } from '../support/process.ts'
import { ask, tempDir } from '../support/server.ts'

test('what kes init writes starts at once, for the printed API key, with a certificate that clients accept', async (t) => {
  const cwd = tempDir(t)
  const { stdout } = await kes(t, ['init', 'here', '--json'], { cwd })
  const made = JSON.parse(stdout)
  const server = await startServerProcess(
    t,
    ['--config', 'here/config.yml', '--addr', '127.0.0.1:0'],
    { cwd },
  )
  assert.doesNotMatch(server.stderr().toString(), /warning/i)

  const apiKey = ApiKey.parse(made.api_key)
  assert.ok(apiKey !== undefined)
  const { privateKey: key, certificate: cert } = await certificateOf(apiKey)
  const created = await ask(server.port, { key, cert }, 'PUT', '/v1/key/create/my-key')
  assert.equal(created.status, 200)
  assert.equal(
    JSON.parse((await ask(server.port, { key, cert }, 'GET', '/v1/key/list/')).body).names[0],
    'my-key',
  )

  const ca = readFileSync(made.cert)
  for (const servername of ['localhost', '127.0.0.1']) {
    const socket = connect({
      port: server.port,
      host: '127.0.0.1',
      servername: servername === 'localhost' ? servername : '',
      ca,
      key,
      cert,
    })
    await new Promise((resolve, reject) =>
      socket.once('secureConnect', resolve).once('error', reject),
    )
    assert.equal(socket.authorized, true)
    socket.destroy()
  }
  const { keyUsage } = new X509Certificate(ca)
  assert.deepEqual(keyUsage.sort(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  assert.equal((await server.stop()).code, 0)
})

test('the policy for MinIO that kes init proposes is whole, says kes doctor', async (t) => {
  const cwd = tempDir(t)
  const { stdout } = await kes(t, ['init', '--json', '--addr', '127.0.0.1:0'], { cwd })
  const { config } = JSON.parse(stdout)
  const identity = 'a'.repeat(64)
  const proposed = readFileSync(config, 'utf8').replace(
    /(- )the identity of MinIO.*/,
    `$1${identity}`,
  )
  writeFileSync(config, proposed.replace(/^# (?=policy:| {2})/gm, ''))
  const env = { KES_SERVER: '', MINIO_KES_SERVER: '' }
  const doctor = await kes(t, ['doctor', '--config', config, '--json'], { env })
  assert.equal(doctor.code, 0, doctor.stdout)
  assert.match(
    doctor.stdout,
    /"ok","about":"policy.minio","what":"allows what MinIO calls, for keys minio-\*"/,
  )
})

test('the lines that kes server --dev prints are those that a shell needs', async (t) => {
  const server = await startServerProcess(t, ['--dev', '--addr', '127.0.0.1:0'])
  const lines = await eventually('the lines to copy', () =>
    /export KES_CA=/.test(server.stderr().toString())
      ? [
          ...server
            .stderr()
            .toString()
            .matchAll(/^ {2}export (KES_\w+)=(\S+)$/gm),
        ]
      : undefined,
  )
  const { KES_CA = '', ...env } = Object.fromEntries(lines.map(([, name, value]) => [name, value]))
  assert.deepEqual(Object.keys(env), ['KES_SERVER', 'KES_API_KEY'])

  assert.match(server.stderr().toString(), /^ {2}kes key create my-key -k$/m)
  assert.equal((await kes(t, ['key', 'create', 'my-key', '-k'], { env })).code, 0)
  const { stdout, stderr } = await kes(t, ['key', 'ls'], { env: { ...env, KES_CA } })
  assert.equal(stdout, 'my-key\n', stderr)
  assert.equal((await server.stop()).code, 0)
})
