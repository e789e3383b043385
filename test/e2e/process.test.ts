/** `kes server` and `kes identity` as processes, with the config of somebody who comes from the Go server. */

import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request as httpsRequest } from 'node:https'
import { connect as tcpConnect } from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { connect as tlsConnect } from 'node:tls'

import { certificateOf } from '#src/crypto/certificate.js'
import { ApiKey } from '#src/crypto/identity.js'
import { VERSION } from '#src/version.js'
import { certificate } from '../support/certificates.ts'
import {
  eventually,
  IDLE_STOP,
  kes,
  listening,
  type ServerProcess,
  serverFiles,
  startByShell,
  startServerProcess,
} from '../support/process.ts'
import { freePorts } from '../support/program.ts'
import { ask, type Cast, people, tempDir } from '../support/server.ts'
import { follow, openSession } from '../support/session.ts'

const GO_CONFIG = readFileSync('test/e2e/fixtures/go-user.yml', 'utf8')

interface GoUser extends Cast {
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
}

async function goUser(t: TestContext): Promise<GoUser> {
  const cast = await people()
  const directory = tempDir(t)
  writeFileSync(join(directory, 'server-config.yml'), GO_CONFIG)
  writeFileSync(join(directory, 'server.key'), cast.server.key)
  writeFileSync(join(directory, 'server.cert'), cast.server.cert)
  const env = {
    KES_ADMIN_IDENTITY: cast.admin.identity,
    MY_APP_IDENTITY: cast.user.identity,
    MONITORING_IDENTITY: cast.nobody.identity,
  }
  return { ...cast, directory, env }
}

async function startGoUser(t: TestContext): Promise<GoUser & { process: ServerProcess }> {
  const user = await goUser(t)
  const process = await startServerProcess(t, ['--config', 'server-config.yml'], {
    cwd: user.directory,
    env: user.env,
  })
  return { ...user, process }
}

test('the config of a user of the Go server starts without a warning, and its keys exist', async (t) => {
  const { process, admin, user, nobody } = await startGoUser(t)
  const { port } = process
  assert.match(process.stderr().toString(), /^Version +\S+$/m)
  assert.match(process.stderr().toString(), /^KeyStore +fs: .*keys$/m)
  assert.match(process.stderr().toString(), new RegExp(`^Admin +${admin.identity}$`, 'm'))
  assert.doesNotMatch(process.stderr().toString(), /warning/i)
  assert.equal(process.stdout().length, 0)
  const listed = await ask(port, admin, 'GET', '/v1/key/list/')
  assert.deepEqual(JSON.parse(listed.body).names, ['my-app-backup', 'my-app-default'])
  const made = await ask(port, user, 'PUT', '/v1/key/generate/my-app-default')
  assert.equal(made.status, 200)
  assert.equal((await ask(port, user, 'PUT', '/v1/key/generate/my-app-internal')).status, 403)
  assert.equal((await ask(port, nobody, 'GET', '/v1/metrics')).status, 200)
})

test('keys of the config outlive a restart', async (t) => {
  const { process, user, directory, env } = await startGoUser(t)
  const path = '/v1/key/generate/my-app-default'
  const { ciphertext, plaintext } = JSON.parse((await ask(process.port, user, 'PUT', path)).body)
  assert.equal((await process.stop()).code, 0)
  const args = ['--config', 'server-config.yml']
  const again = await startServerProcess(t, args, { cwd: directory, env })
  const body = JSON.stringify({ ciphertext })
  const opened = await ask(again.port, user, 'PUT', '/v1/key/decrypt/my-app-default', { body })
  assert.equal(JSON.parse(opened.body).plaintext, plaintext)
})

test('a route with skip_auth answers without a certificate, all others say that one is needed', async (t) => {
  const { process } = await startGoUser(t)
  for (const http of ['h1', 'h2'] as const) {
    assert.equal((await ask(process.port, undefined, 'GET', '/v1/ready', { http })).status, 200)
    for (const path of ['/version', '/v1/status', '/v1/key/list/', '/v1/identity/self/describe']) {
      const refused = await ask(process.port, undefined, 'GET', path, { http })
      assert.equal(refused.status, 400, path)
      assert.equal(JSON.parse(refused.body).message, 'tls: client certificate is required')
    }
  }
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  for (const http of ['h1', 'h2'] as const) {
    test(`${signal} lets a running request over ${http} finish, and the exit code is 0`, async (t) => {
      const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
      const process = await startServerProcess(t, ['--config', 'config.yml'], {
        cwd: files.directory,
      })
      const request = await slowRequest(t, http, process.port, files.admin)
      process.kill(signal)
      await eventually('the stop begins', () => /stopping/i.test(process.stderr().toString()))
      await assert.rejects(ask(process.port, files.admin, 'GET', '/version'))
      assert.equal(await request.finish(), 200)
      const { code } = await process.exited
      assert.equal(code, 0, process.stderr().toString())
    })
  }
}

test('a second signal ends the server at once', async (t) => {
  const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd: files.directory })
  await slowRequest(t, 'h1', process.port, files.admin)
  process.kill('SIGTERM')
  await eventually('the stop begins', () => /stopping/i.test(process.stderr().toString()))
  const { signal, took } = await process.stop('SIGINT')
  assert.equal(signal, 'SIGINT')
  assert.ok(took < IDLE_STOP, `${took} ms`)
})

/** An encryption of which half the body was sent, and the head of which has arrived for sure. */
async function slowRequest(
  t: TestContext,
  http: 'h1' | 'h2',
  port: number,
  { key, cert }: { readonly key: string; readonly cert: string },
): Promise<{ finish(): Promise<number> }> {
  const [first, rest] = ['{"plaintext":', '"SGVsbG8="}']
  const path = '/v1/key/encrypt/a'
  const length = String(first.length + rest.length)
  if (http === 'h1') {
    const agent = new Agent({
      keepAlive: true,
      maxSockets: 1,
      rejectUnauthorized: false,
      key,
      cert,
    })
    t.after(() => agent.destroy())
    const headers = { 'content-length': length, expect: '100-continue' }
    const request = httpsRequest({ port, host: '127.0.0.1', method: 'PUT', path, headers, agent })
    request.on('error', () => {})
    request.flushHeaders()
    await new Promise((resolve) => request.once('continue', resolve))
    request.write(first)
    return {
      finish: () =>
        new Promise((resolve, reject) => {
          request.on('error', reject)
          request.on('response', (response) => {
            response.resume()
            resolve(response.statusCode ?? 0)
          })
          request.end(rest)
        }),
    }
  }
  const { http2, ask: askHere } = await openSession(t, port, { key, cert })
  const stream = http2.request({ ':method': 'PUT', ':path': path, 'content-length': length })
  stream.on('error', () => {})
  stream.write(first)
  // Answered behind the head above, on the same connection.
  await askHere('GET', '/version')
  return {
    finish: () =>
      new Promise((resolve, reject) => {
        stream.on('error', reject)
        stream.on('response', (head) => resolve(Number(head[':status'])))
        stream.resume()
        stream.end(rest)
      }),
  }
}

type Who = { readonly key: string; readonly cert: string }

/** Ways to hold a connection without asking for anything; each resolves when the server has it. */
const IDLERS: Readonly<Record<string, (t: TestContext, port: number, who: Who) => Promise<void>>> =
  {
    'a keep-alive HTTP/1.1 connection': (t, port, who) =>
      new Promise((resolve, reject) => {
        const agent = new Agent({ keepAlive: true, rejectUnauthorized: false, ...who })
        t.after(() => agent.destroy())
        const options = { port, host: '127.0.0.1', path: '/version', agent }
        const request = httpsRequest(options, (response) => {
          response.resume()
          response.on('end', resolve)
        })
        request.on('error', reject)
        request.end()
      }),
    'an HTTP/2 connection': async (t, port, who) => {
      const session = await openSession(t, port, who)
      assert.equal((await session.ask('GET', '/version')).status, 200)
    },
    'an HTTP/2 connection whose client never closes it': async (t, port, who) => {
      const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
      const settings = Buffer.from('000000040000000000', 'hex')
      await stubborn(t, port, who, 'h2', Buffer.concat([preface, settings]))
    },
    'an HTTP/1.1 connection whose client never closes it': (t, port, who) =>
      stubborn(
        t,
        port,
        who,
        'http/1.1',
        Buffer.from('GET /version HTTP/1.1\r\nHost: a\r\n\r\n'),
      ).then(() => {}),
    'a TLS connection without any request': (t, port, who) =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...who })
        t.after(() => socket.destroy())
        socket.on('error', reject)
        socket.on('secureConnect', () => setTimeout(resolve, 100))
      }),
    'a TCP connection without TLS': (t, port) =>
      new Promise((resolve, reject) => {
        const socket = tcpConnect({ port, host: '127.0.0.1' })
        t.after(() => socket.destroy())
        socket.on('error', reject)
        socket.on('connect', () => setTimeout(resolve, 100))
      }),
    'a follower of the audit log over HTTP/1.1': async (t, port, who) => {
      assert.equal((await follow(t, port, who, '/v1/log/audit', 'h1')).status, 200)
    },
    'a follower of the error log over HTTP/2': async (t, port, who) => {
      assert.equal((await follow(t, port, who, '/v1/log/error', 'h2')).status, 200)
    },
    'a follower over HTTP/1.1 that does not read': async (t, port, who) => {
      const head = Buffer.from('GET /v1/log/audit HTTP/1.1\r\nHost: a\r\n\r\n')
      const silence = await stubborn(t, port, who, 'http/1.1', head)
      silence()
    },
    'a follower over HTTP/2 that does not read': async (t, port, who) => {
      const { http2 } = await openSession(t, port, who)
      const stream = http2.request({ ':path': '/v1/log/audit' })
      stream.on('error', () => {})
      await new Promise((resolve) => stream.once('response', resolve))
      stream.pause()
    },
  }

/** Sends bytes, waits for some, and from then on ignores whatever the server does, its FIN too. */
async function stubborn(
  t: TestContext,
  port: number,
  who: Who,
  alpn: string,
  bytes: Buffer,
): Promise<() => void> {
  const tcp = tcpConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const socket = tlsConnect({
    socket: tcp,
    ALPNProtocols: [alpn],
    rejectUnauthorized: false,
    ...who,
  })
  t.after(() => tcp.destroy())
  socket.on('error', () => {})
  socket.on('secureConnect', () => socket.write(bytes))
  await new Promise((resolve) => socket.once('data', resolve))
  socket.pause()
  return () => tcp.pause()
}

// Mostly waiting, so they may wait together.
describe('a stop', { concurrency: 3 }, () => {
  test('a request that never ends holds the stop for 10 s at most', async (t) => {
    const files = await serverFiles(t, { config: 'keys: [ { name: a } ]' })
    const process = await startServerProcess(t, ['--config', 'config.yml'], {
      cwd: files.directory,
    })
    await slowRequest(t, 'h1', process.port, files.admin)
    await slowRequest(t, 'h2', process.port, files.admin)
    const { code, took } = await process.stop()
    assert.equal(code, 0)
    assert.ok(took < 3 * 10_000, `${took} ms`)
  })

  for (const [idler, hold] of Object.entries(IDLERS)) {
    test(`${idler} does not hold the stop`, async (t) => {
      const files = await serverFiles(t)
      const process = await startServerProcess(t, ['--config', 'config.yml'], {
        cwd: files.directory,
      })
      await hold(t, process.port, files.admin)
      if (idler.includes('does not read')) await makeEvents(t, process.port, files.admin)
      const { code, took } = await process.stop()
      assert.equal(code, 0, process.stderr().toString())
      assert.ok(took < IDLE_STOP, `${took} ms`)
    })
  }
})

/** More than a follower's flow-control window, less than it may be behind. */
async function makeEvents(t: TestContext, port: number, who: Who): Promise<void> {
  const session = await openSession(t, port, who)
  for (let i = 0; i < 40; i++) await session.ask('GET', `/v1/key/describe/${'x'.repeat(8000)}`)
}

test('a server runs with standard input closed and its output in files', async (t) => {
  const files = await serverFiles(t, { config: 'log: { audit: on }' })
  const [out, err] = [join(files.directory, 'out'), join(files.directory, 'err')]
  const args = ['server', '--config', 'config.yml']
  const process = startByShell(t, args, `<&- >'${out}' 2>'${err}'`, { cwd: files.directory })
  const server = await listening(process, () => {
    try {
      return readFileSync(err, 'utf8')
    } catch {
      return '' // the shell has not made it yet
    }
  })
  assert.equal((await ask(server.port, files.admin, 'GET', '/version')).status, 200)
  assert.equal((await server.stop()).code, 0)
  const lines = readFileSync(out, 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).request.path),
    ['/version'],
  )
})

test('a taken port ends the start with what to do', async (t) => {
  const files = await serverFiles(t)
  const args = ['--config', 'config.yml']
  const { port } = await startServerProcess(t, args, { cwd: files.directory })
  const second = await kes(t, ['server', ...args, '--addr', `127.0.0.1:${port}`], {
    cwd: files.directory,
  })
  assert.equal(second.code, 1)
  assert.match(second.stderr, new RegExp(`^Error: port ${port} is taken.*--addr`, 'm'))
  assertNoStack(second.stderr)
})

test('a missing config file ends the start with its name', async (t) => {
  const { code, stderr } = await kes(t, ['server', '--config', '/nowhere/config.yml'])
  assert.equal(code, 1)
  assert.match(stderr, /^Error: [^]*\/nowhere\/config\.yml: cannot be read/)
  assertNoStack(stderr)
})

test('a server without a config says what to pass', async (t) => {
  const { code, stderr } = await kes(t, ['server'])
  assert.equal(code, 2)
  assert.match(stderr, /^Error: .*--config.*--dev/)
})

test('everything that is wrong with a config is said at once, with line and column', async (t) => {
  const directory = tempDir(t)
  const file = join(directory, 'config.yml')
  writeFileSync(file, 'admin: { identity: disabled }\ntls: { kee: a }\ncashe: {}\n')
  const { code, stderr } = await kes(t, ['server', '--config', file])
  assert.equal(code, 1)
  assert.match(stderr, /^Error: /)
  assert.match(stderr, /config\.yml:2:8: tls\.kee: unknown field; did you mean tls\.key\?/)
  assert.match(stderr, /config\.yml:3:1: cashe: unknown field; did you mean cache\?/)
  assert.match(stderr, /keystore: no keystore is configured/)
  assertNoStack(stderr)
})

test('a missing variable of the environment ends the start with its name', async (t) => {
  const files = await serverFiles(t, {
    config: 'policy: { p: { identities: [ "${KES_TEST_ABSENT}" ] } }',
  })
  const { code, stderr } = await kes(t, ['server', '--config', files.config])
  assert.equal(code, 1)
  assert.match(stderr, /^Error: [^]*config\.yml:\d+:\d+: .*KES_TEST_ABSENT/)
})

test('a key that does not belong to the certificate ends the start with both names', async (t) => {
  const files = await serverFiles(t)
  writeFileSync(join(files.directory, 'server.key'), files.nobody.key)
  const { code, stderr } = await kes(t, ['server', '--config', files.config], {
    cwd: files.directory,
  })
  assert.equal(code, 1)
  assert.match(stderr, /^Error: .*server\.key.*does not belong to.*server\.cert/)
  assertNoStack(stderr)
})

test('a certificate without SAN ends the start with the command that makes a better one', async (t) => {
  const files = await serverFiles(t)
  const { key, cert } = await certificate({ subject: 'localhost' })
  writeFileSync(join(files.directory, 'server.key'), key)
  writeFileSync(join(files.directory, 'server.cert'), cert)
  const { code, stderr } = await kes(t, ['server', '--config', files.config], {
    cwd: files.directory,
  })
  assert.equal(code, 1)
  assert.match(stderr, /^Error: .*SAN.*kes identity new/)
})

test('files that are no PEM end the start with their names', async (t) => {
  const files = await serverFiles(t)
  for (const [name, pattern] of [
    ['server.key', /^Error: .*server\.key.*not a PEM private key/],
    ['server.cert', /^Error: .*server\.cert.*not a PEM certificate/],
  ] as const) {
    writeFileSync(join(files.directory, name), 'nonsense')
    const { code, stderr } = await kes(t, ['server', '--config', files.config], {
      cwd: files.directory,
    })
    assert.equal(code, 1)
    assert.match(stderr, pattern)
  }
})

test('--addr, --key and --cert stand above the config file', async (t) => {
  const files = await serverFiles(t)
  const other = await certificate({ subject: 'other', dns: ['other.test'], ip: ['127.0.0.1'] })
  writeFileSync(join(files.directory, 'other.key'), other.key)
  writeFileSync(join(files.directory, 'other.cert'), other.cert)
  const addr = `127.0.0.1:${(await freePorts(1))[0]}`
  const flags = ['--addr', addr, '--key', 'other.key', '--cert', 'other.cert']
  const process = await startServerProcess(t, ['--config', 'config.yml', ...flags], {
    cwd: files.directory,
  })
  assert.equal(`127.0.0.1:${process.port}`, addr)
  const { key, cert } = files.admin
  const options = { port: process.port, host: '127.0.0.1', rejectUnauthorized: false, key, cert }
  const socket = tlsConnect(options)
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  assert.equal(socket.getPeerCertificate().subject.CN, 'other')
  socket.destroy()
})

test('--auth on verifies although the config says off; --auth off and a bare --auth do not', async (t) => {
  const ca = await certificate({ subject: 'ca', ca: true })
  const member = await certificate({ subject: 'member', issuer: ca })
  const files = await serverFiles(t, { tls: 'auth: off, ca: ca.pem' })
  const on = await serverFiles(t, { tls: 'auth: on, ca: ca.pem' })
  for (const { directory } of [files, on]) writeFileSync(join(directory, 'ca.pem'), ca.cert)

  const strict = await startServerProcess(t, ['--config', 'config.yml', '--auth', 'on'], {
    cwd: files.directory,
  })
  assert.equal((await ask(strict.port, member, 'GET', '/version')).status, 200)
  await assert.rejects(ask(strict.port, files.nobody, 'GET', '/version'))

  for (const flags of [['--auth', 'off'], ['--auth'], ['--auth=off']]) {
    const lax = await startServerProcess(t, [...flags, '--config', 'config.yml'], {
      cwd: on.directory,
    })
    assert.equal((await ask(lax.port, on.nobody, 'GET', '/version')).status, 200, flags.join(' '))
  }
})

test('kes server --dev prints what to export, and serves the API key that it prints', async (t) => {
  const [port = 0] = await freePorts(1)
  const process = await startServerProcess(t, ['--dev', '--addr', `127.0.0.1:${port}`])
  const [, printed] = await eventually(
    'the lines to copy',
    () => /^ *export KES_API_KEY=(kes:v1:\S+)$/m.exec(process.stderr().toString()) ?? undefined,
  )
  assert.match(
    process.stderr().toString(),
    new RegExp(`^ *export KES_SERVER=https://127\\.0\\.0\\.1:${port}$`, 'm'),
  )
  const admin = await client(printed)
  assert.equal((await ask(port, admin, 'PUT', '/v1/key/create/a')).status, 200)
  const self = await ask(port, admin, 'GET', '/v1/identity/self/describe')
  assert.equal(JSON.parse(self.body).admin, true)
  assert.equal((await process.stop()).code, 0)
})

test('kes --version prints the version on one line', async (t) => {
  for (const flag of ['--version', '-v']) {
    const { code, stdout, stderr } = await kes(t, [flag])
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`^kes ${VERSION.replaceAll('.', '\\.')}( \\(.*\\))?\n$`))
    assert.equal(stderr, '')
  }
})

test('kes identity new prints an API key and the identity that it has', async (t) => {
  for (const words of [['identity'], ['tool', 'identity']]) {
    const { code, stdout } = await kes(t, [...words, 'new'])
    assert.equal(code, 0)
    const key = /kes:v1:\S+/.exec(stdout)?.[0] ?? ''
    const identity = ApiKey.parse(key)?.identity
    assert.ok(identity !== undefined && stdout.includes(identity))
  }
  const { stdout } = await kes(t, ['identity', 'new', '--json'])
  const { api_key: key, identity } = JSON.parse(stdout)
  assert.equal(ApiKey.parse(key)?.identity, identity)
})

test('kes identity of prints the identity of an API key with and without prefix, and of a certificate', async (t) => {
  const key = ApiKey.generate()
  const file = join(tempDir(t), 'client.cert')
  writeFileSync(file, (await certificateOf(key)).certificate)
  for (const what of [key.reveal(), key.reveal().slice('kes:v1:'.length), file]) {
    const { code, stdout } = await kes(t, ['identity', 'of', what])
    assert.equal(code, 0)
    assert.equal(stdout, `${key.identity}\n`)
  }
})

test('kes identity of refuses what is neither, without repeating an API key', async (t) => {
  const damaged = ApiKey.generate().reveal().slice(0, -8)
  for (const what of [damaged, '/nowhere/client.cert', 'package.json']) {
    const { code, stdout, stderr } = await kes(t, ['identity', 'of', what])
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /^Error: /)
    assert.ok(!stderr.includes(damaged))
    assertNoStack(stderr)
  }
})

test('kes identity new writes a private key for its owner only, and replaces nothing without --force', async (t) => {
  const cwd = tempDir(t)
  const args = ['identity', 'new', 'me', '--key', 'a.key', '--cert', 'a.cert', '--ip', '127.0.0.1']
  const first = await kes(t, args, { cwd })
  assert.equal(first.code, 0, first.stderr)
  assert.equal(statSync(join(cwd, 'a.key')).mode & 0o777, 0o600)
  const before = readFileSync(join(cwd, 'a.key'), 'utf8')

  const second = await kes(t, args, { cwd })
  assert.equal(second.code, 1)
  assert.match(second.stderr, /^Error: .*a\.key.*--force/)
  assert.equal(readFileSync(join(cwd, 'a.key'), 'utf8'), before)

  const forced = await kes(t, [...args, '--force'], { cwd })
  assert.equal(forced.code, 0)
  assert.notEqual(readFileSync(join(cwd, 'a.key'), 'utf8'), before)
  assert.equal(statSync(join(cwd, 'a.key')).mode & 0o777, 0o600)
  const { stdout } = await kes(t, ['identity', 'of', 'a.cert'], { cwd })
  assert.ok(forced.stdout.includes(stdout.trim()))
})

test('an existing certificate is not left beside the private key of another', async (t) => {
  const cwd = tempDir(t)
  writeFileSync(join(cwd, 'a.cert'), 'precious')
  const args = ['identity', 'new', '--key', 'a.key', '--cert', 'a.cert']
  const { code } = await kes(t, args, { cwd })
  assert.equal(code, 1)
  assert.equal(readFileSync(join(cwd, 'a.cert'), 'utf8'), 'precious')
  assert.throws(() => statSync(join(cwd, 'a.key')), { code: 'ENOENT' })
})

test('--force makes an existing private key file private', async (t) => {
  const cwd = tempDir(t)
  writeFileSync(join(cwd, 'a.key'), 'old', { mode: 0o644 })
  const args = ['identity', 'new', '--key', 'a.key', '--cert', 'a.cert', '--force']
  assert.equal((await kes(t, args, { cwd })).code, 0)
  assert.equal(statSync(join(cwd, 'a.key')).mode & 0o777, 0o600)
})

test('a server starts on an encrypted private key with tls.password, and on no other password', async (t) => {
  const password = 'correct horse'
  const files = await serverFiles(t, { tls: `password: "${password}"` })
  const { directory: cwd } = files
  const pair = ['--key', 'server.key', '--cert', 'server.cert', '--force']
  const names = ['--ip', '127.0.0.1', '--dns', 'localhost']
  const made = await kes(t, ['identity', 'new', ...pair, ...names, '--encrypt'], {
    cwd,
    env: { KES_CLIENT_KEY_PASSWORD: password },
  })
  assert.equal(made.code, 0, made.stderr)
  assert.match(readFileSync(join(cwd, 'server.key'), 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/)

  const process = await startServerProcess(t, ['--config', 'config.yml'], { cwd })
  assert.equal((await ask(process.port, files.admin, 'GET', '/version')).status, 200)
  assert.equal((await process.stop()).code, 0)

  for (const wrong of ['password: "wrong horse"', 'password: ""']) {
    const text = readFileSync(files.config, 'utf8').replace(`password: "${password}"`, wrong)
    writeFileSync(join(cwd, 'wrong.yml'), text)
    const { code, stderr } = await kes(t, ['server', '--config', 'wrong.yml'], { cwd })
    assert.equal(code, 1)
    assert.match(stderr, /^Error: .*server\.key.*tls\.password/)
    assert.ok(!stderr.includes('horse'))
  }
})

test('--encrypt without a terminal says where to put the password', async (t) => {
  const args = ['identity', 'new', '--key', 'a.key', '--cert', 'a.cert', '--encrypt']
  const { code, stderr } = await kes(t, args, {
    cwd: tempDir(t),
    env: { KES_CLIENT_KEY_PASSWORD: '' },
  })
  assert.equal(code, 2)
  assert.match(stderr, /^Error: .*KES_CLIENT_KEY_PASSWORD/)
})

for (const args of [
  ['nonsense'],
  ['server', '--nonsense'],
  ['server', 'nonsense'],
  ['server', '--dev', '--auth', 'maybe'],
  ['identity', 'nonsense'],
  ['identity', 'of'],
  ['identity', 'new', '--key', 'a', '--cert', 'b', '--expiry', 'soon'],
]) {
  test(`kes ${args.join(' ')} is a usage error`, async (t) => {
    const { code, stdout, stderr } = await kes(t, args, { cwd: tempDir(t) })
    assert.equal(code, 2, stderr)
    assert.equal(stdout, '')
    assert.match(stderr, /^error: /im)
    assertNoStack(stderr)
  })
}

async function client(apiKey = ''): Promise<Who> {
  const key = ApiKey.parse(apiKey)
  assert.ok(key !== undefined)
  const { privateKey, certificate: cert } = await certificateOf(key)
  return { key: privateKey, cert }
}

function assertNoStack(stderr: string): void {
  assert.doesNotMatch(stderr, /^\s+at /m)
}
