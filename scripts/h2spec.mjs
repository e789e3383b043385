// Runs h2spec, strict and with a client certificate, against a server with our own framing (`http: lean`) on a free
// loopback port. Exit code 0 only if every case passed and the server ended well. Without go: skipped, and loudly; that
// counts as failed where CI is set.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const START_LIMIT = 60_000
const RUN_LIMIT = 300_000
/** An answer with a body, of each kind of length. */
const PATHS = ['/version', '/v1/metrics']

if (spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) {
  console.log('SKIPPED: h2spec needs `go` on the PATH, and there is none.')
  process.exit(process.env['CI'] ? 1 : 0)
}

const directory = mkdtempSync(join(tmpdir(), 'kes-h2spec-'))
const file = (name) => join(directory, name)
let server
try {
  const client = prepare()
  server = await start()
  execFileSync('go', ['build', '-o', file('h2spec'), '.'], { cwd: 'test/h2spec', stdio: 'inherit' })
  for (const path of PATHS) await run(path, client)
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  if (server !== undefined && !(await stop(server))) process.exitCode = 1
  rmSync(directory, { recursive: true, force: true })
}

function prepare() {
  const kes = (...words) =>
    JSON.parse(execFileSync(process.execPath, ['dist/main.js', ...words, '--json']).toString())
  const names = ['--ip', '127.0.0.1', '--dns', 'localhost']
  const files = (name) => ['--key', file(`${name}.key`), '--cert', file(`${name}.cert`)]
  kes('identity', 'new', 'localhost', ...files('server'), ...names)
  const { identity } = kes('identity', 'new', 'client', ...files('client'))
  writeFileSync(
    file('config.yml'),
    `address: 127.0.0.1:0
admin: { identity: ${identity} }
tls: { key: ${file('server.key')}, cert: ${file('server.cert')} }
log: { error: off }
http: lean
keystore: { memory: {} }
`,
  )
  return [file('client.cert'), file('client.key')]
}

/** Resolves when the server says where it listens. */
async function start() {
  const words = ['dist/main.js', 'server', '--config', file('config.yml')]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const port = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the server did not start')), START_LIMIT)
    let output = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text
      const found = /^Endpoints\s+https:\/\/127\.0\.0\.1:(\d+)$/m.exec(output)
      if (found === null) return
      clearTimeout(timer)
      resolve(found[1])
    })
  })
  return { child, ended, port }
}

async function stop({ child, ended }) {
  child.kill('SIGTERM')
  await ended
  return child.exitCode === 0
}

/** Asynchronous: the server's output must be read meanwhile. */
async function run(path, client) {
  const child = spawn(file('h2spec'), [server.port, path, ...client], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: RUN_LIMIT,
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  const code = await new Promise((resolve) => child.once('close', resolve))
  const result = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/.exec(output)
  const [, total, passed, , failed] = result ?? []
  if (code === 0 && total !== undefined && passed === total) {
    console.log(`h2spec, ${path}: ${passed} passed, ${failed} failed`)
    return
  }
  console.log(output)
  process.exitCode = 1
}
