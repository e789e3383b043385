// The main job, to be seen: a real server on a free loopback port with an fs keystore in a temporary
// directory, and every step over mutual TLS. Exit code 0 only if every step was as it should be.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { ApiKey, certificateOf, newCertificate } from '../dist/index.js'

const keep = process.argv.includes('--keep')
const directory = mkdtempSync(join(tmpdir(), 'kes-demo-'))
const file = (name) => join(directory, name)

const [admin, app, stranger] = [ApiKey.generate(), ApiKey.generate(), ApiKey.generate()]
const pair = await newCertificate({
  subject: 'localhost',
  dns: ['localhost'],
  ip: ['127.0.0.1'],
  lifetime: 86_400_000,
})
writeFileSync(file('server.key'), pair.privateKey, { mode: 0o600 })
writeFileSync(file('server.cert'), pair.certificate)
writeFileSync(
  file('config.yml'),
  `version: v1
address: 127.0.0.1:0
admin:
  identity: ${admin.identity}
tls:
  key: ${file('server.key')}
  cert: ${file('server.cert')}
policy:
  my-app:
    allow:
    - /v1/key/create/my-*
    - /v1/key/generate/my-*
    - /v1/key/decrypt/my-*
    - /v1/key/describe/my-*
    - /v1/key/list/*
    - /v1/status
    identities: [ ${app.identity} ]
keystore:
  fs: { path: ${file('keys')} }
`,
)

const server = spawn(process.execPath, ['dist/main.js', 'server', '--config', file('config.yml')], {
  stdio: ['ignore', 'inherit', 'pipe'],
})
const stopped = new Promise((resolve) => server.once('exit', resolve))
let failures = 0

try {
  const port = await listening()
  await demonstrate(port)
  console.log(
    failures === 0
      ? '\nEvery step was as it should be.'
      : `\n${failures} steps were not as they should be.`,
  )
  goOn(port)
  if (keep) {
    // Ctrl-C reaches the server, too; we stay to tidy up.
    process.on('SIGINT', () => {})
    await stopped
  }
} catch (error) {
  failures++
  console.error(error)
} finally {
  server.kill('SIGTERM')
  await stopped
  rmSync(directory, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1

/** The port, once the server says that it listens. */
function listening() {
  return new Promise((resolve, reject) => {
    let log = ''
    server.stderr.on('data', (chunk) => {
      log += chunk
      const port = /https:\/\/127\.0\.0\.1:(\d+)/.exec(log)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    server.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${log}`)))
  })
}

async function demonstrate(port) {
  const myApp = await client(port, app)
  const nobody = await client(port, stranger)
  const context = Buffer.from('my-bucket/my-object').toString('base64')
  console.log(
    `A server on https://127.0.0.1:${port}, keys in ${file('keys')}, every call over mutual TLS:\n`,
  )

  const created = await myApp('PUT', '/v1/key/create/my-key')
  step('a key is created', created.status === 200, 'my-key')

  const made = await myApp('PUT', '/v1/key/generate/my-key', { context })
  const { plaintext, ciphertext } = made.body
  step(
    'a data key is generated',
    made.status === 200 && Buffer.from(plaintext, 'base64').length === 32,
    `sealed: ${ciphertext?.slice(0, 32)}…`,
  )

  const opened = await myApp('PUT', '/v1/key/decrypt/my-key', { ciphertext, context })
  step(
    'and decrypted back to the same bytes',
    opened.status === 200 && opened.body.plaintext === plaintext,
    '32 bytes',
  )

  const bytes = Buffer.from(ciphertext, 'base64')
  bytes[0] ^= 1
  const tampered = await myApp('PUT', '/v1/key/decrypt/my-key', {
    ciphertext: bytes.toString('base64'),
    context,
  })
  step(
    'a tampered ciphertext is refused',
    tampered.status === 400,
    `${tampered.status} ${tampered.body.message}`,
  )

  const refused = await nobody('PUT', '/v1/key/decrypt/my-key', { ciphertext, context })
  step(
    'an identity without rights is refused',
    refused.status === 403,
    `${refused.status} ${refused.body.message}: ${refused.body.hint}`,
  )

  const beyond = await myApp('DELETE', '/v1/key/delete/my-key')
  step(
    'a policy allows what it lists, no more',
    beyond.status === 403,
    `${beyond.status} ${beyond.body.hint}`,
  )
}

function step(what, isAsExpected, detail) {
  if (!isAsExpected) failures++
  console.log(`${isAsExpected ? '  ok ' : 'FAIL '} ${what.padEnd(40)} ${detail}`)
}

/** Calls with an API key's certificate; answers status and decoded body. */
async function client(port, apiKey) {
  const { certificate, privateKey } = await certificateOf(apiKey)
  const options = {
    host: '127.0.0.1',
    port,
    cert: certificate,
    key: privateKey,
    ca: pair.certificate,
  }
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const call = request({ ...options, method, path }, async (response) => {
        let text = ''
        for await (const chunk of response) text += chunk
        resolve({ status: response.statusCode, body: text === '' ? {} : JSON.parse(text) })
      })
      call.on('error', reject)
      call.end(body === undefined ? undefined : JSON.stringify(body))
    })
}

function goOn(port) {
  console.log(`
To go on:
  node dist/main.js server --dev          a server to try out, with the lines for your shell
  node dist/main.js server --config FILE  your own; the config file of MinIO KES is read unchanged

MinIO takes it with these variables:
  MINIO_KMS_KES_ENDPOINT=https://127.0.0.1:${keep ? port : 7373}
  MINIO_KMS_KES_API_KEY=${keep ? app.reveal() : '<an API key whose identity has a policy>'}
  MINIO_KMS_KES_CAPATH=${keep ? file('server.cert') : '<certificate of the server or its CA>'}
  MINIO_KMS_KES_KEY_NAME=my-key`)
  if (keep) console.log('\nThe server goes on until Ctrl-C.')
}
