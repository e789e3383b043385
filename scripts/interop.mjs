// Runs the tests with the Go SDK (test/interop) against two servers of ours on one fs directory, on free loopback
// ports. Exit code 0 only if go says so and both servers ended well. Without go: skipped, and loudly; that counts
// as failed where CI or OPENKES_REQUIRE_INTEROP is set. KES_TEST_HTTP chooses the implementation of HTTP.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_LIMIT = 60_000
const STOP_LIMIT = 60_000
/** The first run compiles the SDK; the tests themselves have the limit of `go test` below. */
const GO_LIMIT = 300_000

if (spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) {
  const isRequired = Boolean(process.env['CI'] || process.env['OPENKES_REQUIRE_INTEROP'])
  console.log('SKIPPED: the tests with the Go SDK need `go` on the PATH, and there is none.')
  console.log(isRequired ? 'FAILED: here they must run.' : 'SKIPPED: nothing was tested.')
  process.exit(isRequired ? 1 : 0)
}

const directory = mkdtempSync(join(tmpdir(), 'kes-interop-'))
const file = (name) => join(directory, name)
const servers = []
let code = 1
let running
// Whoever stops this stops go; then we tidy up as ever.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => endGo())

try {
  const settings = prepare()
  const [first, second] = [await start('first'), await start('second')]
  code = await test({
    ...settings,
    FIRST: first.endpoint,
    SECOND: second.endpoint,
    SECOND_PID: String(second.child.pid),
  })
} catch (error) {
  console.error(error)
} finally {
  for (const server of servers) if (!(await stop(server))) code ||= 1
  if (code !== 0) for (const { name, log } of servers) showEnd(name, log)
  rmSync(directory, { recursive: true, force: true })
}
process.exitCode = code

/** Keys, certificates and a config, all made as an operator would. @returns what the tests must know */
function prepare() {
  const server = ['--key', file('server.key'), '--cert', file('server.cert')]
  kes('identity', 'new', 'localhost', ...server, '--ip', '127.0.0.1', '--dns', 'localhost')
  const auditor = ['--key', file('client.key'), '--cert', file('client.cert')]
  const client = kes('identity', 'new', 'auditor', ...auditor)
  const [admin, app] = [kes('identity', 'new'), kes('identity', 'new')]
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
    - /v1/key/create/my-app-*
    - /v1/key/import/my-app-*
    - /v1/key/describe/my-app-*
    - /v1/key/delete/my-app-*
    - /v1/key/generate/my-app-*
    - /v1/key/encrypt/my-app-*
    - /v1/key/decrypt/my-app-*
    - /v1/key/hmac/my-app-*
    - /v1/key/list/my-app-*
    - /v1/status
    - /v1/policy/describe/my-app
    deny:
    - /v1/key/decrypt/my-app-sealed-*
    - /v1/key/delete/*
    identities: [ ${app.identity} ]
  my-other:
    allow: [ /v1/key/list/* ]
  logs:
    allow: [ /v1/log/audit, /v1/log/error ]
    identities: [ ${client.identity} ]
log:
  audit: on
${process.env['KES_TEST_HTTP'] ? `http: ${process.env['KES_TEST_HTTP']}` : ''}
keystore:
  fs: { path: ${file('keys')} }
`,
  )
  return {
    ADMIN: admin.api_key,
    APP: app.api_key,
    SERVER_CERT: file('server.cert'),
    CLIENT_KEY: client.key,
    CLIENT_CERT: client.cert,
    CLIENT_IDENTITY: client.identity,
  }
}

function kes(...words) {
  return JSON.parse(execFileSync(process.execPath, ['dist/main.js', ...words, '--json']).toString())
}

/** Resolves when the server says that it listens. */
async function start(name) {
  const [log, audit] = [file(`${name}.log`), file(`${name}.audit`)]
  const outputs = [openSync(audit, 'w'), openSync(log, 'w')]
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'server', '--config', file('config.yml')],
    { stdio: ['ignore', ...outputs] },
  )
  for (const output of outputs) closeSync(output)
  const server = { name, log, child, ended: new Promise((resolve) => child.once('exit', resolve)) }
  servers.push(server)
  for (const end = Date.now() + START_LIMIT; Date.now() < end; await sleep(20)) {
    const endpoint = /^Endpoints\s+(https:\/\/127\.0\.0\.1:\d+)$/m.exec(
      readFileSync(log, 'utf8'),
    )?.[1]
    if (endpoint !== undefined) return { ...server, endpoint }
    if (child.exitCode !== null) break
  }
  throw new Error(`the ${name} server did not start`)
}

/** @returns whether it ended by itself and well; the tests may have stopped it already */
async function stop({ name, child, ended }) {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
  await ended
  clearTimeout(timer)
  if (child.exitCode === 0) return true
  console.error(`The ${name} server ended with ${child.signalCode ?? child.exitCode}.`)
  return false
}

/** @returns go's exit code */
async function test(settings) {
  const env = { ...process.env, GOWORK: 'off' }
  for (const name in settings) env[`OPENKES_INTEROP_${name}`] = settings[name]
  const vet = await go(env, 'vet', './...')
  if (vet.code !== 0) return vet.code
  const run = await go(env, 'test', '-count=1', '-v', '-timeout=240s', './...')
  summarise(run.output)
  return run.code
}

async function go(env, ...words) {
  // In a process group of its own: go alone would leave the tests behind that it runs.
  const child = spawn('go', words, {
    cwd: 'test/interop',
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  running = child
  const timer = setTimeout(endGo, GO_LIMIT)
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
    process.stdout.write(text)
  })
  const status = await new Promise((resolve) => {
    child.once('error', () => resolve(1))
    child.once('close', (number) => resolve(number ?? 1))
  })
  clearTimeout(timer)
  running = undefined
  return { code: status, output }
}

function endGo() {
  if (running?.pid !== undefined) process.kill(-running.pid, 'SIGKILL')
}

/** A test with subtests is no test of its own, so it is not counted. */
function summarise(output) {
  const results = [...output.matchAll(/^\s*--- (PASS|FAIL|SKIP): (\S+)/gm)]
  const parents = new Set()
  for (const [, , name] of results) {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
      parents.add(name.slice(0, at))
    }
  }
  const count = (result) =>
    results.filter(([, outcome, name]) => outcome === result && !parents.has(name)).length
  const skipped = count('SKIP')
  if (skipped > 0) console.log(`${skipped} skipped`)
  console.log(`${count('PASS')} passed, ${count('FAIL')} failed`)
}

function showEnd(name, log) {
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  console.error(`\nThe last lines of the ${name} server's log:\n${lines.slice(-20).join('\n')}`)
}
